// <check-panel>: what the service finds in the files before anything is rendered, and the choice of a face.

import { ask, post, reachable } from "./api.js";
import { fill, h } from "./dom.js";
import { follow } from "./events.js";
import { loadingPanel, problemPanel } from "./problem.js";
import { duration } from "./words.js";

class CheckPanel extends HTMLElement {
  connectedCallback() {
    this.face = "auto";
    this._showNothing();
  }

  disconnectedCallback() {
    this.stop();
  }

  /** Look at these inputs. A look that is under way is given up. */
  async check(videoUrl, audioUrl) {
    this.stop();
    if (!videoUrl) return this._showNothing();
    this.hasFailed = false;
    this._going = new AbortController();
    const { signal } = this._going;
    fill(this, h("h2", {}, "Check"), loadingPanel("Looking at the files…"));
    try {
      const wanted = { video_url: videoUrl, ...(audioUrl && { audio_url: audioUrl }), options: { priority: "high" }, metadata: { name: "Check" } };
      this._jobId = (await post("preflight", wanted, signal)).id;
      await follow(this._jobId, (event) => {
        if (event.status === "queued") fill(this, h("h2", {}, "Check"), loadingPanel("Waiting for a worker. You need not wait: the dub can be started now."));
        else if (event.status === "running") fill(this, h("h2", {}, "Check"), loadingPanel("Looking for shots and faces…"));
      }, signal);
      if (signal.aborted) return;
      const job = await ask(`jobs/${this._jobId}`, { signal });
      if (job.error) throw job.error;
      this._jobId = null;
      this._showFound(job);
    } catch (error) {
      this.hasFailed = true;
      if (!signal.aborted) fill(this, h("h2", {}, "Check"), problemPanel(error, () => this.check(videoUrl, audioUrl)));
    }
  }

  stop() {
    this._going?.abort();
    if (this._jobId) ask(`jobs/${this._jobId}/cancel`, { method: "POST" }).catch(() => {});
    this._jobId = null;
    this.face = "auto";
  }

  _showNothing() {
    fill(this, h("h2", {}, "Check"), h("p", { class: "remark" }, "Once both files are there, you see here whose lips can be dubbed, and what may go wrong."));
  }

  _showFound(job) {
    const found = job.preflight;
    fill(this, h("h2", {}, "Check"), this._faces(job), warningsOf(found), factsOf(found));
  }

  _faces(job) {
    const { faces, faces_total: total } = job.preflight;
    if (faces.length === 0) return null;
    const choose = (id) => { this.face = id; };
    const card = (id, picture, title, remark) => h("label", { class: "face" },
      h("input", { type: "radio", name: "face", value: id, checked: id === "auto", onchange: () => choose(id) }),
      picture, h("span", { class: "face-text" }, h("strong", {}, title), h("span", { class: "remark" }, remark)));
    const cards = faces.map((face) => card(face.id,
      face.thumbnail_url ? h("img", { src: reachable(face.thumbnail_url, job.links.self), alt: "", width: 72, height: 72 }) : h("span", { class: "no-picture" }),
      `Shot ${face.shot + 1}, face ${face.id.split("f")[1] * 1 + 1}`,
      `${face.frames} frames · ${Math.round(face.width)} × ${Math.round(face.height)} px`));
    return h("fieldset", { class: "faces" }, h("legend", {}, "Whose lips move"),
      card("auto", h("span", { class: "no-picture", "aria-hidden": "true" }, "Auto"), "Automatic", "The largest face of each shot"), cards,
      total > faces.length && h("p", { class: "remark" }, `The ${faces.length} largest of ${total} faces.`));
  }
}

/** The facts of the clip, in one line each. */
export function factsOf(found) {
  const { video, voice } = found;
  const facts = [
    ["Video", `${video.width} × ${video.height} · ${Number(video.fps.toFixed(3))} fps · ${duration(video.duration_s)} · ${video.frames} frames · ${video.codec}`],
    ["Voice", voice && `${duration(voice.duration_s)} · ${voice.sample_rate_hz / 1000} kHz · peak ${voice.peak_dbfs.toFixed(1)} dBFS`],
    ["Shots", `${found.shots_total}, with a face in ${found.frames_with_face} frames`],
    ["To render", `${found.frames_to_render} frames${found.expected_time ? `, about ${duration(found.expected_time.seconds)}` : ""}`],
  ];
  return h("dl", { class: "facts" }, facts.filter(([, value]) => value).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

/** What may go wrong. */
export function warningsOf(found) {
  if (found.warnings.length === 0) return h("p", { class: "fine" }, "Nothing to warn of.");
  return h("ul", { class: "warnings", "aria-label": "Warnings" }, found.warnings.map((warning) => h("li", {}, h("span", {}, warning.message), h("code", {}, warning.code))));
}

customElements.define("check-panel", CheckPanel);
