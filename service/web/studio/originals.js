// The original of a job, to compare with: the file that was chosen on this page, or else what the API gives back.

import { Problem, ask, reachable } from "./api.js";

const chosen = new Map();

/** Remember the file that a job was made from, as long as this page is open. */
export const rememberOriginal = (jobId, file) => file && chosen.set(jobId, file);

export const fileOf = (jobId) => chosen.get(jobId) ?? null;

/** A web address is loaded only from where the page may load anything: here, and the bucket that results lie in. */
function atAddress(job) {
  const { origin, host } = new URL(job.video_url);
  const isOurs = [location.origin, new URL(job.result.url).origin].includes(origin);
  return isOurs ? { url: job.video_url } : { why: `It is at ${host}, which this page does not load from.` };
}

/** Where the original can be played from: `{url}`, or `{why}` it cannot. Throws ConnectionLost and Problems of other kinds. */
export async function originalOf(job, signal) {
  const file = fileOf(job.id);
  if (file) return { url: URL.createObjectURL(file) };
  if (!job.video_url.startsWith("upload://")) return atAddress(job);
  try {
    const upload = await ask(`uploads/${job.video_url.slice("upload://".length)}`, { signal });
    return upload.file_url ? { url: reachable(upload.file_url, upload.links.self) } : { why: "Its file is not there any more." };
  } catch (error) {
    if (error instanceof Problem && error.status === 404) return { why: "Its upload has been removed." };
    throw error;
  }
}
