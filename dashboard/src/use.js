// What is asked of the gateway while somebody looks at it.
import { useCallback, useEffect, useState } from 'preact/hooks';
import { get } from './api.js';

// path: null asks for nothing; every: seconds until it is asked again, 0 never. What was there stays while it fails, unless it is gone.
export function useReply(path, every = 0, ask = get) {
  const [state, set] = useState({ path: null, data: null, error: null });
  const [turn, setTurn] = useState(0);
  const again = useCallback(() => setTurn((value) => value + 1), []);
  useEffect(() => {
    if (path === null) return undefined;
    const stop = new AbortController();
    let timer;
    let due = false; // as nobody was looking when its time had come
    const look = async () => {
      due = document.hidden;
      if (due) return;
      try {
        const data = await ask(path, { signal: stop.signal });
        set({ path, data, error: null });
      } catch (error) {
        if (stop.signal.aborted) return;
        set((before) => ({ path, data: before.path === path && error.status !== 404 ? before.data : null, error }));
      }
      if (every && !stop.signal.aborted) timer = setTimeout(look, every * 1000);
    };
    const seen = () => due && look();
    document.addEventListener('visibilitychange', seen);
    look();
    return () => {
      document.removeEventListener('visibilitychange', seen);
      stop.abort();
      clearTimeout(timer);
    };
  }, [path, every, turn]);
  const own = state.path === path ? state : { data: null, error: null };
  return { data: own.data, error: own.error, again };
}
