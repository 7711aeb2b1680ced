// The live stream: how nodes and workspaces stand, and what happens, for as long as somebody is logged in.
import { get, look } from './api.js';
import { makeStore } from './store.js';

const FIRST_WAIT = 1000;
const LONGEST_WAIT = 15000;
const LONGEST_QUIET = 40000; // the gateway says how things stand every 15 seconds, whether or not anything has changed
export const MOST_EVENTS = 500;

// connection: 'connecting', 'open' or 'lost'; nodes and workspaces are null before the first state
export const live = makeStore({ connection: 'connecting', nodes: null, workspaces: null });
export const events = makeStore([]); // the newest first

let wanted = false;
let source = null;
let timer = 0;
let quiet = 0;
let wait = FIRST_WAIT;
let last = 0; // id of the last event that is known here

export function startLive() {
  wanted = true;
  live.set({ connection: 'connecting', nodes: null, workspaces: null });
  events.set([]);
  last = 0;
  begin();
}

export function stopLive() {
  wanted = false;
  close();
}

// Only while somebody sees it: over HTTP/1.1 a browser has six connections to a gateway, and those of the streams of
// tabs in the background would be all of them.
function begin() {
  close();
  if (wanted && !document.hidden) open();
}
document.addEventListener('visibilitychange', begin);

function close() {
  source?.close();
  source = null;
  clearTimeout(timer);
  clearTimeout(quiet);
}

// What happened before is asked for, anew each time: another gateway may answer, or one that knows less than before.
async function open() {
  const mine = {};
  source = { close: () => mine.stream?.close(), mine };
  try {
    const before = await get(`/events?limit=${MOST_EVENTS}`);
    if (source?.mine !== mine) return;
    events.set(before.events.toReversed());
    last = before.last;
  } catch {
    lost(mine);
    return;
  }
  mine.stream = new EventSource(`api/v1/live?after=${last}`);
  const heard = () => {
    clearTimeout(quiet);
    quiet = setTimeout(() => lost(mine), LONGEST_QUIET); // a connection may be dead, or a gateway hang, without a word
  };
  heard();
  mine.stream.addEventListener('state', (message) => {
    heard();
    wait = FIRST_WAIT;
    const { nodes, workspaces } = JSON.parse(message.data);
    live.set({ connection: 'open', nodes, workspaces });
  });
  mine.stream.addEventListener('event', (message) => {
    const one = JSON.parse(message.data);
    last = one.id;
    // one that came again is counted anew
    events.set([one, ...events.get().filter((each) => each.id !== one.id)].slice(0, MOST_EVENTS));
  });
  mine.stream.onerror = () => lost(mine);
}

// The browser's own tries end at the first reply that is no stream, such as a proxy's; these do not.
async function lost(mine) {
  mine.stream?.close();
  if (source?.mine !== mine) return;
  clearTimeout(quiet);
  live.set({ ...live.get(), connection: 'lost' });
  try {
    await look(); // its session may be over
  } catch {
    // nobody can tell; the next try asks again
  }
  if (source?.mine !== mine) return;
  timer = setTimeout(open, wait * (0.75 + Math.random() / 2));
  wait = Math.min(wait * 2, LONGEST_WAIT);
}
