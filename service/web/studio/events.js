// What happens to a job, as it happens. An EventSource would do, but that it cannot send a key.

import { ConnectionLost, Problem, connectionLost, pause, send, whenBack } from "./api.js";

const SILENCE_MS = 40_000; // the API says something every 15 s
const COME_AGAIN_MS = 2000;

/** Call `tell(event)` for everything that has happened and happens to a job, to its end. Throws Problem. */
export async function follow(jobId, tell, signal) {
  let last = null;
  while (!signal.aborted) {
    try {
      const headers = last ? { "Last-Event-ID": last } : {};
      for await (const event of listen(`jobs/${jobId}/events`, headers, signal)) {
        last = event.id ?? last;
        if (event.data) tell(event.data);
        if (event.isEnd) return;
      }
    } catch (error) {
      if (signal.aborted) return;
      const isPassing = error instanceof ConnectionLost || error.status === 429 || error.status >= 500;
      if (error instanceof Problem && !isPassing) throw error;
    }
    await pause(COME_AGAIN_MS);
    await whenBack();
  }
}

async function* listen(path, headers, signal) {
  const own = new AbortController();
  const abort = () => own.abort();
  signal.addEventListener("abort", abort);
  let watchdog = setTimeout(abort, SILENCE_MS);
  try {
    const answer = await send(path, { headers, signal: own.signal });
    if (answer.status === 204) {
      yield { isEnd: true };
      return;
    }
    let text = "";
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read().catch(() => { throw connectionLost(); });
      if (done) return;
      clearTimeout(watchdog);
      watchdog = setTimeout(abort, SILENCE_MS);
      const blocks = (text + value).split("\n\n");
      text = blocks.pop();
      for (const block of blocks) yield parse(block);
    }
  } finally {
    clearTimeout(watchdog);
    signal.removeEventListener("abort", abort);
    own.abort();
  }
}

function parse(block) {
  const event = {};
  for (const line of block.split("\n")) {
    const [, name, value] = /^(\w+): ?(.*)$/.exec(line) ?? [];
    if (name === "id") event.id = value;
    if (name === "data") event.data = JSON.parse(value);
  }
  event.isEnd = event.data ? !["queued", "running"].includes(event.data.status) : false;
  return event;
}
