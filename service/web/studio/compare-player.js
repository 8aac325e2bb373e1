// <compare-player>: the dub and its original, side by side or under a wipe, on the same frame.

import { h, segmented, setText } from "./dom.js";
import { TwoVideos } from "./two-videos.js";
import { timecode } from "./words.js";

const RATES = [["0.25", "¼×"], ["0.5", "½×"], ["1", "1×"]];
const KEYS = [
  ["Space, K", "play, pause"], ["← →", "a frame back, forward"], ["⇧ ← →", "a second"], ["Home, End", "start, end"],
  ["I, O", "set the range"], ["X", "clear it"], ["L", "loop"], ["A", "hear the other"], ["W", "side by side, wipe"], ["F", "full screen"],
];
const loaded = (video) => new Promise((resolve, reject) => {
  video.addEventListener("loadeddata", resolve, { once: true });
  video.addEventListener("error", () => reject(video.error), { once: true });
});

class ComparePlayer extends HTMLElement {
  /** `dub`: address of the result; `original`: address or null; `facts`: fps, frames. `onOriginalFails()` when it cannot be played. */
  open({ dub, original, facts, onOriginalFails }) {
    this._facts = facts;
    this._dub = h("video", { class: "dub", src: dub, preload: "auto", playsinline: true, "aria-label": "The dub" });
    this._original = original && h("video", { class: "original", src: original, preload: "auto", playsinline: true, "aria-label": "The original" });
    this._build();
    this._ready = this._load(onOriginalFails);
    return this._ready;
  }

  connectedCallback() {
    this._keys = (event) => this._onKey(event);
    document.addEventListener("keydown", this._keys);
  }

  disconnectedCallback() {
    document.removeEventListener("keydown", this._keys);
    this._clock?.close();
    for (const video of [this._dub, this._original]) video?.removeAttribute("src");
  }

  async _load(onOriginalFails) {
    const fails = this._original && loaded(this._original).catch(() => {
      this._dropOriginal();
      onOriginalFails();
    });
    try {
      await loaded(this._dub);
    } catch {
      this.dataset.state = "unplayable";
      this._stage.replaceChildren(h("p", { class: "unplayable" }, "This browser cannot play this format. Download the file instead."));
      return;
    }
    await fails;
    this.dataset.compares = String(Boolean(this._original));
    this._clock = new TwoVideos(this._dub, this._original, this._facts.fps, this._facts.frames);
    this._clock.addEventListener("frame", () => this._showFrame());
    this._clock.addEventListener("state", () => this._showState());
    await this._clock.seek(0);
    this._showRange();
    this._showState();
    this.dataset.state = "ready";
  }

  _dropOriginal() {
    this._original = null;
    this.querySelector(".half-original").remove();
    for (const name of ["compare-mode", "compare-sound"]) this.querySelector(`fieldset:has([name=${name}])`).remove();
    this._setMode("dub");
  }

  _build() {
    const last = this._facts.frames - 1;
    this._wipe = h("input", { type: "range", class: "wipe", min: 0, max: 100, step: 1, value: 50, "aria-label": "Wipe: how much of the original is seen, in percent", oninput: () => this._showWipe() });
    this._stage = h("div", { class: "stage" },
      this._original && h("div", { class: "half half-original" }, this._original, h("span", { class: "tag" }, "Original")),
      h("div", { class: "half half-dub" }, this._dub, h("span", { class: "tag" }, "Dub")),
      h("div", { class: "wipe-line", "aria-hidden": "true" }), this._wipe);
    this._play = h("button", { type: "button", class: "play", onclick: () => this._clock?.toggle() }, "Play");
    this._place = h("input", { type: "range", class: "timeline", min: 0, max: last, step: 1, value: 0, "aria-label": "Frame", oninput: () => this._clock?.seek(Number(this._place.value)) });
    this._time = h("output", { class: "timecode" });
    this._loop = h("button", { type: "button", "aria-pressed": "false", onclick: () => this._toggleLoop() }, "Loop");
    this._rangeText = h("span", { class: "range-text" });
    const button = (label, title, onclick) => h("button", { type: "button", title, "aria-label": title, onclick }, label);
    this.replaceChildren(...[
      h("div", { class: "looks" },
        this._original && segmented("Compare", "compare-mode", [["side", "Side by side"], ["wipe", "Wipe"], ["dub", "Dub only"]], "side", (mode) => this._setMode(mode)),
        this._original && segmented("Hear", "compare-sound", [["dub", "Dub"], ["original", "Original"]], "dub", (sound) => this._hear(sound)),
        segmented("Speed", "compare-rate", RATES, "1", (rate) => this._clock?.setRate(Number(rate)))),
      this._stage,
      this._place,
      h("div", { class: "transport" },
        h("div", { class: "group" },
          button("Start", "To the start of the range", () => this._clock?.seek(this._clock.range.first)),
          button("−1", "A frame back", () => this._clock?.step(-1)), this._play,
          button("+1", "A frame forward", () => this._clock?.step(1))),
        this._time,
        h("div", { class: "group" }, button("In", "Begin the range here", () => this._setRange("first")), button("Out", "End the range here", () => this._setRange("last")),
          this._loop, button("Clear", "Clear the range", () => this._clearRange()), this._rangeText),
        button("Full screen", "Full screen", () => this._fullscreen())),
      h("details", { class: "keys" }, h("summary", {}, "Keys"), h("dl", {}, KEYS.flatMap(([key, deed]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, deed)]))),
    ].filter(Boolean));
    this._setMode(this._original ? "side" : "dub");
    this._showWipe();
    this._showFrame();
  }

  _setMode(mode) {
    this.dataset.mode = mode;
    const radio = this.querySelector(`input[name=compare-mode][value=${mode}]`);
    if (radio) radio.checked = true;
    this._wipe.hidden = mode !== "wipe";
  }

  _hear(sound) {
    if (!this._clock || (sound === "original" && !this._original)) return;
    this._clock.hear(sound === "original" ? this._original : this._dub);
    const radio = this.querySelector(`input[name=compare-sound][value=${sound}]`);
    if (radio) radio.checked = true;
  }

  _showWipe() {
    this._stage.style.setProperty("--part", this._wipe.value / 100);
  }

  _showFrame() {
    const frame = this._clock?.frame ?? 0;
    const code = timecode(frame, this._facts.fps);
    this.toggleAttribute("data-settled", Boolean(this._clock?.isSettled));
    this._place.value = frame;
    this._place.setAttribute("aria-valuetext", code);
    setText(this._time, `${code} · frame ${frame + 1} of ${this._facts.frames}`);
  }

  _showState() {
    setText(this._play, this._clock.isPlaying ? "Pause" : "Play");
  }

  _setRange(end) {
    const range = { ...this._clock.range, [end]: this._clock.frame };
    if (range.first > range.last) range[end === "first" ? "last" : "first"] = end === "first" ? this._facts.frames - 1 : 0;
    this._clock.range = range;
    this._showRange();
  }

  _clearRange() {
    this._clock.range = { first: 0, last: this._facts.frames - 1 };
    this._showRange();
  }

  _showRange() {
    const { first, last } = this._clock.range;
    const count = Math.max(1, this._facts.frames - 1);
    this._place.style.setProperty("--in", `${(100 * first) / count}%`);
    this._place.style.setProperty("--out", `${(100 * last) / count}%`);
    const isWhole = first === 0 && last === this._facts.frames - 1;
    this._place.toggleAttribute("data-ranged", !isWhole);
    setText(this._rangeText, isWhole ? "" : `${timecode(first, this._facts.fps)} – ${timecode(last, this._facts.fps)}`);
  }

  _toggleLoop() {
    this._clock.loops = !this._clock.loops;
    this._loop.setAttribute("aria-pressed", String(this._clock.loops));
  }

  _fullscreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.requestFullscreen();
  }

  _onKey(event) {
    if (this.dataset.state !== "ready" || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const on = event.target;
    if (on.matches("select, textarea, input:not([type=range], [type=radio])")) return;
    const arrowsAreTheirs = on.matches("input[type=radio], input.wipe");
    if (event.key === " " && on.matches("button, summary, a, input[type=radio]")) return;
    const clock = this._clock;
    const second = Math.max(1, Math.round(this._facts.fps));
    const deeds = {
      " ": () => clock.toggle(), k: () => clock.toggle(),
      ArrowLeft: arrowsAreTheirs ? null : () => clock.step(event.shiftKey ? -second : -1),
      ArrowRight: arrowsAreTheirs ? null : () => clock.step(event.shiftKey ? second : 1),
      Home: arrowsAreTheirs ? null : () => clock.seek(0), End: arrowsAreTheirs ? null : () => clock.seek(this._facts.frames - 1),
      i: () => this._setRange("first"), o: () => this._setRange("last"), x: () => this._clearRange(), l: () => this._toggleLoop(),
      a: () => this._hear(clock.heard === this._dub ? "original" : "dub"),
      w: () => this._original && this._setMode(this.dataset.mode === "wipe" ? "side" : "wipe"),
      f: () => this._fullscreen(),
    };
    const deed = deeds[event.key] ?? deeds[event.key.toLowerCase()];
    if (!deed) return;
    event.preventDefault();
    deed();
  }
}

customElements.define("compare-player", ComparePlayer);
