/** The way in: a token is pasted and exchanged for a cookie that no script can read. */
import { fill, h } from "./dom.js";
import { ask, Refused } from "./http.js";
import { explain } from "./view.js";

/** @param {HTMLElement} main @param {string} why @param {() => void} done */
export function signIn(main, why, done) {
  const said = h("p", { class: "fault", role: "alert" }, why);
  // Without a name the token is in no form that is sent, should this script fail.
  const token = h("input", {
    id: "token",
    type: "password",
    required: true,
    autocomplete: "off",
    spellcheck: "false",
    "aria-describedby": "how",
  });
  const enter = h("button", {}, "Sign in");
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    enter.disabled = true;
    try {
      await ask("POST", "/console/session", { body: { token: token.value.trim() } });
      if (await ask("GET", "/console/session")) return done();
      said.textContent = "The browser did not keep the cookie.";
    } catch (fault) {
      said.textContent = reason(fault);
    } finally {
      enter.disabled = false;
    }
    token.value = "";
    token.focus();
  };
  fill(
    main,
    h(
      "form",
      { class: "sign-in", method: "post", onsubmit: submit },
      h("h1", {}, "Sign in"),
      said,
      h("label", { for: "token" }, "Token"),
      token,
      h(
        "p",
        { id: "how", class: "quiet" },
        "Paste a token, such as ",
        h("code", {}, "tidings token EMAIL"),
        " prints.",
      ),
      !isSecureContext && h("p", { class: "fault" }, "Over plain http the console works on localhost alone."),
      enter,
    ),
  );
  token.focus();
}

/** @param {unknown} fault */
function reason(fault) {
  if (!(fault instanceof Refused)) return explain(fault);
  if (fault.status === 401) return "This token is no good here, or no more.";
  if (fault.status === 403)
    return "The server does not know this page's address as its own: see TIDINGS_PUBLIC_URL.";
  return explain(fault);
}
