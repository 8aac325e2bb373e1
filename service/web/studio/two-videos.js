// Two videos that show the same frame: one leads and is heard or not, the other keeps to it.
//
// Frames are counted from 0. A place is the middle of a frame's time, so that rounding never shows its neighbour.

const CLOSE_FRAMES = 0.4;
const FAR_SECONDS = 0.25;
const STEEPEST = 0.5; // nobody hears it
const PER_SECOND = 8;

export class TwoVideos extends EventTarget {
  /** `follower` may be null. Dispatches `frame`, `state`. */
  constructor(lead, follower, fps, frames) {
    super();
    Object.assign(this, { lead, follower, fps, frames });
    this.frame = 0;
    this.range = { first: 0, last: frames - 1 };
    this.loops = false;
    this.rate = 1;
    this.isPlaying = false;
    this.heard = lead;
    this._target = null;
    this._shown = new Map();
    this._ends = new AbortController();
    for (const video of this._all) this._watch(video);
    this.hear(lead);
  }

  close() {
    this.isPlaying = false;
    this._ends.abort();
    for (const video of this._all) video.pause();
  }

  get _all() {
    return [this.lead, this.follower].filter(Boolean);
  }

  /** The frame that each video really shows, as far as the browser tells. */
  get shownFrames() {
    return this._all.map((video) => this._shown.get(video)?.frame ?? this._frameAt(video.currentTime));
  }

  /** Whether both stand still on the same frame. */
  get isSettled() {
    return !this.isPlaying && this._target === null;
  }

  hear(video) {
    this.heard = video;
    for (const each of this._all) each.muted = each !== video;
  }

  setRate(rate) {
    this.rate = rate;
    for (const video of this._all) video.playbackRate = rate;
  }

  async play() {
    if (this.frame >= this.range.last) await this.seek(this.range.first);
    else await this.seek(this.frame);
    this.isPlaying = true;
    this._tell("state");
    await this._start();
  }

  async pause() {
    this.isPlaying = false;
    for (const video of this._all) video.pause();
    this._tell("state");
    await this.seek(this._shown.get(this.lead)?.frame ?? this._frameAt(this.lead.currentTime));
  }

  toggle() {
    return this.isPlaying ? this.pause() : this.play();
  }

  async step(count) {
    if (this.isPlaying) await this.pause();
    await this.seek(this.frame + count);
  }

  /** Show this frame in both. While one is looked for, only the last of several wishes counts. */
  async seek(frame) {
    const wanted = Math.min(Math.max(Math.round(frame), 0), this.frames - 1);
    const isUnderWay = this._target !== null;
    this._target = wanted;
    this._setFrame(wanted);
    if (!isUnderWay) this._seeking = this._seekAll();
    return this._seeking;
  }

  async _seekAll() {
    let reached = null;
    while (reached !== this._target) {
      reached = this._target;
      await Promise.all(this._all.map((video) => seekTo(video, this._timeIn(video, reached))));
    }
    this._target = null;
    for (const video of this._all) this._shown.set(video, { frame: this._frameAt(video.currentTime), at: 0 });
    this._tell("frame");
  }

  async _start() {
    for (const video of this._all) video.playbackRate = this.rate;
    await Promise.all(this._all.map((video) => video.play().catch(() => this._halt())));
  }

  _halt() {
    this.isPlaying = false;
    this._tell("state");
  }

  _watch(video) {
    const { signal } = this._ends;
    if (video.requestVideoFrameCallback) {
      const shown = (now, { mediaTime }) => {
        if (signal.aborted) return;
        this._note(video, mediaTime, now);
        video.requestVideoFrameCallback(shown);
      };
      video.requestVideoFrameCallback(shown);
    } else {
      const look = (now) => {
        if (signal.aborted) return;
        if (!video.paused) this._note(video, video.currentTime, now);
        requestAnimationFrame(look);
      };
      requestAnimationFrame(look);
    }
    // When one has to wait for data, so does the other.
    video.addEventListener("waiting", () => { if (this.isPlaying) this._others(video, (other) => other.pause()); }, { signal });
    video.addEventListener("canplay", () => { if (this.isPlaying && this._target === null) this._start(); }, { signal });
    this.lead === video && video.addEventListener("ended", () => this._atEnd(), { signal });
  }

  _others(video, deed) {
    for (const other of this._all) if (other !== video) deed(other);
  }

  _note(video, mediaTime, now) {
    if (this._target !== null) return;
    const frame = Math.min(Math.round(mediaTime * this.fps), this.frames - 1);
    this._shown.set(video, { frame, time: mediaTime, at: now });
    if (!this.isPlaying) return;
    if (video === this.lead) {
      this._setFrame(frame);
      if (frame >= this.range.last && (this.loops || this.range.last < this.frames - 1)) this._atEnd();
    }
    this._keepTogether();
  }

  /** Slow down or speed up whoever is not heard; jump when they are far apart. */
  _keepTogether() {
    const lead = this._shown.get(this.lead);
    const follower = this.follower && this._shown.get(this.follower);
    if (!lead?.at || !follower?.at || this.follower.ended) return;
    const now = Math.max(lead.at, follower.at);
    const at = (seen) => seen.time + ((now - seen.at) / 1000) * this.rate;
    const ahead = at(follower) - at(lead);
    const silent = this.heard === this.lead ? this.follower : this.lead;
    const sign = silent === this.follower ? -1 : 1;
    if (Math.abs(ahead) > FAR_SECONDS) {
      this.follower.currentTime = this.lead.currentTime;
      this._shown.delete(this.follower);
    } else {
      const steep = Math.max(-STEEPEST, Math.min(STEEPEST, ahead * PER_SECOND));
      const rate = Math.abs(ahead) * this.fps < CLOSE_FRAMES ? this.rate : this.rate * (1 + sign * steep);
      if (Math.abs(silent.playbackRate - rate) > 0.005) silent.playbackRate = rate;
    }
  }

  async _atEnd() {
    if (!this.isPlaying || this._target !== null) return;
    if (!this.loops) return this.pause();
    for (const video of this._all) video.pause();
    await this.seek(this.range.first);
    if (this.isPlaying) await this._start();
  }

  _setFrame(frame) {
    this.frame = frame;
    this._tell("frame");
  }

  _frameAt(seconds) {
    return Math.min(Math.floor(seconds * this.fps), this.frames - 1);
  }

  _timeIn(video, frame) {
    const time = (frame + 0.5) / this.fps;
    return Number.isFinite(video.duration) ? Math.min(time, Math.max(0, video.duration - 0.5 / this.fps)) : time;
  }

  _tell(type) {
    this.dispatchEvent(new Event(type));
  }
}

/** Seek one video; resolves when the frame is there. */
function seekTo(video, time) {
  if (Math.abs(video.currentTime - time) < 1e-4 && !video.seeking) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(late);
      video.removeEventListener("seeked", done);
      resolve();
    };
    const late = setTimeout(done, 5000); // a file with a hole must not hold everything up
    video.addEventListener("seeked", done);
    video.currentTime = time;
  });
}
