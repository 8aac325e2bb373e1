// How an error is shown: what happened, what to do, and what to quote.

import { ConnectionLost, Problem } from "./api.js";
import { h } from "./dom.js";

/** A panel for an error. `again`: what to do when it is tried again, if that makes sense. */
export function problemPanel(error, again) {
  const known = error instanceof Problem || error.code;
  const title = known ? (error.title ?? "This job failed") : error instanceof ConnectionLost ? "No connection" : "Something went wrong on this page";
  const hint = error instanceof ConnectionLost ? "It is tried again by itself as soon as the service answers." : error.hint;
  return h("div", { class: "problem", role: "alert" },
    h("h2", {}, title),
    h("p", {}, error.message),
    hint && h("p", { class: "hint" }, hint),
    (error.code || error.requestId) && h("p", { class: "codes" },
      error.code && h("code", {}, error.code),
      error.requestId && h("span", {}, "Request ", h("code", {}, error.requestId))),
    again && h("button", { type: "button", onclick: again }, "Try again"));
}

/** Something that is being waited for. */
export const loadingPanel = (what) => h("p", { class: "loading", role: "status" }, h("span", { class: "spinner", "aria-hidden": "true" }), what);
