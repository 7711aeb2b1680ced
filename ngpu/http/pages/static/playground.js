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
let taking = 0; // how many files were given so far: a large one must not take the place of one given after it
let work = null; // what is under way: {stop: an AbortController, key}
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
  const state = word(name, ...values) ?? name;
  if (by("state").textContent !== state) by("state").textContent = state; // else it would be read out with each event
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
  const stop = new AbortController();
  work = { stop, key: now.key };
  by("send").disabled = true;
  by("cancel").disabled = false;
  by("cancel-said").textContent = "";
  task = "";
  tell({ state: now.mode === "Sync" ? "waiting" : "sending", busy: true, facts: [], reply: null });
  try {
    let told = await submit(now, body, stop.signal);
    task = told.taskID;
    showProgram();
    if (now.mode === "Async") told = await watch(task, (each) => each && standing(each, begun), stop.signal);
    standing(told, begun);
  } catch (error) {
    if (error.name === "AbortError") tell({ state: "cancelled", facts: [["elapsed", seconds(begun)]], reply: null });
    else failed(error, begun);
  } finally {
    work = null;
    by("send").disabled = false;
    by("cancel").disabled = true;
    by("cancel-said").textContent = "";
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

const why = (error) => (error.status ? error.message : word("unreachable"));

async function cancel() {
  const under = work;
  if (!under) return;
  if (!task) return under.stop.abort(); // a call that waits ends with its connection
  try {
    await cancelTask(under.key, task); // its end comes by the stream
  } catch (error) {
    // the task goes on, and so does the look at it; 409: it has ended meanwhile
    if (work === under && error.status !== 409) by("cancel-said").textContent = why(error);
  }
}

async function check() {
  const key = by("key").value.trim();
  const say = (tone, text) => {
    if (by("key").value.trim() !== key) return; // it is another one by now
    by("key-said").className = `hint ${tone}`;
    by("key-said").textContent = text;
  };
  try {
    say("good", word("keyGood", (await nodes(key)).result_size));
  } catch (error) {
    say("bad", why(error));
  }
}

async function take(blob, name) {
  const mine = ++taking;
  if (!blob.type.startsWith("image/")) {
    by("file-said").textContent = word("notPicture");
    return;
  }
  const url = await new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => resolve(null);
    reader.readAsDataURL(blob);
  });
  if (mine !== taking) return;
  if (url === null) {
    by("file-said").textContent = word("unread");
    return;
  }
  picture = { name, base64: url.slice(url.indexOf(",") + 1) };
  by("preview").src = url;
  by("preview").alt = name;
  by("preview").hidden = false;
  by("file-said").textContent = `${name}, ${Math.ceil(blob.size / 1024)} KiB`;
  showProgram();
}

async function sample() {
  const mine = ++taking;
  const blob = await fetch(`/docs/${SAMPLE}`).then((reply) => reply.blob(), () => null);
  if (mine !== taking) return;
  if (blob) await take(blob, SAMPLE);
  else by("file-said").textContent = word("unreachable");
}

async function copy() {
  const now = choice();
  const text = program(chosen("kind"), by("call").value, now, now.key, location.origin);
  const done = await navigator.clipboard?.writeText(text).then(() => true, () => false) || copiedTheOldWay(text);
  by("copied").className = done ? "hint good" : "hint bad";
  by("copied").textContent = word(done ? "copied" : "notCopied");
  clearTimeout(fading); // that of the copy before would take this one's word away
  if (done) fading = setTimeout(() => (by("copied").textContent = ""), 3000);
}

/** Over plain http, or where it was refused, browsers have the old way only; whether they took it. */
function copiedTheOldWay(text) {
  const area = Object.assign(document.createElement("textarea"), { value: text });
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  by("copy").focus();
  return done;
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
  by("sample").addEventListener("click", sample);
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
