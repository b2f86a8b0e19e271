/**
 * What all pages do alike: read, show that they read, say what went wrong, try again when that may help.
 */
import { button, fill, h } from "./dom.js";
import { ask, Away, pause, Refused } from "./http.js";

const PATIENCE_SECONDS = 5;

/** A fault in words, with the number under which the server's log tells more. @param {unknown} fault */
export function explain(fault) {
  if (fault instanceof Away) return "The server does not answer.";
  if (!(fault instanceof Refused)) return "This page has a fault.";
  if (fault.status === 429)
    return `Too many requests; more are taken in ${fault.retryAfter ?? PATIENCE_SECONDS} s.`;
  const where = fault.requestId && fault.status >= 500 ? ` (request ${fault.requestId})` : "";
  return `${fault.message}${where}.`;
}

/**
 * Read until it works, as long as it may: `place` tells meanwhile. True once it did; a fault that stays is left
 * with a button.
 * @param {HTMLElement} place @param {() => Promise<unknown>} read @param {AbortSignal} signal
 * @returns {Promise<boolean>}
 */
export async function load(place, read, signal) {
  fill(place, h("p", { class: "quiet", role: "status" }, "Reading …"));
  for (;;) {
    try {
      await read();
      fill(place);
      return true;
    } catch (fault) {
      if (signal.aborted) return false;
      const passing = fault instanceof Error && "passing" in fault && fault.passing;
      if (!passing) {
        const again = button("Try again", () => load(place, read, signal));
        fill(place, h("p", { class: "fault", role: "alert" }, explain(fault)), again);
        return false;
      }
      fill(place, h("p", { class: "fault", role: "alert" }, explain(fault), " Trying again …"));
      const seconds = (fault instanceof Refused && fault.retryAfter) || PATIENCE_SECONDS;
      await pause(seconds * 1000, signal);
      if (signal.aborted) return false;
    }
  }
}

/**
 * Do something that was asked for, and say in `place` if it failed; whether it worked.
 * @param {HTMLElement} place
 * @param {() => Promise<unknown>} act
 */
export async function attempt(place, act) {
  try {
    await act();
    fill(place);
    return true;
  } catch (fault) {
    fill(place, h("p", { class: "fault", role: "alert" }, explain(fault)));
    return false;
  }
}

/**
 * Again and again while the tab can be seen; a failure is left for the next time.
 * @param {number} ms
 * @param {() => Promise<unknown>} act
 * @param {AbortSignal} signal
 */
export async function every(ms, act, signal) {
  for (;;) {
    await pause(ms, signal);
    if (signal.aborted) return;
    if (!document.hidden) await act().catch(() => {});
  }
}

const PAGE = 25;
const PAGE_MAX = 100;

/** A list of the server's, the newest first, as far as it was asked for. @template {{ id: string }} T */
export class List {
  /** @type {T[]} */
  items = [];
  /** @type {string | null} */
  cursor = null;

  /**
   * @param {string} path
   * @param {Record<string, string | boolean | null>} query
   * @param {AbortSignal} signal
   */
  constructor(path, query, signal) {
    this.path = path;
    this.query = query;
    this.signal = signal;
  }

  /** Read again what is there, and what has come before it. */
  async refresh() {
    const limit = Math.min(PAGE_MAX, Math.max(PAGE, this.items.length));
    const found = await this.#read({ limit });
    const fresh = new Set(found.items.map((item) => item.id));
    const rest =
      found.nextCursor === null ? [] : this.items.slice(limit).filter((item) => !fresh.has(item.id));
    this.items = [...found.items, ...rest];
    if (rest.length === 0) this.cursor = found.nextCursor;
  }

  /** Read on. */
  async extend() {
    const found = await this.#read({ limit: PAGE, cursor: this.cursor });
    this.items = [...this.items, ...found.items];
    this.cursor = found.nextCursor;
  }

  /**
   * @param {Record<string, string | number | null>} which
   * @returns {Promise<{ items: T[], nextCursor: string | null }>}
   */
  #read(which) {
    return ask("GET", this.path, { query: { ...this.query, ...which }, signal: this.signal });
  }
}
