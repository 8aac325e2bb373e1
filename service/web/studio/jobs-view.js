// The list of jobs: newest first, kept up to date, filtered by state at the service and searched by name here.

import { ask } from "./api.js";
import { field, fill, h, setText } from "./dom.js";
import { loadingPanel, problemPanel } from "./problem.js";
import { STATUSES, duration, isOver, percent, stageName, titleOf, when } from "./words.js";

const REFRESH_MS = 4000;

export function jobsView(main, query) {
  const list = new JobList(query);
  fill(main, list.element);
  list.load();
  const timer = setInterval(() => document.visibilityState === "visible" && list.refresh(), REFRESH_MS);
  return { title: "Jobs", refresh: () => list.load(), close: () => { clearInterval(timer); list.ends.abort(); } };
}

class JobList {
  constructor(query) {
    this.ends = new AbortController();
    this.jobs = [];
    this.rows = new Map();
    const option = (value, label) => h("option", { value, selected: value === (query.get("status") ?? "") }, label);
    this.status = h("select", { onchange: () => this._choose() }, option("", "All states"), Object.entries(STATUSES).map(([value, label]) => option(value, label)));
    this.search = h("input", { type: "search", placeholder: "Name, file or id", value: query.get("q") ?? "", oninput: () => this._searched() });
    this.checks = h("input", { type: "checkbox", onchange: () => this._show() });
    this.body = h("tbody");
    this.table = h("table", { class: "jobs", hidden: true },
      h("thead", {}, h("tr", {}, ["Job", "State", "Result", "Posted"].map((each) => h("th", { scope: "col" }, each)))), this.body);
    this.state = h("div", {}, loadingPanel("Loading jobs…"));
    this.more = h("button", { type: "button", hidden: true, onclick: () => this._loadMore() }, "Older jobs");
    this.element = h("div", { class: "list" },
      h("div", { class: "page-head" }, h("h1", { tabindex: -1 }, "Jobs"),
        h("div", { class: "filters", role: "search" }, field("State", this.status), field("Search", this.search),
          h("label", { class: "check" }, this.checks, "Show checks"))),
      this.table, this.state, this.more);
  }

  _path(cursor) {
    const query = new URLSearchParams({ limit: 50, ...(this.status.value && { status: this.status.value }), ...(cursor && { cursor }) });
    return `jobs?${query}`;
  }

  async load() {
    await this._try(async () => {
      const page = await ask(this._path(), { signal: this.ends.signal });
      Object.assign(this, { jobs: page.jobs, cursor: page.next_cursor, isLoaded: true });
    });
  }

  /** The newest page again; what lies behind it stays as it was. */
  async refresh() {
    if (!this.isLoaded) return this.load();
    await this._try(async () => {
      const page = await ask(this._path(), { signal: this.ends.signal });
      const oldest = page.jobs.at(-1)?.id;
      const behind = page.next_cursor ? this.jobs.filter((job) => job.id < oldest) : [];
      if (behind.length === 0) this.cursor = page.next_cursor;
      this.jobs = [...page.jobs, ...behind];
    });
  }

  async _loadMore() {
    await this._try(async () => {
      const page = await ask(this._path(this.cursor), { signal: this.ends.signal });
      this.jobs = [...this.jobs, ...page.jobs];
      this.cursor = page.next_cursor;
    });
  }

  async _try(deed) {
    try {
      await deed();
      this._show();
    } catch (error) {
      if (this.ends.signal.aborted) return;
      if (!this.isLoaded) fill(this.state, problemPanel(error, () => this.load()));
    }
  }

  _choose() {
    this._keepAddress();
    this.isLoaded = false;
    this.jobs = [];
    fill(this.state, loadingPanel("Loading jobs…"));
    this._show();
    this.load();
  }

  _searched() {
    this._keepAddress();
    this._show();
  }

  _keepAddress() {
    const query = new URLSearchParams({ ...(this.status.value && { status: this.status.value }), ...(this.search.value && { q: this.search.value }) });
    history.replaceState(null, "", `#/jobs${query.size ? `?${query}` : ""}`);
  }

  _show() {
    const wanted = this.search.value.trim().toLowerCase();
    const seen = this.jobs.filter((job) => (this.checks.checked || !job.options.preflight_only) && (!wanted || textOf(job).includes(wanted)));
    const ids = seen.map((job) => job.id).join();
    if (ids !== this._shownIds) {
      this._shownIds = ids;
      fill(this.body, seen.map((job) => this._row(job).element));
    }
    for (const job of seen) this._row(job).update(job);
    this.table.hidden = seen.length === 0;
    this.more.hidden = !this.cursor;
    setText(this.more, wanted ? "Search older jobs as well" : "Older jobs");
    if (this.isLoaded) fill(this.state, seen.length === 0 && this._nothing(wanted));
  }

  _row(job) {
    if (!this.rows.has(job.id)) this.rows.set(job.id, new JobRow(job));
    return this.rows.get(job.id);
  }

  _nothing(wanted) {
    if (wanted || this.status.value) return h("div", { class: "empty" }, h("h2", {}, "No job fits"), h("p", {}, this.cursor ? "None of those loaded so far." : "Change the state or the search."));
    return h("div", { class: "empty" }, h("h2", {}, "No jobs yet"), h("p", {}, "What you dub is listed here."), h("a", { class: "button primary", href: "#/" }, "New dub"));
  }
}

class JobRow {
  constructor(job) {
    this.state = h("span", { class: "pill" });
    this.remark = h("span", { class: "remark" });
    this.bar = h("progress", { max: 1, hidden: true, "aria-label": "Progress" });
    this.result = h("td", { class: "numbers" });
    this.element = h("tr", {}, h("td", { class: "job-name" }, h("a", { href: `#/jobs/${job.id}` }, titleOf(job)), job.options.preflight_only && h("span", { class: "remark" }, "Check"), h("code", { class: "remark" }, job.id.slice(-8))),
      h("td", {}, this.state, this.bar, this.remark), this.result, h("td", { class: "numbers" }, when(job.created_at)));
  }

  update(job) {
    this.state.dataset.status = job.status;
    setText(this.state, STATUSES[job.status]);
    this.bar.hidden = job.status !== "running" || !job.progress;
    if (job.progress) this.bar.value = job.progress.fraction;
    setText(this.remark, job.error ? job.error.message : job.progress && !isOver(job) ? `${percent(job.progress.fraction)} · ${stageName(job.progress.stage)}` : "");
    setText(this.result, job.result ? `${duration(job.result.duration_s)} · ${job.result.width} × ${job.result.height}` : "");
  }
}

const textOf = (job) => [titleOf(job), job.id, job.video_url, job.audio_url ?? "", ...Object.values(job.metadata).filter((each) => typeof each === "string")].join(" ").toLowerCase();
