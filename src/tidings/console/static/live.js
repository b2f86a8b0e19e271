/**
 * Event streams, as few as can be: a browser opens six connections to a server over HTTP/1.1, all tabs together.
 * So the tabs share slots, a hidden tab has no stream at all, and who gets no slot polls.
 */
import { pause, probe, tell } from "./http.js";

const SLOTS = 4;
const FIRST_MS = 1000;
const LONGEST_MS = 30000;
const POLL_MS = 2000;

/**
 * @typedef {{ path: string, heard: (event: any) => boolean | void, poll?: () => Promise<unknown>,
 *   signal: AbortSignal }} Wish
 */

/**
 * Hear a stream until the signal comes, or `heard` returns true, which says that it is complete. While no slot is
 * free, `poll` is called now and then.
 * @param {Wish} wish
 */
export async function follow({ path, heard, poll, signal }) {
  let wait = FIRST_MS;
  while (!signal.aborted) {
    await shown(signal);
    const release = await slot(signal);
    if (!release) {
      if (!signal.aborted) await poll?.().catch(() => {});
      await pause(POLL_MS, signal);
      continue;
    }
    const ended = await listen(path, heard, signal).finally(release);
    if (ended === "complete") return;
    if (ended === "hidden") continue;
    if (ended === "opened") wait = FIRST_MS;
    await probe();
    await pause(wait, signal);
    wait = Math.min(wait * 2, LONGEST_MS);
  }
}

/**
 * One EventSource, which comes back by itself as long as the server takes it. How it ended: `refused` if it was
 * never open.
 * @param {string} path @param {(event: any) => boolean | void} heard @param {AbortSignal} signal
 * @returns {Promise<"complete" | "hidden" | "opened" | "refused">}
 */
function listen(path, heard, signal) {
  return new Promise((done) => {
    const source = new EventSource(path);
    const ended = new AbortController();
    let opened = false;
    const end = (/** @type {"complete" | "hidden" | "opened" | "refused"} */ how) => {
      source.close();
      ended.abort();
      done(how);
    };
    source.onopen = () => {
      opened = true;
      tell("ok");
    };
    source.onmessage = ({ data }) => {
      if (heard(JSON.parse(data))) end("complete");
    };
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) end(opened ? "opened" : "refused");
      else tell("away");
    };
    signal.addEventListener("abort", () => end("complete"), { signal: ended.signal });
    document.addEventListener(
      "visibilitychange",
      () => {
        if (document.hidden) end("hidden");
      },
      { signal: ended.signal },
    );
    if (signal.aborted) end("complete");
  });
}

/** Until the tab can be seen. @param {AbortSignal} signal @returns {Promise<void>} */
function shown(signal) {
  if (!document.hidden) return Promise.resolve();
  return new Promise((done) => {
    const met = new AbortController();
    const look = () => {
      if (!document.hidden || signal.aborted) {
        met.abort();
        done();
      }
    };
    document.addEventListener("visibilitychange", look, { signal: met.signal });
    signal.addEventListener("abort", look, { signal: met.signal });
  });
}

/**
 * A free slot's release; null if there is none.
 * @param {AbortSignal} signal
 * @returns {Promise<(() => void) | null>}
 */
async function slot(signal) {
  for (let number = 0; number < SLOTS && !signal.aborted; number += 1) {
    const release = await new Promise((taken) => {
      navigator.locks.request(`tidings-stream-${number}`, { ifAvailable: true }, (lock) => {
        if (!lock) return taken(null);
        return new Promise((free) => taken(() => free(undefined)));
      });
    });
    if (release) return release;
  }
  return null;
}
