/** Asking the server. The cookie is the browser's to send; scripts never see it. */

/** The server said no. `retryAfter` is in seconds; null: it did not say. */
export class Refused extends Error {
  /** @param {number} status @param {any} problem @param {number | null} retryAfter */
  constructor(status, problem, retryAfter) {
    const faults = (problem?.errors ?? []).map((/** @type {any} */ fault) =>
      `${fault.field} ${fault.message}`.trim(),
    );
    super([problem?.detail ?? problem?.title ?? `The server answered ${status}`, ...faults].join(": "));
    this.status = status;
    this.requestId = problem?.requestId ?? null;
    this.retryAfter = retryAfter;
  }

  /** Whether the same may work later. */
  get passing() {
    return this.status === 429 || this.status === 503;
  }
}

/** The server did not answer. */
export class Away extends Error {
  constructor() {
    super("The server does not answer");
  }

  get passing() {
    return true;
  }
}

/** @type {{ signedOut: () => void, weather: (state: "ok" | "away") => void }} */
let listener = { signedOut: () => {}, weather: () => {} };

/**
 * Who is told that the session is over, and whether the server can be reached.
 * @param {typeof listener} told
 */
export function listen(told) {
  listener = told;
}

/** Tell whether the server can be reached. @param {"ok" | "away"} state */
export const tell = (state) => listener.weather(state);

/** Find out whether there still is a session; whoever listens is told if not. */
export async function probe() {
  if ((await ask("GET", "/console/session").catch(() => undefined)) === null) listener.signedOut();
}

/**
 * The JSON of an answer; null if there is none.
 * @param {string} method @param {string} path
 * @param {{ query?: Record<string, string | number | boolean | null | undefined>, body?: unknown,
 *   signal?: AbortSignal }} [more]
 * @throws {Refused | Away}
 */
export async function ask(method, path, { query = {}, body, signal } = {}) {
  const given = Object.entries(query).filter(
    ([, value]) => value !== null && value !== undefined && value !== "",
  );
  const search = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  /** @type {RequestInit} */
  const request = { method, signal, credentials: "same-origin", cache: "no-store" };
  if (body !== undefined) {
    request.headers = { "Content-Type": "application/json" };
    request.body = JSON.stringify(body);
  }
  const answer = await fetch(search ? `${path}?${search}` : path, request).catch((fault) => {
    if (signal?.aborted) throw fault;
    tell("away");
    throw new Away();
  });
  tell("ok");
  const text = await answer.text().catch(() => "");
  if (answer.ok) return text ? JSON.parse(text) : null;
  if (answer.status === 401) listener.signedOut();
  throw new Refused(answer.status, parsed(text), Number(answer.headers.get("Retry-After")) || null);
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/**
 * Milliseconds, or less if the signal comes first.
 * @param {number} ms
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
export function pause(ms, signal) {
  return new Promise((done) => {
    const over = new AbortController();
    const end = () => {
      clearTimeout(timer);
      over.abort();
      done();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end, { signal: over.signal });
  });
}
