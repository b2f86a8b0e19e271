/** What a SUPER_ADMIN sees of the servers: each node, and the numbers of the one that answers. */
import { bytes, fill, h, keyed, percent, row, table, time } from "./dom.js";
import { ask } from "./http.js";
import { every, load } from "./view.js";

/**
 * @typedef {{ id: string, host: string, pid: number, worker: number, version: string, startedAt: string,
 *   draining: boolean, connections: number, streams: number, jobsRunning: number, cpu: number,
 *   memoryBytes: number | null, relayLagSeconds: number, lastSeen: string }} NodeState
 */

const POLL_MS = 5000;
const COLUMNS = [
  "Node",
  "Host",
  "Started",
  "State",
  "Connections",
  "Streams",
  "Jobs",
  "CPU",
  "Memory",
  "Lag",
];

/** @param {HTMLElement} main @param {import("./main.js").Visit} visit */
export function nodes(main, { signal }) {
  const place = h("div");
  const grid = table("Nodes", COLUMNS);
  const draw = keyed(
    grid.body,
    (/** @type {NodeState} */ node) => node.id,
    () => {
      const element = row(
        COLUMNS,
        COLUMNS.map(() => h("span")),
      );
      return {
        element,
        show: (/** @type {NodeState} */ node) =>
          cells(node).forEach((cell, index) => fill(element.children[index], cell)),
      };
    },
  );
  const refresh = async () => draw((await ask("GET", "/admin/nodes", { signal })).items);
  fill(main, h("div", { class: "head" }, h("h1", {}, "Nodes")), place, grid.element);
  load(place, refresh, signal);
  every(POLL_MS, refresh, signal);
}

/** @param {NodeState} node @returns {import("./dom.js").Child[]} */
const cells = (node) => [
  h("code", {}, node.id),
  `${node.host}, ${node.pid}`,
  time(node.startedAt),
  h(
    "span",
    { class: `mark ${node.draining ? "queued" : "succeeded"}` },
    node.draining ? "draining" : "serving",
  ),
  node.connections,
  node.streams,
  node.jobsRunning,
  percent(node.cpu),
  bytes(node.memoryBytes),
  `${node.relayLagSeconds} s`,
];

/** @param {HTMLElement} main @param {import("./main.js").Visit} visit */
export function metrics(main, { signal }) {
  const place = h("div");
  const groups = h("div", { class: "groups" });
  const refresh = async () => {
    const { node, ...found } = await ask("GET", "/admin/metrics", { signal });
    fill(
      groups,
      Object.entries(found).map(([name, value]) => group(words(name), value)),
    );
  };
  fill(
    main,
    h("h1", {}, "Metrics"),
    h(
      "p",
      { class: "quiet" },
      "Of the server that answers, since it began. The same for machines is at ",
      h("code", {}, "/metrics"),
      ".",
    ),
    place,
    groups,
  );
  load(place, refresh, signal);
  every(POLL_MS, refresh, signal);
}

/**
 * Plain numbers first, then those that belong together under a heading.
 * @param {string} title
 * @param {Record<string, any>} found
 */
function group(title, found) {
  const plain = Object.entries(found).filter(([, value]) => value === null || typeof value !== "object");
  const nested = Object.entries(found).filter(([, value]) => value !== null && Object.keys(value).length > 0);
  return h(
    "section",
    {},
    h("h2", {}, title),
    plain.length + nested.length === 0 && h("p", { class: "quiet" }, "nothing yet"),
    numbers(plain.flatMap(([name, value]) => flat(value, [name]))),
    nested.flatMap(([name, value]) => [
      h("h3", {}, words(name)),
      numbers(flat(value, [name]).map(([label, shown]) => [label.replace(/^.*?, /, ""), shown])),
    ]),
  );
}

/** @param {[string, string][]} found */
const numbers = (found) =>
  h(
    "dl",
    { class: "numbers" },
    found.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", { class: "number" }, value))),
  );

/**
 * Every number below a value, under the words that lead to it.
 * @param {any} value
 * @param {string[]} path
 * @returns {[string, string][]}
 */
function flat(value, path) {
  if (value !== null && typeof value === "object") {
    return Object.entries(value).flatMap(([name, below]) => flat(below, [...path, name]));
  }
  return [[path.map(words).join(", "), number(value, path)]];
}

/** @param {number | boolean | string | null} value @param {string[]} path */
function number(value, path) {
  const name = path.at(-1) ?? "";
  if (value === null) return "–";
  if (typeof value !== "number") return value === true ? "yes" : value === false ? "no" : value;
  if (/rate$/i.test(name)) return percent(value);
  if (/bytes$/i.test(name)) return bytes(value);
  const unit =
    name === "count"
      ? ""
      : path.some((part) => /ms$/i.test(part))
        ? " ms"
        : path.some((part) => /seconds$/i.test(part))
          ? " s"
          : "";
  return `${Number.isInteger(value) ? value.toLocaleString() : value.toPrecision(3)}${unit}`;
}

/**
 * `averageSeconds` as `average`, `slowConsumersClosed` as `slow consumers closed`; names of events stay.
 * @param {string} name
 */
function words(name) {
  if (!/^[a-z]+([A-Z][a-z]+)*$/.test(name)) return name;
  const found = name.replace(/(Seconds|Ms)$/, "").replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  return found === "sse" ? "SSE" : found;
}
