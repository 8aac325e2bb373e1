// One door to the API: every request, its errors, and whether the service can be reached at all.

import { currentKey } from "./key.js";

/** Where the service lives, which may be below a path of a proxy's. */
export const BASE = new URL(".", document.baseURI);

/** Tells `lost` and `back` of the connection, and `key` when the service wants one, or another one. */
export const house = new EventTarget();

/** What the API answers when something is wrong: problem+json (RFC 9457). */
export class Problem extends Error {
  constructor(status, body, retryAfterSeconds) {
    super(body.detail ?? body.title ?? `The service answered with ${status}.`);
    this.status = status;
    this.title = body.title ?? "The service refused this";
    this.code = body.code ?? `http_${status}`;
    this.hint = body.hint ?? "";
    this.requestId = body.request_id ?? "";
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** Nobody has answered. */
export class ConnectionLost extends Error {
  constructor() {
    super("The service cannot be reached.");
  }
}

const GATEWAY_FAULTS = [502, 504];
const LOOK_AGAIN_MS = [500, 1000, 2000, 3000, 5000];
let lost = null;

/** Send a request, with the key if there is one. The answer is good, or Problem or ConnectionLost is thrown. */
export async function send(path, { method = "GET", json, headers = {}, signal } = {}) {
  const key = currentKey();
  let answer;
  try {
    answer = await fetch(new URL(path, BASE), {
      method,
      signal,
      headers: {
        ...(key && { Authorization: `Bearer ${key}` }),
        ...(json !== undefined && { "Content-Type": "application/json" }),
        ...headers,
      },
      body: json === undefined ? undefined : JSON.stringify(json),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw connectionLost();
  }
  if (answer.ok || answer.status === 304) return answer;
  if (GATEWAY_FAULTS.includes(answer.status)) throw connectionLost();
  const problem = await problemOf(answer);
  if (answer.status === 401) house.dispatchEvent(new CustomEvent("key", { detail: problem }));
  throw problem;
}

/** The JSON of an answer; null if it has none. */
export async function ask(path, options) {
  const answer = await send(path, options);
  return answer.status === 204 ? null : answer.json();
}

/** POST until it is answered: the service does it once, although it is repeated when the connection was lost. */
export async function post(path, json, signal) {
  const headers = { "Idempotency-Key": newId() };
  for (;;) {
    try {
      return await ask(path, { method: "POST", json, signal, headers });
    } catch (error) {
      if (!(error instanceof ConnectionLost) || signal?.aborted) throw error;
      await whenBack();
    }
  }
}

async function problemOf(answer) {
  let body = {};
  try {
    body = await answer.json();
  } catch { /* not ours: a proxy's page, say */ }
  return new Problem(answer.status, body, Number(answer.headers.get("Retry-After")) || null);
}

function newId() {  // crypto.randomUUID is there over https and on localhost only
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Say that the service is away, look until it is back, and say that. Returns what to throw. */
export function connectionLost() {
  if (lost === null) {
    house.dispatchEvent(new Event("lost"));
    lost = lookUntilBack();
  }
  return new ConnectionLost();
}

/** Resolves when the service can be reached (again). */
export const whenBack = () => lost ?? Promise.resolve();

async function lookUntilBack() {
  for (let look = 0; ; look += 1) {
    await pause(LOOK_AGAIN_MS[Math.min(look, LOOK_AGAIN_MS.length - 1)]);
    try {
      if ((await fetch(new URL("livez", BASE), { cache: "no-store" })).ok) break;
    } catch { /* still away */ }
  }
  lost = null;
  house.dispatchEvent(new Event("back"));
}

export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/**
 * A link of the API's, under the name that this page was reached by: the service may have more than one.
 * `self` is the address of the job or upload that the link came with. Links into a bucket stay as they are.
 */
export function reachable(url, self) {
  const place = self.replace(/(jobs|uploads)\/[^/]+$/, "");
  return url.startsWith(place) ? new URL(url.slice(place.length), BASE).href : url;
}
