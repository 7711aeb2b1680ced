// What stands in no line of a workspace: its copies, and how far each node is. Asked for while somebody looks.
import { useEffect, useRef, useState } from 'preact/hooks';
import { get, part } from './api.js';

const AT_ONCE = 4;
const MOST = 200; // workspaces that are followed
const A_ROUND = 12; // requests, so that looking on costs the gateway little, however much changes
const EVERY = 1000;
const STALE = 3000; // also what changes nothing in its line, such as a copy that takes another's place
const SETTLED = ['serving', 'static', 'suspended'];

// By id; those first whose turn was the longest time ago.
export function useDetails(workspaces) {
  const [details, set] = useState({});
  const latest = useRef(workspaces);
  latest.current = workspaces;
  useEffect(() => {
    const seen = new Map();
    const stop = new AbortController();
    let timer;
    const asked = new Map(); // when, by id
    const due = () =>
      latest.current
        .slice(0, MOST)
        .filter((each) => !SETTLED.includes(each.state) || seen.get(each.id) !== JSON.stringify(each) || Date.now() - asked.get(each.id) > STALE)
        .sort((one, other) => (asked.get(one.id) ?? 0) - (asked.get(other.id) ?? 0))
        .slice(0, A_ROUND);
    const one = async (line) => {
      asked.set(line.id, Date.now());
      try {
        const { workspace } = await get(`/workspaces/${part(line.id)}`, { signal: stop.signal });
        seen.set(line.id, JSON.stringify(line));
        return [line.id, workspace];
      } catch {
        return null; // gone meanwhile, or the gateway is: the banner says so
      }
    };
    const round = async () => {
      const found = [];
      for (let rest = document.hidden ? [] : due(); rest.length && !stop.signal.aborted; rest = rest.slice(AT_ONCE)) {
        found.push(...(await Promise.all(rest.slice(0, AT_ONCE).map(one))));
      }
      if (stop.signal.aborted) return;
      const there = new Set(latest.current.map((each) => each.id));
      set((before) => {
        const more = Object.fromEntries(found.filter(Boolean));
        if (!Object.keys(more).length && Object.keys(before).every((id) => there.has(id))) return before;
        return Object.fromEntries(Object.entries({ ...before, ...more }).filter(([id]) => there.has(id)));
      });
      timer = setTimeout(round, latest.current.length ? EVERY : EVERY / 5);
    };
    round();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, []);
  return details;
}
