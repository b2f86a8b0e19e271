/** Notifications: the list, and how many are unread, on whatever page one is. */
import { button, counted, fill, h, keyed, time, write } from "./dom.js";
import { ask } from "./http.js";
import { follow } from "./live.js";
import { attempt, List, load } from "./view.js";

/**
 * @typedef {{ id: string, audience: string, title: string, content: string, priority: string, data: unknown,
 *   createdAt: string, readAt: string | null }} Notification
 */

const GATHER_MS = 300;

/** Told whenever something about the inbox has changed. @type {Set<() => void>} */
const listeners = new Set();

/**
 * Keep the unread count in the badge, by the one stream of the inbox.
 * @param {HTMLElement} badge
 * @param {AbortSignal} signal
 */
export function watchUnread(badge, signal) {
  let unread = 0;
  let newest = -1;

  /**
   * Of two counts the one with the higher version is the newer.
   * @param {{ count: number, version: number }} unread
   */
  function show({ count, version }) {
    if (version < newest) return;
    newest = version;
    unread = count;
    badge.hidden = count === 0;
    write(badge, String(count));
    badge.setAttribute("aria-label", `${count} unread`);
  }

  const poll = async () => {
    show(await ask("GET", "/notifications/unread", { signal }));
    for (const listener of listeners) listener();
  };

  function heard(/** @type {any} */ event) {
    if (event.type === "ready") show(event.unread);
    if (event.type === "unread") show(event);
    // What goes to many is not followed by a count, which is another one for each reader.
    if (event.type === "new" && event.notification.audience !== "user")
      show({ count: unread + 1, version: newest });
    for (const listener of listeners) listener();
  }

  follow({ path: "/notifications/events", heard, poll, signal });
}

/**
 * Something to be done once for whatever comes in a short while.
 * @param {() => void} act
 * @param {AbortSignal} signal
 */
function gather(act, signal) {
  /** @type {number | undefined} */
  let soon;
  return () => {
    soon ??= setTimeout(() => {
      soon = undefined;
      if (!signal.aborted) act();
    }, GATHER_MS);
  };
}

/** @param {HTMLElement} main @param {import("./main.js").Visit} visit */
export function inbox(main, { signal }) {
  const unread = h("input", { type: "checkbox", id: "unread", onchange: () => choose() });
  const place = h("div");
  const said = h("p", { class: "quiet", role: "status" });
  const letters = h("ul", { class: "letters" });
  const empty = h("p", { class: "empty", hidden: true }, "There is nothing to read.");
  const draw = keyed(letters, (/** @type {Notification} */ letter) => letter.id, letterItem);
  const more = button("Show more", () => attempt(place, () => list.extend()).then(show), { hidden: true });
  /** @type {List<Notification>} */
  let list;

  function show() {
    draw(list.items);
    empty.hidden = list.items.length > 0;
    more.hidden = list.cursor === null;
  }

  async function refresh() {
    const mine = list;
    await mine.refresh();
    if (mine === list) show();
  }

  async function choose() {
    list = new List("/notifications", { unread: unread.checked }, signal);
    await load(place, refresh, signal);
  }

  /** @param {Notification} letter */
  function letterItem(letter) {
    const mark = button("", () =>
      attempt(place, () => ask("POST", `/notifications/${letter.id}/${read ? "unread" : "read"}`)).then(
        refresh,
      ),
    );
    const archive = button("Archive", () =>
      attempt(place, () => ask("POST", `/notifications/${letter.id}/archive`)).then(refresh),
    );
    let read = false;
    const element = h(
      "li",
      {},
      h(
        "div",
        { class: "head" },
        h("h2", {}, letter.title),
        letter.priority === "high" && h("span", { class: "mark failed" }, "high"),
        letter.audience !== "user" &&
          h(
            "span",
            { class: "mark queued" },
            `to ${letter.audience === "tenant" ? "the tenant" : "everyone"}`,
          ),
        time(letter.createdAt),
      ),
      h("p", {}, letter.content),
      letter.data !== null &&
        h(
          "details",
          {},
          h("summary", {}, "Data"),
          h("pre", { tabindex: 0 }, JSON.stringify(letter.data, null, 2)),
        ),
      h("p", { class: "actions" }, mark, archive),
    );
    return {
      element,
      show: (/** @type {Notification} */ now) => {
        read = now.readAt !== null;
        element.classList.toggle("unread", !read);
        write(mark, read ? "Mark unread" : "Mark read");
      },
    };
  }

  async function readAll() {
    await attempt(place, async () => {
      const { updated } = await ask("POST", "/notifications/read-all");
      write(said, `${counted(updated, "notification is", "notifications are")} marked as read.`);
      await refresh();
    });
  }

  const changed = gather(() => refresh().catch(() => {}), signal);
  listeners.add(changed);
  signal.addEventListener("abort", () => listeners.delete(changed));
  fill(
    main,
    h(
      "div",
      { class: "head" },
      h("h1", {}, "Inbox"),
      h("label", { for: "unread" }, unread, " Unread only"),
      button("Mark all read", readAll),
    ),
    said,
    place,
    letters,
    empty,
    more,
  );
  choose();
}
