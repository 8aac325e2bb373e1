// How numbers, times and states are written.

const STAGES = {
  fetch: "Fetching the files",
  decode_media: "Reading the video",
  track_faces: "Finding faces",
  crop_faces: "Cutting out faces",
  encode_audio: "Listening to the voice",
  plan_windows: "Planning",
  denoise: "Rendering lips",
  composite: "Putting frames together",
  encode_media: "Encoding",
  publish: "Storing the result",
};

export const STATUSES = {
  queued: "Waiting",
  running: "Running",
  succeeded: "Done",
  failed: "Failed",
  canceled: "Canceled",
  expired: "Expired",
};

export const isOver = (job) => !["queued", "running"].includes(job.status);

export const stageName = (stage) => STAGES[stage] ?? stage.replaceAll("_", " ");

/** What an editor calls a job: its name in the metadata, else the name of its video. */
export function titleOf(job) {
  const { name } = job.metadata;
  if (typeof name === "string" && name.trim()) return name;
  return job.video_url.startsWith("upload:") ? `Job ${job.id.slice(-6)}` : fileName(job.video_url);
}

export function fileName(url) {
  try {
    return decodeURIComponent(new URL(url).pathname.split("/").pop()) || new URL(url).host;
  } catch {
    return url;
  }
}

export function bytes(count) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let power = 0;
  while (count >= 1000 && power < units.length - 1) { count /= 1000; power += 1; }
  return `${count.toFixed(power && count < 100 ? 1 : 0)} ${units[power]}`;
}

/** 42 → "42 s", 192 → "3 min 12 s", 7320 → "2 h 2 min". */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

export const when = (iso) => new Date(iso).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });

/** hh:mm:ss:ff, as an editor counts. */
export function timecode(frame, fps) {
  const rate = Math.max(1, Math.round(fps));
  const two = (number) => String(number).padStart(2, "0");
  const seconds = Math.floor(frame / rate);
  return [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60, frame % rate].map(two).join(":");
}

export const percent = (fraction) => `${Math.floor(fraction * 100)} %`;
