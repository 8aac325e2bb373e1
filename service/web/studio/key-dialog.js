// Where an editor gives the page their API key.

import { Problem, ask } from "./api.js";
import { fill, h } from "./dom.js";
import { currentKey, forgetKey, isRemembered, keepKey } from "./key.js";
import { problemPanel } from "./problem.js";

/** Ask for a key. `reason`: the Problem that made it necessary, if one did. `done()` when there is a good one, or none any more. */
export function askForKey(reason, done) {
  if (document.querySelector("dialog.key")) return;
  const key = h("input", { type: "password", autocomplete: "off", spellcheck: "false", required: true, placeholder: "hs_…" });
  const remember = h("input", { type: "checkbox", checked: isRemembered() });
  const problem = h("div", {}, reason?.code === "invalid_api_key" && problemPanel(reason));
  const close = () => { dialog.close(); dialog.remove(); };
  const submit = async (event) => {
    event.preventDefault();
    const before = currentKey();
    keepKey(key.value.trim(), remember.checked);
    try {
      await ask("jobs?limit=1");
      close();
      done();
    } catch (error) {
      if (error instanceof Problem && error.status === 401) {
        forgetKey();
        fill(problem, problemPanel(error));
        key.select();
      } else if (error instanceof Problem && error.code === "scope_missing") {
        close();
        done();
      } else {
        if (before) keepKey(before, isRemembered());
        fill(problem, problemPanel(error));
      }
    }
  };
  const dialog = h("dialog", { class: "dialog key", "aria-labelledby": "key-title" },
    h("form", { onsubmit: submit },
      h("h2", { id: "key-title" }, "API key"),
      h("p", {}, "This service wants a key. Your operator makes one with ", h("code", {}, "highsync keys create"), "."),
      h("label", { class: "field" }, h("span", { class: "label" }, "Key"), key),
      h("label", { class: "check" }, remember, "Remember it on this device"),
      h("p", { class: "remark" }, "Otherwise it is forgotten when this tab is closed. It is sent in a header only, never in an address."),
      problem,
      h("div", { class: "actions" }, h("button", { type: "submit", class: "primary" }, "Use this key"),
        currentKey() && h("button", { type: "button", onclick: () => { forgetKey(); close(); done(); } }, "Forget the key"),
        h("button", { type: "button", onclick: close }, "Close"))));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
