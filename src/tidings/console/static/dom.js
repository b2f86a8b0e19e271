/** Elements out of data. Whatever is text becomes a text node: nothing here makes markup out of it. */

/** @typedef {Node | string | number | null | undefined | false} Child */
/** @typedef {Record<string, string | number | boolean | null | undefined | ((event: Event) => void)>} Attributes */
/** @template T @typedef {{ element: HTMLElement, show: (item: T) => void }} Shown */

/**
 * An element. An attribute that is `false`, `null` or `undefined` is left out; a function listens.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag @param {Attributes} [attributes] @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...some(children));
  return element;
}

/**
 * Put these in the place of what an element holds.
 * @param {Element} element
 * @param {...(Child | Child[])} children
 */
export function fill(element, ...children) {
  element.replaceChildren(...some(children));
}

/**
 * Write a text, unless it stands there: assistive technology reads what is written anew.
 * @param {Element} element
 * @param {string} text
 */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Keeps an element for each item of a list, so that what is focused stays so while the list changes.
 * @template T
 * @param {Element} parent @param {(item: T) => string} key @param {(item: T) => Shown<T>} make
 */
export function keyed(parent, key, make) {
  /** @type {Map<string, Shown<T>>} */
  let kept = new Map();
  return (/** @type {T[]} */ items) => {
    const next = new Map(items.map((item) => [key(item), kept.get(key(item)) ?? make(item)]));
    for (const [name, shown] of kept) if (!next.has(name)) shown.element.remove();
    kept = next;
    items.forEach((item, index) => {
      const shown = /** @type {Shown<T>} */ (next.get(key(item)));
      shown.show(item);
      const there = parent.children[index] ?? null;
      if (there !== shown.element) parent.insertBefore(shown.element, there);
    });
  };
}

const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

/** A moment in the reader's own zone; a dash for none. @param {string | null} text */
export function time(text) {
  return text
    ? h("time", { datetime: text, title: text }, MOMENT.format(new Date(text)))
    : h("span", {}, "–");
}

/** Likewise, without the day. @param {string} text */
export const clock = (text) => h("time", { datetime: text, title: text }, CLOCK.format(new Date(text)));

/** @param {number | null} count */
export function bytes(count) {
  if (count === null) return "–";
  const units = ["B", "kB", "MB", "GB"];
  const step = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(count, 1)) / 3));
  return `${(count / 1000 ** step).toFixed(step ? 1 : 0)} ${units[step]}`;
}

/** @param {number} share */
export const percent = (share) => `${Math.round(share * 100)} %`;

/** @param {number} count @param {string} one @param {string} [many] */
export const counted = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

/**
 * A button that cannot be pressed again until what it does is done.
 * @param {string} label
 * @param {() => Promise<unknown>} act
 * @param {Attributes} [attributes]
 */
export function button(label, act, attributes = {}) {
  const made = h("button", { type: "button", ...attributes }, label);
  made.addEventListener("click", async () => {
    made.disabled = true;
    try {
      await act();
    } finally {
      made.disabled = false;
    }
  });
  return made;
}

/**
 * A table whose rows name their columns, for screens too narrow for a table.
 * @param {string} caption @param {string[]} columns
 */
export function table(caption, columns) {
  const body = h("tbody");
  const head = h(
    "tr",
    {},
    columns.map((name) => h("th", { scope: "col" }, name)),
  );
  return {
    body,
    element: h("table", {}, h("caption", { class: "unseen" }, caption), h("thead", {}, head), body),
  };
}

/** A row of such a table. @param {string[]} columns @param {Child[]} cells */
export const row = (columns, cells) =>
  h(
    "tr",
    {},
    cells.map((cell, index) => h("td", { "data-label": columns[index] }, cell)),
  );

/** @param {(Child | Child[])[]} children @returns {(Node | string)[]} */
function some(children) {
  return /** @type {(Node | string)[]} */ (
    children
      .flat()
      .filter((child) => child !== null && child !== undefined && child !== false)
      .map((child) => (child instanceof Node ? child : String(child)))
  );
}
