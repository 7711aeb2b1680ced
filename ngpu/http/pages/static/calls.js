// The gateway's calls, as the playground makes them.

export const ASK_AGAIN = 2000; // milliseconds between two questions, where events do not come
const ENDED = 1; // `result_size` of a task that has ended

/** A reply that is no success; `status` 0: there was none. */
export class Refused extends Error {
  constructor(status, message, body = null) {
    super(message);
    this.status = status;
    this.body = body;
  }
}

async function ask(method, path, { key = "", body = null, signal = null } = {}) {
  const headers = {};
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body !== null) headers["Content-Type"] = "application/json";
  let reply, told;
  try {
    const credentials = "omit", cache = "no-store";
    reply = await fetch(path, { method, headers, body, signal, credentials, cache });
    told = await reply.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(reply ? reply.status : 0, error.message);
  }
  if (!reply.ok) throw new Refused(reply.status, String(told.msg), told);
  return told;
}

export const nodes = (key) => ask("GET", "/user/queryNodes", { key });

export const cancelTask = (key, task) => ask("POST", `/user/cancelTask?taskID=${encodeURIComponent(task)}`, { key });

/** Path and query of a submission. */
export function submission({ target, path, port, app, mode }) {
  const query = new URLSearchParams();
  if (target === "path") {
    if (path) query.set("paramUrl", path);
    if (port) query.set("paramPort", port);
  }
  query.set("taskMode", mode);
  return `/user/${target === "path" ? "schedulingTask" : encodeURIComponent(app)}?${String(query).replaceAll("%2F", "/")}`;
}

export const submit = (choice, body, signal) =>
  ask("POST", submission(choice), { key: choice.key, body: JSON.stringify(body), signal });

/** Tell of a task's state until it has ended; the last one is returned. */
export function watch(task, tell, signal) {
  const id = encodeURIComponent(task);
  return new Promise((resolve, reject) => {
    const events = new EventSource(`/user/queryTask/stream?taskID=${id}`);
    let timer = 0;
    const end = (settle, value) => {
      events.close();
      clearTimeout(timer);
      settle(value);
    };
    const take = (told) => {
      tell(told);
      if (told.result_size >= ENDED) end(resolve, told);
    };
    const poll = async () => {
      try {
        take(await ask("GET", `/user/queryTask?taskID=${id}`, { signal }));
      } catch (error) {
        if (error.status >= 400 && error.status < 500 && error.status !== 429) return end(reject, error);
        tell(null); // away for a moment: the task outlives that
      }
      if (!signal.aborted) timer = setTimeout(poll, ASK_AGAIN);
    };
    events.addEventListener("status", (event) => take(JSON.parse(event.data)));
    events.addEventListener("error", () => {
      if (events.readyState === EventSource.CLOSED && !timer) timer = setTimeout(poll, 0); // else it comes back itself
    });
    signal.addEventListener("abort", () => end(reject, new DOMException("aborted", "AbortError")));
  });
}
