/** The security log, by event, user and time. */
import { button, fill, h, row, table, time } from "./dom.js";
import { attempt, List, load } from "./view.js";

/**
 * @typedef {{ id: string, event: string, timestamp: string, level: string, requestId: string, nodeId: string,
 *   clientId?: string, userId?: string, tenantId?: string, ip?: string, origin?: string, userAgent?: string,
 *   reason?: string, count?: number }} SecurityEvent
 */

export const EVENTS = [
  "WEBSOCKET_CONNECT",
  "WEBSOCKET_DISCONNECT",
  "SSE_CONNECT",
  "SSE_DISCONNECT",
  "AUTHENTICATION_SUCCESS",
  "ROOM_JOIN",
  "AUTHENTICATION_FAILED",
  "AUTHENTICATION_TIMEOUT",
  "UNAUTHORIZED_ACCESS_ATTEMPT",
  "ORIGIN_REJECTED",
  "ROOM_ASSIGNMENT_FAILED",
  "TOKEN_EXPIRED",
  "SECURITY_VIOLATION",
  "RATE_LIMIT_EXCEEDED",
  "TOKEN_REVOKED",
  "CONNECTION_LIMIT_EXCEEDED",
];
const COLUMNS = ["Time", "Event", "Reason", "User", "Address", "More"];
const MORE = /** @type {const} */ (["requestId", "nodeId", "tenantId", "clientId", "origin", "userAgent"]);

/** @param {HTMLElement} main @param {import("./main.js").Visit} visit */
export function securityEvents(main, { user, signal }) {
  const event = h(
    "select",
    { id: "event" },
    h("option", { value: "" }, "all"),
    EVENTS.map((name) => h("option", {}, name)),
  );
  const who = text("user-id");
  const tenant = text("tenant-id");
  const since = h("input", { id: "since", type: "datetime-local" });
  const until = h("input", { id: "until", type: "datetime-local" });
  const place = h("div");
  const grid = table("Security events", COLUMNS);
  const empty = h("p", { class: "empty", hidden: true }, "Nothing of the kind was written down.");
  const more = button("Show more", () => attempt(place, () => list.extend()).then(show), { hidden: true });
  /** @type {List<SecurityEvent>} */
  let list;

  function show() {
    fill(grid.body, list.items.map(line));
    grid.element.hidden = list.items.length === 0;
    empty.hidden = list.items.length > 0;
    more.hidden = list.cursor === null;
  }

  async function search(/** @type {Event | undefined} */ submitted = undefined) {
    submitted?.preventDefault();
    const query = {
      event: event.value,
      userId: who.value.trim(),
      tenantId: tenant.value.trim(),
      since: moment(since),
      until: moment(until),
    };
    const mine = (list = new List("/admin/security-events", query, signal));
    grid.element.hidden = empty.hidden = more.hidden = true;
    await load(
      place,
      async () => {
        await mine.refresh();
        if (mine === list) show();
      },
      signal,
    );
  }

  fill(
    main,
    h("div", { class: "head" }, h("h1", {}, "Security")),
    h(
      "form",
      { class: "filters", onsubmit: search },
      labelled("Event", event),
      labelled("User id", who),
      user.role === "SUPER_ADMIN" && labelled("Tenant id", tenant),
      labelled("From", since),
      labelled("Before", until),
      h("button", {}, "Search"),
    ),
    place,
    grid.element,
    empty,
    more,
  );
  search();
}

/** @param {SecurityEvent} event */
function line(event) {
  const known = MORE.filter((name) => event[name] !== undefined);
  return row(COLUMNS, [
    time(event.timestamp),
    h(
      "span",
      { class: `mark ${event.level}` },
      event.event,
      event.count !== undefined && ` × ${event.count}`,
    ),
    event.reason ?? "–",
    event.userId ? h("code", {}, event.userId) : "–",
    event.ip ?? "–",
    h(
      "details",
      {},
      h("summary", {}, "more"),
      h(
        "dl",
        {},
        known.map((name) => h("div", {}, h("dt", {}, name), h("dd", {}, event[name]))),
      ),
    ),
  ]);
}

/** @param {string} id */
const text = (id) => h("input", { id, type: "text", autocomplete: "off", spellcheck: "false" });

/** @param {string} name @param {HTMLElement} field */
const labelled = (name, field) => h("label", { for: field.id }, name, field);

/** The moment in a field, which is the reader's local time. @param {HTMLInputElement} field */
const moment = (field) => (field.value ? new Date(field.value).toISOString() : null);
