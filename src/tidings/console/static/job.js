/** One job: where it stands, what it was given, what it made, and what it says while it runs. */
import { button, bytes, clock, fill, h, percent, time, write } from "./dom.js";
import { ask } from "./http.js";
import { moved, over, POLL_MS, progressBar, statusMark } from "./jobs.js";
import { follow } from "./live.js";
import { attempt, every, load } from "./view.js";

/** @typedef {import("./jobs.js").Job} Job */
/** @typedef {import("./jobs.js").JobEvent} JobEvent */

const LOG_LINES = 200;
const CHILD_PAGES = 3;

/** @param {HTMLElement} main @param {import("./main.js").Visit} visit */
export async function job(main, { id, signal }) {
  const path = `/jobs/${id}`;
  const place = h("div");
  const view = jobView(act);
  fill(main, h("p", {}, h("a", { href: "#/jobs" }, "Jobs")), place, view.element);
  view.element.hidden = true;
  /** @type {Job} */
  let now;

  async function read() {
    now = await ask("GET", path, { signal });
    view.show(now);
    view.element.hidden = false;
  }

  /** @param {"cancel" | "retry"} verb */
  async function act(verb) {
    if (!(await attempt(place, () => ask("POST", `${path}/${verb}`)))) return;
    await read();
    if (verb === "retry") attend();
  }

  function heard(/** @type {JobEvent} */ event) {
    now = moved(now, event);
    view.show(now);
    view.log(event);
    const ended = over(event.status);
    if (ended || event.type === "artifact") read().catch(() => {});
    if (ended) readChildren().catch(() => {});
    return ended;
  }

  const attend = () => follow({ path: `${path}/events`, heard, poll: read, signal });

  async function readChildren() {
    view.children(await childrenOf(now, signal));
  }

  if (!(await load(place, read, signal))) return;
  attend();
  readChildren().catch(() => {});
  every(
    POLL_MS,
    async () => {
      if (!over(now.status)) await readChildren();
    },
    signal,
  );
}

/**
 * The newest of them, the oldest of these first.
 * @param {Job} parent
 * @param {AbortSignal} signal
 */
async function childrenOf(parent, signal) {
  /** @type {Job[]} */
  const found = [];
  /** @type {string | null} */
  let cursor = null;
  for (let page = 0; page < CHILD_PAGES; page += 1) {
    const query = { parentId: parent.id, limit: 100, cursor };
    const { items, nextCursor } = await ask("GET", "/jobs", { query, signal });
    found.push(...items);
    cursor = nextCursor;
    if (cursor === null) break;
  }
  return found.reverse();
}

/** @param {(verb: "cancel" | "retry") => Promise<void>} act */
function jobView(act) {
  const title = h("h1");
  const status = statusMark();
  const progress = progressBar("Progress");
  const stage = h("span", { class: "quiet" });
  const cancel = button("Cancel", () => act("cancel"));
  const retry = button("Retry", () => act("retry"));
  const facts = h("dl", { class: "facts" });
  const error = h("p", { class: "fault" });
  const made = h("ul", { class: "files" });
  const result = code();
  const payload = code();
  const children = h("ul", { class: "files" });
  const log = h("ol", { class: "log", role: "log", "aria-label": "Events", tabindex: 0 });
  const parts = {
    made: section("Artifacts", made),
    children: section("Children", children),
    result: section("Result", result),
  };
  parts.children.hidden = true;

  function show(/** @type {Job} */ job) {
    write(title, job.kind);
    status.show(job.status);
    progress.show(job.progress);
    write(stage, job.stage ?? "");
    cancel.hidden = over(job.status);
    retry.hidden = job.status !== "failed" && job.status !== "cancelled";
    error.hidden = job.error === null;
    write(error, job.error ? `${job.error.code}: ${job.error.message}` : "");
    fill(
      facts,
      factsOf(job).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
    );
    parts.made.hidden = job.artifacts.length === 0;
    fill(
      made,
      job.artifacts.map((file) =>
        h(
          "li",
          {},
          h("a", { href: `/jobs/${job.id}/artifacts/${file.name}`, download: file.name }, file.name),
          h("span", { class: "quiet" }, ` ${file.mediaType}, ${bytes(file.bytes)}`),
        ),
      ),
    );
    parts.result.hidden = job.result === null;
    write(result, JSON.stringify(job.result, null, 2));
    write(payload, JSON.stringify(job.payload, null, 2));
  }

  return {
    element: h(
      "article",
      {},
      h(
        "div",
        { class: "head" },
        title,
        status.element,
        stage,
        h("span", { class: "actions" }, cancel, retry),
      ),
      progress.element,
      error,
      facts,
      parts.made,
      parts.children,
      section("Events", log),
      parts.result,
      section("Payload", payload),
    ),
    show,
    log: (/** @type {JobEvent} */ event) => {
      const text = [event.stage, event.message].filter(Boolean).join(": ");
      log.append(
        h(
          "li",
          {},
          clock(event.timestamp),
          h("span", { class: "type" }, event.type),
          h("span", { class: "number" }, percent(event.progress)),
          h("span", {}, text),
        ),
      );
      while (log.children.length > LOG_LINES) log.firstElementChild?.remove();
      log.scrollTop = log.scrollHeight;
    },
    children: (/** @type {Job[]} */ jobs) => {
      parts.children.hidden = jobs.length === 0;
      fill(
        children,
        jobs.map((child) =>
          h(
            "li",
            {},
            h("a", { href: `#/jobs/${child.id}` }, child.kind),
            h("span", { class: `mark ${child.status}` }, child.status),
            h("span", { class: "quiet" }, percent(child.progress)),
          ),
        ),
      );
    },
  };
}

/** @param {Job} job @returns {[string, import("./dom.js").Child][]} */
const factsOf = (job) => [
  ["Attempt", `${job.attempt} of ${job.maxAttempts}`],
  ["Priority", job.priority],
  ["Created", time(job.createdAt)],
  ["Started", time(job.startedAt)],
  ["Finished", time(job.finishedAt)],
  ["Parent", job.parentId ? h("a", { href: `#/jobs/${job.parentId}` }, job.parentId) : "–"],
  ["Id", h("code", {}, job.id)],
];

// What scrolls can be reached by key.
const code = () => h("pre", { tabindex: 0 });

/** @param {string} title @param {HTMLElement} content */
const section = (title, content) => h("section", {}, h("h2", {}, title), content);
