// The admin API. The browser sends the session's cookie by itself; the page never sees it.
import { makeStore } from './store.js';

// undefined: not known yet; null: not logged in; else {ends}, in seconds since the epoch
export const session = makeStore(undefined);
export const ending = { unasked: false }; // whether the last session ended without anybody having logged out

function close(unasked) {
  if (session.get()) ending.unasked = unasked;
  session.set(null);
}

export class ApiError extends Error {
  // status 0: the gateway cannot be reached; problems: [{path, message}] of settings
  constructor(status, message, problems = []) {
    super(message);
    this.status = status;
    this.problems = problems;
  }
}

const PATIENCE = 60000; // milliseconds for a question, which is asked again

async function call(method, path, { body, signal, read = (reply) => reply.json() } = {}) {
  const stop = new AbortController();
  const leave = () => stop.abort();
  signal?.addEventListener('abort', leave);
  const timer = method === 'GET' ? setTimeout(leave, PATIENCE) : 0;
  let reply;
  let found;
  try {
    reply = await fetch(`api/v1${path}`, {
      method,
      signal: stop.signal,
      cache: 'no-store',
      headers: body === undefined ? {} : { 'Content-Type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    found = await (reply.ok ? read(reply) : reply.json());
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, '');
  } finally {
    signal?.removeEventListener('abort', leave);
    clearTimeout(timer);
  }
  if (reply.ok) return found;
  if (reply.status === 401 && path !== '/session') close(true);
  throw new ApiError(reply.status, found.msg ?? reply.statusText, found.problems);
}

export const get = (path, options) => call('GET', path, options);
export const getText = (path, options) => call('GET', path, { ...options, read: (reply) => reply.text() });
export const post = (path, body = {}) => call('POST', path, { body });
export const remove = (path) => call('DELETE', path);

// What stands in an address, or a query without what is empty.
export const part = encodeURIComponent;
export function query(values) {
  const given = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== '');
  return given.length ? `?${new URLSearchParams(given)}` : '';
}

export async function look() {
  const found = (await get('/session')).session;
  if (!found) close(true);
  else if (found.ends !== session.get()?.ends) session.set(found);
}

export async function login(token) {
  session.set((await post('/session', { token })).session);
  tabs.postMessage('here'); // the others have it, too
}

const tabs = new BroadcastChannel('ngpu-session'); // other tabs with the same session
tabs.onmessage = ({ data }) => (data === 'leaving' ? close(false) : look().catch(() => {}));

export async function logout() {
  tabs.postMessage('leaving'); // before they find out by being refused
  try {
    await remove('/session');
  } catch (error) {
    tabs.postMessage('staying');
    throw error;
  }
  close(false);
}
