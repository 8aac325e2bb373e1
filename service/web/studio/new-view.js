// The page where a dub is made: two inputs, a check, settings, and off it goes.

import { post } from "./api.js";
import "./check-panel.js";
import { field, fill, h, segmented } from "./dom.js";
import "./input-field.js";
import { rememberOriginal } from "./originals.js";
import { problemPanel } from "./problem.js";

const SYNC_MODES = [
  ["cut_off", "End with the shorter one"],
  ["silence", "Silence to the end of the video"],
  ["hold", "Hold the last frame"],
  ["loop", "Start the video over"],
  ["bounce", "Run the video back and forth"],
];
const QUALITIES = [["10", "Draft"], ["20", "Standard"], ["40", "Fine"], ["", "Own"]];
const OUTPUTS = [
  ["mp4 h264 aac", "MP4 · H.264, AAC"],
  ["mp4 h264 flac", "MP4 · H.264, FLAC"],
  ["mp4 hevc aac", "MP4 · HEVC, AAC"],
  ["mov prores pcm", "MOV · ProRes 422 HQ, PCM"],
  ["mov h264 pcm", "MOV · H.264, PCM"],
];
const PLAYS_HERE = "Plays here, for comparison.";
const DOWNLOAD_ONLY = "Most browsers cannot play it: you compare after the download.";

export function newView(main) {
  const form = new NewDub();
  fill(main, form.element);
  form.check.check(null);
  return { title: "New dub", refresh: () => form.tryAgain(), close() {} };
}

class NewDub {
  constructor() {
    this.video = document.createElement("input-field").setup({ kind: "video", title: "Video", remark: "With at least one visible face." });
    this.voice = document.createElement("input-field").setup({ kind: "audio", title: "Voice", remark: "The new voice, as a sound file or the sound of a video." });
    this.check = document.createElement("check-panel");
    this.video.addEventListener("change", () => this._changed());
    this.voice.addEventListener("change", () => this._changed());
    this._makeControls();
    this.element = h("div", { class: "new", ondragover: (event) => event.preventDefault(), ondrop: (event) => this._drop(event) },
      h("div", { class: "page-head" }, h("h1", { tabindex: -1 }, "New dub"), h("p", { class: "remark" }, "Drop a video and a voice anywhere on this page.")),
      h("div", { class: "new-columns" },
        h("div", { class: "new-main" }, h("div", { class: "inputs" }, this.video, this.voice), this.check),
        h("form", { class: "panel settings", onsubmit: (event) => this._submit(event) },
          h("h2", {}, "Settings"), this.name.label,
          field("When voice and video differ in length", this.syncMode),
          this.quality, this.own,
          field("Result", this.output, this.outputRemark),
          h("details", {}, h("summary", {}, "More"), field("Encoder quality (CRF)", this.crf, "0 to 51; less is better and larger."), field("Seed", this.seed, "The same seed gives the same result.")),
          this.problem, this.button, this.remark)));
    this._changed();
  }

  _makeControls() {
    const select = (options, onchange) => h("select", { onchange }, options.map(([value, label]) => h("option", { value }, label)));
    const name = h("input", { type: "text", maxlength: 200, placeholder: "Named after the video", autocomplete: "off" });
    this.name = { input: name, label: field("Name", name) };
    this.syncMode = select(SYNC_MODES);
    this.steps = h("input", { type: "number", min: 1, max: 100, step: 1, value: 20, required: true });
    this.guidance = h("input", { type: "number", min: 0, max: 20, step: 0.1, value: 3.5, required: true });
    this.own = h("div", { class: "pair", hidden: true }, field("Steps", this.steps, "1 to 100"), field("Guidance", this.guidance, "1 turns it off"));
    this.quality = segmented("Quality", "quality", QUALITIES, "20", (steps) => {
      this.own.hidden = steps !== "";
      if (steps) { this.steps.value = steps; this.guidance.value = 3.5; }
    });
    this.outputRemark = h("span", {}, PLAYS_HERE);
    this.output = select(OUTPUTS, () => {
      const [, codec] = this.output.value.split(" ");
      this.outputRemark.textContent = codec === "h264" ? PLAYS_HERE : DOWNLOAD_ONLY;
      this.crf.disabled = codec === "prores";
    });
    this.crf = h("input", { type: "number", min: 0, max: 51, step: 1, value: 14, required: true });
    this.seed = h("input", { type: "number", min: 0, max: Number.MAX_SAFE_INTEGER, step: 1, value: 42, required: true });
    this.problem = h("div");
    this.button = h("button", { type: "submit", class: "primary" }, "Dub");
    this.remark = h("p", { class: "remark", role: "status" });
  }

  /** Files that were dropped beside a field find theirs by their type. */
  _drop(event) {
    event.preventDefault();
    delete this.video.dataset.over;
    delete this.voice.dataset.over;
    const files = [...event.dataTransfer.files];
    const over = event.target.closest("input-field");
    if (over && files.length === 1) return over.take(files[0]);
    const sound = files.find((file) => file.type.startsWith("audio/"));
    const [picture, other] = files.filter((file) => file !== sound);
    if (picture) this.video.take(picture);
    if (sound ?? other) this.voice.take(sound ?? other);
  }

  /** The service can be reached again, or has another key: what it did not take before goes up now. */
  tryAgain() {
    for (const input of [this.video, this.voice]) input.tryAgain();
    if (this._checked && this.check.hasFailed) this.check.check(this.video.value, this.voice.value);
  }

  _changed() {
    const { video, voice } = this;
    const isReady = Boolean(video.value && voice.value);
    this.button.disabled = !isReady;
    this.remark.textContent = isReady ? "" : video.isBusy || voice.isBusy ? "The files are on their way." : "Choose a video and a voice.";
    this.name.input.placeholder = video.name || "Named after the video";
    fill(this.problem);
    if (!this.check.isConnected) return;
    const inputs = isReady ? `${video.value} ${voice.value}` : "";
    if (inputs === this._checked) return;
    this._checked = inputs;
    this.check.check(isReady ? video.value : null, voice.value);
  }

  _wanted() {
    const [container, codec, audioCodec] = this.output.value.split(" ");
    const output = { container, codec, audio_codec: audioCodec };
    if (codec !== "prores") output.quality = Number(this.crf.value);
    return {
      video_url: this.video.value,
      audio_url: this.voice.value,
      options: {
        sync_mode: this.syncMode.value,
        num_inference_steps: Number(this.steps.value),
        guidance_scale: Number(this.guidance.value),
        seed: Number(this.seed.value),
        face: this.check.face,
        output,
      },
      metadata: { name: this.name.input.value.trim() || this.video.name, video: this.video.name, voice: this.voice.name },
    };
  }

  async _submit(event) {
    event.preventDefault();
    this.button.disabled = true;
    this.button.textContent = "Sending…";
    try {
      const { id } = await post("jobs", this._wanted());
      rememberOriginal(id, this.video.file);
      location.hash = `#/jobs/${id}`;
    } catch (error) {
      fill(this.problem, problemPanel(error));
      this.button.disabled = false;
    }
    this.button.textContent = "Dub";
  }
}
