// One job: where it is, what came out, and the dub beside its original.

import { Problem, ask, pause, post, reachable, whenBack } from "./api.js";
import { factsOf, warningsOf } from "./check-panel.js";
import "./compare-player.js";
import { announce, confirmed, fill, h, setText } from "./dom.js";
import { follow } from "./events.js";
import { fileOf, originalOf, rememberOriginal } from "./originals.js";
import { loadingPanel, problemPanel } from "./problem.js";
import { STATUSES, bytes, duration, isOver, percent, stageName, titleOf, when } from "./words.js";

const ETA_MS = 3000;

export function jobView(main, id) {
  const view = new JobPage(id);
  fill(main, view.element);
  view.run();
  return {
    get title() { return view.title; },
    close: () => view.ends.abort(),
    refresh: () => (view.isFollowing ? view.look() : view.run()),
  };
}

class JobPage {
  constructor(id) {
    this.id = id;
    this.title = "Job";
    this.ends = new AbortController();
    this.heading = h("h1", { tabindex: -1 }, "Job");
    this.pill = h("span", { class: "pill" });
    this.actions = h("div", { class: "actions" });
    this.problem = h("div");
    this.progress = new ProgressPanel();
    this.result = h("div", { class: "result" }, loadingPanel("Loading the job…"));
    this.side = h("aside", { class: "side", "aria-label": "About this job" });
    this.element = h("div", { class: "job" },
      h("a", { class: "back", href: "#/jobs" }, "← Jobs"),
      h("div", { class: "page-head" }, h("div", { class: "job-title" }, this.heading, this.pill), this.actions),
      this.problem, h("div", { class: "job-columns" }, h("div", { class: "job-main" }, this.progress.element, this.result), this.side));
  }

  async run() {
    const { signal } = this.ends;
    if (!(await this.look()) || isOver(this.job)) return;
    this.isFollowing = true;
    this._keepEta();
    try {
      await follow(this.id, (event) => this._happened(event), signal);
    } catch (error) {
      this.isFollowing = false;
      return fill(this.problem, problemPanel(error));
    }
    if (!signal.aborted) await this.look();
  }

  /** Read the job again and show it. Whether it could be read. */
  async look() {
    const { signal } = this.ends;
    try {
      this.job = await ask(`jobs/${this.id}`, { signal });
    } catch (error) {
      if (signal.aborted) return false;
      fill(this.problem, problemPanel(error, () => { fill(this.problem); this.run(); }));
      if (!this.job) fill(this.result);
      return false;
    }
    fill(this.problem);
    this._show();
    return true;
  }

  async _keepEta() {
    const { signal } = this.ends;
    while (!signal.aborted && !isOver(this.job)) {
      await pause(ETA_MS);
      await whenBack();
      if (!signal.aborted && !isOver(this.job) && document.visibilityState === "visible") await this.look();
    }
  }

  _happened(event) {
    if (event.progress) {
      this.job = { ...this.job, status: event.status, progress: event.progress, eta_s: event.progress.eta_s ?? this.job.eta_s };
      this._show();
    } else if (event.status !== this.job.status) {
      this.look();
    }
  }

  _show() {
    const { job } = this;
    this.title = isOver(job) ? titleOf(job) : `${job.progress ? percent(job.progress.fraction) : STATUSES[job.status]} · ${titleOf(job)}`;
    document.title = `${this.title} – HighSync`;
    setText(this.heading, titleOf(job));
    setText(this.pill, job.cancel_requested && !isOver(job) ? "Stopping" : STATUSES[job.status]);
    this.pill.dataset.status = job.status;
    this.progress.show(job);
    const state = `${job.status} ${job.cancel_requested} ${Boolean(job.preflight)}`;
    if (state === this._state) return;
    if (this._state) announce(`${titleOf(job)}: ${STATUSES[job.status]}`);
    this._state = state;
    this._showActions();
    this._showSide();
    this._showResult();
  }

  _showActions() {
    const { job } = this;
    const button = (label, onclick, kind) => h("button", { type: "button", class: kind, onclick }, label);
    fill(this.actions,
      job.result && h("a", { class: "button primary", href: reachable(job.result.url, job.links.self), download: "", onclick: (event) => this._download(event) }, `Download (${bytes(job.result.bytes)})`),
      !isOver(job) && button("Cancel", () => this._do(() => ask(`jobs/${this.id}/cancel`, { method: "POST" })), ""),
      ["failed", "canceled", "expired"].includes(job.status) && button("Retry", () => this._retry(), "primary"),
      isOver(job) && button("Delete", () => this._delete(), "quiet"));
  }

  /** A link is good for a limited time, so a fresh one is asked for at the click. */
  async _download(event) {
    event.preventDefault();
    if (await this.look()) h("a", { href: reachable(this.job.result.url, this.job.links.self), download: "" }).click();
  }

  async _retry() {
    await this._do(async () => {
      const { id } = await post(`jobs/${this.id}/retry`, {});
      rememberOriginal(id, fileOf(this.id));
      location.hash = `#/jobs/${id}`;
    });
  }

  async _delete() {
    const yes = await confirmed("Delete this job?", "Its result is removed, and its files unless another job uses them.", "Delete");
    if (yes) await this._do(async () => { await ask(`jobs/${this.id}`, { method: "DELETE" }); location.hash = "#/jobs"; });
  }

  async _do(deed) {
    try {
      await deed();
      if (!this.ends.signal.aborted && !location.hash.startsWith("#/jobs?") && location.hash.includes(this.id)) await this.look();
    } catch (error) {
      fill(this.problem, problemPanel(error));
    }
  }

  _showResult() {
    const { job } = this;
    if (job.error) return fill(this.result, problemPanel(job.error));
    if (job.result) return this._compare();
    if (job.status === "canceled") return fill(this.result, h("div", { class: "empty" }, h("h2", {}, "Canceled"), h("p", {}, "Nothing was made. Retry starts it anew with the same files.")));
    if (job.status === "succeeded") return fill(this.result, h("div", { class: "empty" }, h("h2", {}, "A check"), h("p", {}, "It only looked at the files: what it found stands beside.")));
    return fill(this.result);
  }

  async _compare(file) {
    const { job, ends: { signal } } = this;
    fill(this.result, loadingPanel("Loading the videos…"));
    try {
      const original = file ? { url: URL.createObjectURL(file) } : await originalOf(job, signal);
      const player = document.createElement("compare-player");
      const note = h("div");
      const missing = (why) => fill(note, this._missing(why));
      fill(this.result, player, note);
      const fails = () => missing("This browser cannot play it.");
      if (original.why) missing(original.why);
      await player.open({ dub: reachable(job.result.url, job.links.self), original: original.url ?? null, facts: job.result, onOriginalFails: fails });
    } catch (error) {
      if (!signal.aborted) fill(this.result, problemPanel(error instanceof Problem || error.message ? error : new Error("The video cannot be loaded."), () => this._compare(file)));
    }
  }

  _missing(why) {
    const chooser = h("input", { type: "file", accept: "video/*,.mkv,.mxf", "aria-label": "Choose the original", onchange: () => {
      rememberOriginal(this.id, chooser.files[0]);
      this._compare(chooser.files[0]);
    } });
    return h("div", { class: "missing" }, h("p", {}, h("strong", {}, "The original is not available here. "), why),
      h("label", { class: "button" }, "Choose the file to compare with", chooser));
  }

  _showSide() {
    const { job } = this;
    const { options } = job;
    const rows = (facts) => h("dl", { class: "facts" }, facts.filter(([, value]) => value != null && value !== "").flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
    const panel = (title, ...content) => h("section", { class: "panel" }, h("h2", {}, title), content);
    fill(this.side,
      panel("Job", rows([
        ["Id", h("code", {}, job.id)], ["Posted", when(job.created_at)], ["Took", job.finished_at && job.started_at && duration((new Date(job.finished_at) - new Date(job.started_at)) / 1000)],
        ["Attempts", job.attempts.length > 1 ? String(job.attempts.length) : ""], ["Retry of", job.retry_of && h("a", { href: `#/jobs/${job.retry_of}` }, job.retry_of.slice(-8))],
        ["Video", job.metadata.video ?? job.video_url], ["Voice", job.metadata.voice ?? job.audio_url], ["Weights", job.result?.weights],
      ].map(([name, value]) => [name, typeof value === "object" && !(value instanceof Node) ? null : value]))),
      job.preflight && panel("Found", factsOf(job.preflight), warningsOf(job.preflight)),
      panel("Settings", rows([
        ["Length", options.sync_mode.replace("_", " ")], ["Steps", String(options.num_inference_steps)], ["Guidance", String(options.guidance_scale)], ["Seed", String(options.seed)],
        ["Face", typeof options.face === "string" ? options.face : `at ${options.face.x}, ${options.face.y}`], ["Segments", options.segments.length ? String(options.segments.length) : ""],
        ["Result", `${options.output.container} · ${options.output.codec} · ${options.output.audio_codec}`],
      ])),
      Object.keys(job.timings).length > 0 && h("details", { class: "panel" }, h("summary", {}, "Time per stage"), rows(Object.entries(job.timings).map(([stage, seconds]) => [stageName(stage), `${seconds.toFixed(1)} s`]))));
  }
}

class ProgressPanel {
  constructor() {
    this.stage = h("strong");
    this.numbers = h("span", { class: "numbers" });
    this.bar = h("progress", { max: 1, "aria-label": "Progress" });
    this.eta = h("span", { class: "remark" });
    this.element = h("section", { class: "panel progress", hidden: true, "aria-label": "Progress" },
      h("div", { class: "progress-line" }, this.stage, this.numbers), this.bar, this.eta);
  }

  show(job) {
    this.element.hidden = isOver(job);
    const { progress } = job;
    if (job.status === "queued") {
      setText(this.stage, "Waiting for a worker");
      setText(this.numbers, job.queue_position ? `${job.queue_position === 1 ? "Next" : `${job.queue_position} starts from now`}` : "");
      this.bar.removeAttribute("value");
    } else {
      setText(this.stage, progress ? stageName(progress.stage) : "Starting");
      setText(this.numbers, progress ? [progress.frames_total > 0 && `${progress.frames_done} of ${progress.frames_total} frames`, percent(progress.fraction)].filter(Boolean).join(" · ") : "");
      if (progress) this.bar.value = progress.fraction;
      else this.bar.removeAttribute("value");
    }
    setText(this.eta, job.eta_s == null ? "No estimate yet" : `About ${duration(job.eta_s)} left`);
    this.eta.title = job.eta_basis ?? "";
  }
}
