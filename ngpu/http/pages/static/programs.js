// The calls of the playground as commands for curl, and as programs on ngpu.client.

import { submission } from "./calls.js";

export const PICTURE = "<picture>";
export const CALLS = ["callSend", "callWatch", "callAsk", "callCancel"];

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** A key that may be looked at. */
export function masked(key) {
  return key.length > 12 ? `••••${key.slice(-4)}` : "••••";
}

/** A JSON value as Python writes it; `"<picture>"` is the variable `picture`. */
export function literal(value) {
  if (value === PICTURE) return "picture";
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (typeof value === "object") {
    return `{${Object.entries(value).map(([name, each]) => `${JSON.stringify(name)}: ${literal(each)}`).join(", ")}}`;
  }
  return JSON.stringify(value);
}

function curl(call, choice, key, origin) {
  const auth = `-H ${quoted(`Authorization: Bearer ${key}`)}`;
  const id = encodeURIComponent(choice.task || "TASK_ID");
  if (call === "callWatch") return `curl -sN "${origin}/user/queryTask/stream?taskID=${id}"`;
  if (call === "callAsk") return `curl -s "${origin}/user/queryTask?taskID=${id}"`;
  if (call === "callCancel") return `curl -s -X POST "${origin}/user/cancelTask?taskID=${id}" \\\n    ${auth}`;
  const body = JSON.stringify({ btc_address: choice.address, data: choice.data });
  const parts = body.split(PICTURE);
  const send = `curl -s "${origin}${submission(choice)}" \\\n    ${auth} \\\n    -H 'Content-Type: application/json' -d`;
  if (parts.length === 1) return `${send} ${quoted(body)}`;
  const file = `base64 < ${quoted(choice.file)} | tr -d '\\n'`;
  const pieces = parts.map((part) => `printf %s ${quoted(part)}`).join(`\n  ${file}\n  `);
  return `{ ${pieces}\n} | ${send} @-`;
}

function python(call, choice, key, origin) {
  const id = JSON.stringify(choice.task || "TASK_ID");
  const lines = [];
  if (call === "callSend") {
    const data = literal(choice.data);
    const more = choice.target === "app" ? [`app=${JSON.stringify(choice.app)}`] : [];
    if (choice.target === "path" && choice.path) more.push(`path=${JSON.stringify(choice.path)}`);
    if (choice.target === "path" && choice.port) more.push(`port=${Number(choice.port)}`);
    if (choice.address) more.push(`btc_address=${JSON.stringify(choice.address)}`);
    const asked = [data, ...more].join(", ");
    lines.push(...(choice.mode === "Sync" ? [`task = client.call(${asked})`] : [`task = client.submit(${asked})`]));
    lines.push(choice.mode === "Sync" ? "print(task.value())" : "print(task.id)");
  }
  if (call === "callWatch") lines.push(`print(client.wait(${id}, tell=print).value())`);
  if (call === "callAsk") lines.push(`print(client.query(${id}))`);
  if (call === "callCancel") lines.push(`print(client.cancel(${id}))`);
  const withPicture = lines.some((line) => /\bpicture\b/.test(line.replace(/"(?:[^"\\]|\\.)*"/g, "")));
  return [
    ...(withPicture ? ["import base64", "from pathlib import Path", ""] : []),
    "from ngpu.client import Client",
    "",
    ...(withPicture ? [`picture = base64.b64encode(Path(${JSON.stringify(choice.file)}).read_bytes()).decode()`] : []),
    `with Client(${JSON.stringify(origin)}, ${JSON.stringify(key)}) as client:`,
    ...lines.map((line) => `    ${line}`),
    "",
  ].join("\n");
}

/** A call as text. */
export const program = (kind, ...more) => (kind === "curl" ? curl(...more) : python(...more));
