/** The frame: who is signed in, which page is shown, and how the connection fares. */
import { fill, h, write } from "./dom.js";
import { ask, listen, pause } from "./http.js";
import { inbox, watchUnread } from "./inbox.js";
import { deadLetters, jobs } from "./jobs.js";
import { job } from "./job.js";
import { metrics, nodes } from "./nodes.js";
import { securityEvents } from "./security.js";
import { signIn } from "./signin.js";
import { explain } from "./view.js";

/**
 * @typedef {{ id: string, tenantId: string, email: string, name: string | null,
 *   role: "USER" | "ADMIN" | "SUPER_ADMIN" }} User
 */
/** @typedef {{ user: User, signal: AbortSignal, id?: string }} Visit */
/**
 * @typedef {{ hash: string, title: string, roles?: User["role"][],
 *   show: (main: HTMLElement, visit: Visit) => void }} Page
 */

/** @type {Page[]} */
const PAGES = [
  { hash: "#/jobs", title: "Jobs", show: jobs },
  { hash: "#/dead-letters", title: "Dead letters", show: deadLetters },
  { hash: "#/inbox", title: "Inbox", show: inbox },
  { hash: "#/security", title: "Security", roles: ["ADMIN", "SUPER_ADMIN"], show: securityEvents },
  { hash: "#/nodes", title: "Nodes", roles: ["SUPER_ADMIN"], show: nodes },
  { hash: "#/metrics", title: "Metrics", roles: ["SUPER_ADMIN"], show: metrics },
];
const JOB = /^#\/jobs\/([0-9a-f-]+)$/;
const RETRY_MS = 3000;

const main = /** @type {HTMLElement} */ (document.getElementById("content"));
const tabs = /** @type {HTMLElement} */ (document.getElementById("tabs"));
const visitor = /** @type {HTMLElement} */ (document.getElementById("visitor"));
const who = /** @type {HTMLElement} */ (document.getElementById("who"));
const weather = /** @type {HTMLElement} */ (document.getElementById("weather"));

/** @type {User | null} */
let user = null;
let session = new AbortController();
let page = new AbortController();

async function begin() {
  const found = await known();
  if (found === null) return leave("");
  user = found;
  session = new AbortController();
  write(who, `${found.name ?? found.email} · ${found.role.toLowerCase().replace("_", " ")}`);
  who.title = found.email;
  const badge = h("span", { class: "badge", hidden: true });
  fill(
    tabs,
    PAGES.filter((each) => may(each)).map((each) =>
      h("a", { href: each.hash }, each.title, each.show === inbox && badge),
    ),
  );
  tabs.hidden = visitor.hidden = false;
  watchUnread(badge, session.signal);
  route();
}

/** Who is signed in; asked until there is an answer. @returns {Promise<User | null>} */
async function known() {
  for (;;) {
    try {
      return (await ask("GET", "/console/session"))?.user ?? null;
    } catch (fault) {
      if (!(/** @type {any} */ (fault).passing)) return null;
      fill(main, h("p", { class: "fault", role: "alert" }, explain(fault), " Trying again …"));
      await pause(RETRY_MS, new AbortController().signal);
    }
  }
}

/** Show the way in. @param {string} why */
function leave(why) {
  user = null;
  session.abort();
  page.abort();
  tabs.hidden = visitor.hidden = true;
  write(weather, "");
  document.title = "Sign in · Tidings";
  signIn(main, why, begin);
}

function route() {
  if (user === null) return;
  page.abort();
  page = new AbortController();
  const hash = location.hash || "#/jobs";
  const id = JOB.exec(hash)?.[1];
  const chosen = PAGES.find((each) => may(each) && each.hash === hash);
  for (const link of tabs.querySelectorAll("a")) {
    const here = link.hash === hash || (id !== undefined && link.hash === "#/jobs");
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${id ? "Job" : (chosen?.title ?? "Not found")} · Tidings`;
  const visit = { user, signal: page.signal, id };
  if (id !== undefined) job(main, visit);
  else if (chosen) chosen.show(main, visit);
  else
    fill(
      main,
      h("h1", {}, "Not found"),
      h("p", {}, "There is no such page. ", h("a", { href: "#/jobs" }, "Jobs")),
    );
}

/** @param {Page} each */
const may = (each) => user !== null && (each.roles?.includes(user.role) ?? true);

listen({
  signedOut: () => {
    if (user === null) return;
    leave("The session is over. Sign in again.");
    ask("DELETE", "/console/session").catch(() => {});
  },
  weather: (state) =>
    write(weather, state === "ok" || user === null ? "" : "The connection is lost. Reconnecting …"),
});
addEventListener("hashchange", () => {
  route();
  main.focus();
});
// The fragment names the page, so this link must not change it.
document.querySelector(".skip")?.addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
document.getElementById("sign-out")?.addEventListener("click", async () => {
  leave("");
  await ask("DELETE", "/console/session").catch(() =>
    signIn(main, "The server does not answer: the cookie is still there.", begin),
  );
});
begin();
