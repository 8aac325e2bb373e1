// <input-field>: one input of a dub. A file that is dropped or chosen goes up at once; an address is taken as it is.

import { fill, h } from "./dom.js";
import { problemPanel } from "./problem.js";
import { upload } from "./upload.js";
import { bytes, fileName, percent } from "./words.js";

class InputField extends HTMLElement {
  /** `kind`: video or audio. Dispatches `change` when `value` (an address, or null) has changed. */
  setup({ kind, title, remark }) {
    Object.assign(this, { kind, title, remark, value: null, file: null });
    this.removeAttribute("title");
    this._title = title;
    this.addEventListener("dragover", (event) => { event.preventDefault(); this.dataset.over = ""; });
    this.addEventListener("dragleave", () => delete this.dataset.over);
    this._showEmpty();
    return this;
  }

  disconnectedCallback() {
    if (this.value === null) this._going?.abort();
    if (this._preview) URL.revokeObjectURL(this._preview);
  }

  get name() {
    return this.file?.name ?? (this.value ? fileName(this.value) : "");
  }

  get isBusy() {
    return this.dataset.state === "uploading";
  }

  async take(file) {
    this._going?.abort();
    this._going = new AbortController();
    const { signal } = this._going;
    this.file = file;
    this._set(null, "uploading");
    const bar = h("progress", { max: file.size || 1, value: 0, "aria-label": `Uploading ${file.name}` });
    const text = h("span", { class: "remark" }, "Uploading…");
    this._showChosen(bar, text);
    try {
      const id = await upload(file, (sent) => {
        bar.value = sent;
        text.textContent = `Uploading: ${percent(sent / file.size)} of ${bytes(file.size)}`;
      }, signal);
      if (signal.aborted) return;
      this._showChosen(h("span", { class: "remark" }, `${bytes(file.size)} · uploaded`));
      this._set(id, "ready");
    } catch (error) {
      if (signal.aborted) return;
      this._showChosen(problemPanel(error, () => this.take(file)));
      this._set(null, "failed");
    }
  }

  /** Take the file again that was not taken before, if there is one. */
  tryAgain() {
    if (this.dataset.state === "failed") this.take(this.file);
  }

  clear() {
    this._going?.abort();
    this.file = null;
    this._showEmpty();
    this._set(null, "empty");
    this.querySelector("input").focus();
  }

  _set(value, state) {
    this.value = value;
    this.dataset.state = state;
    this.dispatchEvent(new Event("change"));
  }

  _showEmpty() {
    this.dataset.state = "empty";
    const accept = this.kind === "video" ? "video/*,.mkv,.mxf" : "audio/*,video/*";
    const chooser = h("input", { type: "file", accept, "aria-label": `Choose the ${this._title.toLowerCase()}`, onchange: (event) => {
      event.stopPropagation();
      if (chooser.files[0]) this.take(chooser.files[0]);
    } });
    const address = h("input", { type: "url", placeholder: "https://…", "aria-label": `Address of the ${this._title.toLowerCase()}` });
    const use = (event) => { event.preventDefault(); event.stopPropagation(); if (address.value.trim()) this._useAddress(address.value.trim()); };
    fill(this, h("h2", {}, this._title), h("p", { class: "remark" }, this.remark),
      h("label", { class: "drop" }, h("span", { class: "drop-main" }, "Drop a file here"), h("span", { class: "drop-or" }, "or ", h("span", { class: "as-link" }, "choose one")), chooser),
      h("form", { class: "address", onsubmit: use }, address, h("button", { type: "submit" }, "Use address")));
  }

  _useAddress(url) {
    this.file = null;
    this._showChosen(h("span", { class: "remark" }, "The service fetches it when the job runs."), url);
    this._set(url, "ready");
  }

  _showChosen(...below) {
    if (this._preview) URL.revokeObjectURL(this._preview);
    this._preview = this.file && URL.createObjectURL(this.file);
    const [first, address] = below;
    const shown = this.kind === "video" ? h("video", { src: this._preview, preload: "metadata", muted: true, playsinline: true, "aria-hidden": "true" })
      : h("audio", { src: this._preview, controls: true, preload: "metadata", "aria-label": "Hear the voice" });
    const rest = address && !(address instanceof Node) ? [first] : below;
    const hadFocus = this.contains(document.activeElement);
    const change = h("button", { type: "button", onclick: () => this.clear() }, "Change");
    fill(this, h("h2", {}, this._title),
      this.file && shown,
      h("div", { class: "chosen" }, h("div", {}, h("strong", {}, this.file?.name ?? address), rest.filter((each) => each.matches("span"))), change),
      rest.filter((each) => !each.matches("span")));
    if (hadFocus) change.focus();
  }
}

customElements.define("input-field", InputField);
