// The playground: a form, one call at a time, and what becomes of it. Nothing is stored, the key least of all.

import { Refused, cancelTask, nodes, submit, watch } from "./calls.js";
import { CALLS, PICTURE, masked, program } from "./programs.js";
import { links, pictures, readable } from "./results.js";
import { WORDS } from "./words.js";

const by = (id) => document.getElementById(id);
const chosen = (name) => document.querySelector(`input[name="${name}"]:checked`).value;
const SAMPLE = "photo.png";

let fading = 0;
let language = navigator.language.startsWith("zh") ? "zh" : "en";
let picture = null; // {name, base64}
let work = null; // the AbortController of what is under way
let task = ""; // the last task's id
let said = { state: "idle", facts: [], reply: null };

const word = (name, ...values) => {
  const found = WORDS[language][name];
  return typeof found === "function" ? found(...values) : found;
};

function speak() {
  document.documentElement.lang = language;
  by("language").textContent = language === "zh" ? "English" : "中文";
  by("language").lang = language === "zh" ? "en" : "zh";
  document.title = `ngpu – ${word("title")}`;
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = word(element.dataset.word);
  by("call").replaceChildren(...CALLS.map((name) => new Option(word(name), name, false, name === by("call").value)));
  tell(said);
  showProgram();
}

function tell(now) {
  said = now;
  const [name, ...values] = [now.state].flat();
  by("state").dataset.word = name;
  by("state").textContent = word(name, ...values);
  by("state").className = now.bad ? "bad" : name === "finished" ? "good" : "";
  by("progress").hidden = !now.busy;
  by("facts").replaceChildren(
    ...now.facts.flatMap(([label, value]) => [
      Object.assign(document.createElement("dt"), { textContent: word(label) }),
      Object.assign(document.createElement("dd"), { textContent: [value].flat().length > 1 ? word(...value) : value }),
    ]),
  );
  showResult(now.reply);
}

function showResult(reply) {
  const data = reply && reply.data;
  const shown = data ? pictures(data) : [];
  by("pictures").replaceChildren(
    ...shown.flatMap((url, number) => {
      const image = Object.assign(new Image(), { src: url, alt: `${word("result")} ${number + 1}` });
      const name = `result-${number + 1}.${url.slice(11).split(";")[0]}`;
      const save = Object.assign(document.createElement("a"), { href: url, download: name, textContent: word("save") });
      return [image, save];
    }),
    ...(data ? links(data) : []).map((url) =>
      Object.assign(document.createElement("a"), { href: url, textContent: url, rel: "noopener noreferrer", target: "_blank" }),
    ),
  );
  by("reply").hidden = !reply;
  by("reply").textContent = reply ? readable(reply, (count) => word("characters", count)) : "";
}

/** What the form says; throws where it cannot be sent. */
function choice() {
  let data = null;
  try {
    data = JSON.parse(by("data").value);
  } catch (error) {
    throw new Error(word("noJson") + error.message);
  }
  if (data === null || typeof data !== "object" || Array.isArray(data)) throw new Error(word("noJson"));
  const text = (id) => by(id).value.trim();
  return {
    key: text("key"), target: chosen("target"), mode: chosen("mode"), path: text("path"), port: text("port"),
    app: text("app"), address: text("address"), data, task, file: picture ? picture.name : SAMPLE,
  };
}

function filled(value) {
  if (value === PICTURE) {
    if (!picture) throw new Error(word("noPicture"));
    return picture.base64;
  }
  if (Array.isArray(value)) return value.map(filled);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, filled(each)]));
}

function showProgram() {
  try {
    const now = choice();
    by("sample-code").textContent = program(chosen("kind"), by("call").value, now, masked(now.key), location.origin);
    by("data-said").textContent = "";
  } catch (error) {
    by("data-said").textContent = error.message;
  }
}

const seconds = (since) => ["seconds", ((performance.now() - since) / 1000).toFixed(1)];

async function send() {
  let now, body;
  try {
    now = choice();
    body = { btc_address: now.address, data: filled(now.data) };
  } catch (error) {
    by("data-said").textContent = error.message;
    by("data").focus();
    return;
  }
  const begun = performance.now();
  work = new AbortController();
  by("send").disabled = true;
  by("cancel").disabled = false;
  task = "";
  tell({ state: now.mode === "Sync" ? "waiting" : "sending", busy: true, facts: [], reply: null });
  try {
    let told = await submit(now, body, work.signal);
    task = told.taskID;
    showProgram();
    if (now.mode === "Async") told = await watch(task, (each) => each && standing(each, begun), work.signal);
    standing(told, begun);
  } catch (error) {
    if (error.name === "AbortError") tell({ state: "cancelled", facts: [["elapsed", seconds(begun)]], reply: null });
    else failed(error, begun);
  } finally {
    work = null;
    by("send").disabled = false;
    by("cancel").disabled = true;
  }
}

function standing(told, begun) {
  const busy = told.status === "queued" || told.status === "running";
  const facts = [["task", told.taskID]];
  if (told.queue_position) facts.push(["position", String(told.queue_position)]);
  if (typeof told.wait_estimate === "number") facts.push(["estimate", ["seconds", told.wait_estimate]]);
  if (told.progress) facts.push(["progress", told.progress]);
  if (!busy) facts.push(["elapsed", seconds(begun)]);
  if (told.msg !== "success") facts.push(["message", told.msg]);
  const bad = !busy && told.status !== "finished" && told.status !== "cancelled";
  tell({ state: told.status, busy, bad, facts, reply: busy ? null : told });
}

function failed(error, begun) {
  const lost = !(error instanceof Refused) || error.status === 0;
  const facts = lost ? [] : [["status", String(error.status)]];
  if (error.body && error.body.taskID) task = error.body.taskID;
  if (task) facts.push(["task", task]);
  facts.push(["message", error.message], ["elapsed", seconds(begun)]);
  const status = error.body && error.body.status;
  tell({ state: lost ? "unreachable" : status || "refused", bad: true, facts, reply: error.body ?? null });
}

async function cancel() {
  const under = work;
  if (!under) return;
  if (!task) return under.abort(); // a call that waits ends with its connection
  try {
    await cancelTask(by("key").value.trim(), task); // its end comes by the stream
  } catch (error) {
    if (work === under && error.status !== 409) under.abort();
  }
}

async function check() {
  const said = by("key-said");
  try {
    const told = await nodes(by("key").value.trim());
    said.className = "hint good";
    said.textContent = word("keyGood", told.result_size);
  } catch (error) {
    said.className = "hint bad";
    said.textContent = error.status ? error.message : word("unreachable");
  }
}

async function take(blob, name) {
  if (!blob.type.startsWith("image/")) {
    by("file-said").textContent = word("notPicture");
    return;
  }
  const url = await new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
  picture = { name, base64: url.slice(url.indexOf(",") + 1) };
  by("preview").src = url;
  by("preview").alt = name;
  by("preview").hidden = false;
  by("file-said").textContent = `${name}, ${Math.ceil(blob.size / 1024)} KiB`;
  showProgram();
}

async function copy() {
  const now = choice();
  const text = program(chosen("kind"), by("call").value, now, now.key, location.origin);
  if (navigator.clipboard) await navigator.clipboard.writeText(text);
  else {
    // over plain http browsers have the old way only
    const area = Object.assign(document.createElement("textarea"), { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    by("copy").focus();
  }
  by("copied").textContent = word("copied");
  clearTimeout(fading); // that of the copy before would take this one's word away
  fading = setTimeout(() => (by("copied").textContent = ""), 3000);
}

function listen() {
  by("language").addEventListener("click", () => {
    language = language === "zh" ? "en" : "zh";
    speak();
  });
  by("form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!work) send();
  });
  by("form").addEventListener("input", () => {
    by("by-path").hidden = chosen("target") !== "path";
    by("by-app").hidden = chosen("target") !== "app";
    by("key-said").textContent = "";
    showProgram();
  });
  by("check").addEventListener("click", check);
  by("cancel").addEventListener("click", cancel);
  by("copy").addEventListener("click", () => copy().catch(() => {}));
  by("sample").addEventListener("click", async () => take(await (await fetch(`/docs/${SAMPLE}`)).blob(), SAMPLE));
  by("file").addEventListener("change", () => by("file").files[0] && take(by("file").files[0], by("file").files[0].name));
  const drop = by("drop");
  for (const kind of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files[0]) take(event.dataTransfer.files[0], event.dataTransfer.files[0].name);
    });
  }
  by("call").addEventListener("change", showProgram);
  for (const each of document.querySelectorAll('input[name="kind"]')) each.addEventListener("change", showProgram);
}

listen();
speak();
