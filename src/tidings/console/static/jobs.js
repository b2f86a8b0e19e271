/** Jobs as a table that moves while they run, and those that failed for good, to be handed in again. */
import { button, counted, fill, h, keyed, percent, row, table, time, write } from "./dom.js";
import { ask, pause, Refused } from "./http.js";
import { follow } from "./live.js";
import { attempt, every, explain, List, load } from "./view.js";

/** @typedef {{ name: string, mediaType: string, bytes: number }} Artifact */
/**
 * @typedef {{ id: string, kind: string, status: string, stage: string | null, progress: number, attempt: number,
 *   maxAttempts: number, priority: string, payload: unknown, result: unknown,
 *   error: { code: string, message: string } | null, parentId: string | null, artifacts: Artifact[],
 *   createdAt: string, startedAt: string | null, finishedAt: string | null }} Job
 */
/**
 * @typedef {{ jobId: string, type: string, status: string, stage: string | null, progress: number, attempt: number,
 *   message: string | null, timestamp: string }} JobEvent
 */

export const POLL_MS = 2000;
const STREAMS = 3;
const STATUSES = ["queued", "running", "succeeded", "failed", "cancelled"];
const COLUMNS = ["Kind", "Status", "Stage", "Progress", "Attempt", "Created"];
const DEAD_COLUMNS = ["Kind", "Error", "Attempts", "Failed", "Retry"];

/** @param {string} status */
export const over = (status) => status === "succeeded" || status === "failed" || status === "cancelled";

/** The job as an event tells of it. @param {Job} job @param {JobEvent} event @returns {Job} */
export const moved = (job, { status, stage, progress, attempt: number }) => ({
  ...job,
  status,
  stage,
  progress,
  attempt: number,
});

/** A mark for a status, which says it in words too. */
export function statusMark() {
  const element = h("span");
  return {
    element,
    show: (/** @type {string} */ status) => {
      element.className = `mark ${status}`;
      write(element, status);
    },
  };
}

/** A bar and its number. @param {string} label */
export function progressBar(label) {
  const bar = h("progress", { max: 1, value: 0, "aria-label": label });
  const text = h("span", { class: "number" });
  return {
    element: h("span", { class: "progress" }, bar, text),
    show: (/** @type {number} */ share) => {
      bar.value = share;
      write(text, percent(share));
    },
  };
}

/** @param {HTMLElement} main @param {import("./main.js").Visit} visit */
export function jobs(main, { signal }) {
  const select = h(
    "select",
    { id: "status", onchange: () => choose() },
    h("option", { value: "" }, "all"),
    STATUSES.map((status) => h("option", { value: status }, status)),
  );
  const place = h("div");
  const grid = table("Jobs", COLUMNS);
  const empty = h("p", { class: "empty", hidden: true });
  const draw = keyed(grid.body, (/** @type {Job} */ job) => job.id, jobRow);
  const more = button("Show more", () => attempt(place, () => list.extend()).then(show), { hidden: true });
  /** @type {Map<string, AbortController>} */
  const streams = new Map();
  /** @type {List<Job>} */
  let list;

  function show() {
    draw(list.items);
    grid.element.hidden = list.items.length === 0;
    empty.hidden = list.items.length > 0;
    write(
      empty,
      select.value
        ? `No job is ${select.value}.`
        : "There are no jobs. POST /jobs hands one in, and so does `tidings jobs run`.",
    );
    more.hidden = list.cursor === null;
    attend();
  }

  async function refresh() {
    const mine = list;
    await mine.refresh();
    if (mine === list) show();
  }

  async function choose() {
    list = new List("/jobs", { status: select.value }, signal);
    grid.element.hidden = empty.hidden = more.hidden = true;
    await load(place, refresh, signal);
  }

  /** A stream for each of the first that are under way; the others move with the next poll. */
  function attend() {
    const under = list.items.filter((job) => !over(job.status));
    const chosen = new Set(
      [...under]
        .sort((a, b) => Number(b.status === "running") - Number(a.status === "running"))
        .slice(0, STREAMS)
        .map((job) => job.id),
    );
    for (const [id, stream] of streams)
      if (!chosen.has(id)) {
        stream.abort();
        streams.delete(id);
      }
    for (const id of chosen) if (!streams.has(id)) attendTo(id);
  }

  /** @param {string} id */
  function attendTo(id) {
    const stream = new AbortController();
    streams.set(id, stream);
    const heard = (/** @type {JobEvent} */ event) => {
      list.items = list.items.map((job) => (job.id === id ? moved(job, event) : job));
      if (over(event.status)) streams.delete(id);
      show();
      return over(event.status);
    };
    follow({ path: `/jobs/${id}/events`, heard, signal: AbortSignal.any([stream.signal, signal]) });
  }

  fill(
    main,
    h("div", { class: "head" }, h("h1", {}, "Jobs"), h("label", { for: "status" }, "Status ", select)),
    place,
    grid.element,
    empty,
    more,
  );
  choose();
  every(POLL_MS, refresh, signal);
}

/** @param {Job} job */
function jobRow(job) {
  const status = statusMark();
  const stage = h("span");
  const progress = progressBar(`Progress of ${job.kind}`);
  const tries = h("span", { class: "number" });
  const element = row(COLUMNS, [
    link(job),
    status.element,
    stage,
    progress.element,
    tries,
    time(job.createdAt),
  ]);
  return {
    element,
    show: (/** @type {Job} */ now) => {
      status.show(now.status);
      write(stage, now.stage ?? "–");
      progress.show(now.progress);
      write(tries, `${now.attempt} of ${now.maxAttempts}`);
    },
  };
}

/** @param {Job} job */
const link = (job) => h("a", { href: `#/jobs/${job.id}`, class: "kind" }, job.kind);

/** @param {HTMLElement} main @param {import("./main.js").Visit} visit */
export function deadLetters(main, { signal }) {
  const place = h("div");
  const said = h("p", { class: "quiet", role: "status" });
  const grid = table("Dead letters", DEAD_COLUMNS);
  const empty = h("p", { class: "empty", hidden: true }, "No job has failed.");
  const draw = keyed(grid.body, (/** @type {Job} */ job) => job.id, deadRow);
  const more = button("Show more", () => attempt(place, () => list.extend()).then(show), { hidden: true });
  const all = button("Retry all", () => retryAll(), { hidden: true });
  /** @type {List<Job>} */
  const list = new List("/jobs", { status: "failed" }, signal);
  let busy = false;

  function show() {
    draw(list.items);
    grid.element.hidden = all.hidden = list.items.length === 0;
    empty.hidden = list.items.length > 0;
    more.hidden = list.cursor === null;
    if (!busy)
      write(
        all,
        list.cursor === null ? `Retry all ${list.items.length}` : `Retry these ${list.items.length}`,
      );
  }

  const refresh = () => list.refresh().then(show);

  /** @param {Job} job */
  function deadRow(job) {
    const again = button(
      "Retry",
      async () => {
        if (await attempt(place, () => ask("POST", `/jobs/${job.id}/retry`)))
          write(said, `${job.kind} is queued again.`);
        await refresh().catch(() => {});
      },
      { "aria-label": `Retry ${job.kind} of ${job.createdAt}` },
    );
    const error = h("span", { class: "error" });
    const tries = h("span", { class: "number" });
    const element = row(DEAD_COLUMNS, [link(job), error, tries, time(job.finishedAt), again]);
    return {
      element,
      show: (/** @type {Job} */ now) => {
        write(error, now.error ? `${now.error.code}: ${now.error.message}` : "–");
        write(tries, String(now.attempt));
      },
    };
  }

  async function retryAll() {
    busy = true;
    const waiting = list.items.map((job) => job.id);
    let done = 0;
    for (const id of waiting) {
      write(said, `Retrying ${done + 1} of ${waiting.length} …`);
      if (!(await retried(id))) break;
      done += 1;
    }
    busy = false;
    write(said, `${counted(done, "job is", "jobs are")} queued again.`);
    await refresh().catch(() => {});
  }

  /** Whether to go on; one that is no dead letter any more is passed over. @param {string} id */
  async function retried(id) {
    while (!signal.aborted) {
      try {
        await ask("POST", `/jobs/${id}/retry`);
        return true;
      } catch (fault) {
        const known = fault instanceof Refused;
        if (known && (fault.status === 404 || fault.status === 409)) return true;
        if (!known || fault.status !== 429) {
          fill(place, h("p", { class: "fault", role: "alert" }, explain(fault)));
          return false;
        }
        write(said, explain(fault));
        await pause((fault.retryAfter ?? 1) * 1000, signal);
      }
    }
    return false;
  }

  fill(
    main,
    h("div", { class: "head" }, h("h1", {}, "Dead letters"), all),
    h(
      "p",
      { class: "quiet" },
      "Jobs that have failed for good: their attempts are used up. A retry grants them again.",
    ),
    said,
    place,
    grid.element,
    empty,
    more,
  );
  load(place, refresh, signal);
  every(POLL_MS, refresh, signal);
}
