// Files on their way to the service: in one piece to a folder, in parts to a bucket.

import { ConnectionLost, Problem, ask, connectionLost, reachable, whenBack } from "./api.js";

const AT_ONCE = 3;
const TRIES = 5;
const CONTENT_TYPE = /^[A-Za-z0-9!#$&^_.+-]+\/[A-Za-z0-9!#$&^_.+-]+$/;

/** Upload a file and return its `upload://` id. `onProgress(bytesSent)`. Throws Problem, ConnectionLost, AbortError. */
export async function upload(file, onProgress, signal) {
  if (file.size === 0) throw new Problem(422, { title: "The file is empty", hint: "Choose another one.", detail: file.name });
  const wanted = { filename: file.name.slice(0, 255), bytes: file.size, multipart: true };
  if (CONTENT_TYPE.test(file.type)) wanted.content_type = file.type;
  const ticket = await ask("uploads", { method: "POST", json: wanted, signal });
  const dropped = () => ask(`uploads/${ticket.id.slice("upload://".length)}`, { method: "DELETE" }).catch(() => {});
  signal.addEventListener("abort", dropped, { once: true });
  const link = (url) => reachable(url, ticket.links.self);
  if (ticket.url) {
    await putPatiently(link(ticket.url), file, ticket.headers, onProgress, signal);
  } else {
    await putParts(ticket.parts, file, link, onProgress, signal);
    await ask(new URL(reachable(ticket.links.complete, ticket.links.self)), { method: "POST", signal });
  }
  return ticket.id;
}

async function putParts(parts, file, link, onProgress, signal) {
  const sent = new Map();
  let offset = 0;
  const waiting = parts.map((part) => ({ ...part, start: offset, end: (offset += part.bytes) }));
  const putNext = async () => {
    for (let part = waiting.shift(); part; part = waiting.shift()) {
      const { number } = part;
      await putPatiently(link(part.url), file.slice(part.start, part.end), {}, (bytes) => {
        sent.set(number, bytes);
        onProgress([...sent.values()].reduce((sum, each) => sum + each, 0));
      }, signal);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, putNext));
}

/** PUT until it has arrived: a broken connection is waited for, a refusal is not. */
async function putPatiently(url, blob, headers, onProgress, signal) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await put(url, blob, headers, onProgress, signal);
    } catch (error) {
      if (!(error instanceof ConnectionLost) || tries === TRIES) throw error;
      await whenBack();
    }
  }
}

function put(url, blob, headers, onProgress, signal) {  // fetch cannot tell how far it is
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    signal.addEventListener("abort", abort, { once: true });
    request.open("PUT", url);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => onProgress(event.loaded);
    request.onload = () => (request.status < 300 ? resolve() : reject(refusal(request)));
    request.onerror = () => reject(connectionLost());
    request.onabort = () => reject(new DOMException("The upload was broken off.", "AbortError"));
    request.onloadend = () => signal.removeEventListener("abort", abort);
    request.send(blob);
  });
}

function refusal(request) {
  try {
    return new Problem(request.status, JSON.parse(request.responseText));
  } catch {
    return new Problem(request.status, { title: "The storage refused the file", hint: "Try again; if it stays so, tell your operator." });
  }
}
