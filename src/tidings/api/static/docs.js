// Renders openapi.json. Text only ever becomes text nodes, so nothing in the document can become markup.
"use strict";

const METHODS = ["get", "post", "put", "delete"];

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

// `code` in backticks is all the markup that is understood.
const prose = (text) => text.split("`").map((part, i) => (i % 2 ? el("code", {}, part) : part));
const paragraphs = (text = "") => text.trim().split(/\n\n+/).filter(Boolean).map((part) => el("p", {}, prose(part)));
const nameOf = (ref) => ref.split("/").pop();
const pretty = (value) => JSON.stringify(value, null, 2);

function codeBlock(label, text) {
  const copy = el("button", { type: "button", class: "copy" }, "Copy");
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    copy.textContent = "Copied";
    setTimeout(() => (copy.textContent = "Copy"), 1500);
  });
  const caption = el("figcaption", {}, label, navigator.clipboard ? copy : null);
  return el("figure", { class: "code" }, caption, el("pre", { tabindex: "0", "aria-label": label }, el("code", {}, text)));
}

function typeOf(schema) {
  if (schema.$ref) return [el("a", { href: `#shape-${nameOf(schema.$ref)}` }, nameOf(schema.$ref))];
  if (schema.anyOf) return schema.anyOf.flatMap((one, i) => (i ? [" or ", ...typeOf(one)] : typeOf(one)));
  if (schema.enum) return schema.enum.flatMap((one, i) => (i ? [" ", el("code", {}, one)] : [el("code", {}, one)]));
  if (schema.type === "array") return ["list of ", ...(schema.items.$ref ? typeOf(schema.items) : ["objects"])];
  return [[schema.type ?? "anything"].flat().join(" or ") + (schema.format ? ` (${schema.format})` : "")];
}

function limitsOf(schema) {
  const of = { ...schema, ...(schema.anyOf ?? []).find((one) => one.type !== "null") };
  const limits = [];
  const range = (least, most, unit) => {
    if (most !== undefined) limits.push(`${least === undefined ? "at most" : `${least} to`} ${most}${unit}`);
    else if (least !== undefined) limits.push(`${least} or more${unit}`);
  };
  range(of.minimum, of.maximum, "");
  range(of.minLength, of.maxLength, " characters");
  if (schema.default !== undefined && schema.default !== null) limits.push(`default ${schema.default}`);
  return limits.join(", ");
}

function row(name, schema, required, text) {
  const mark = required ? el("span", { class: "required" }, "required") : null;
  const notes = [text ?? schema.description, limitsOf(schema)].filter(Boolean).join("; ");
  return el("tr", {}, el("th", { scope: "row" }, el("code", {}, name), mark), el("td", {}, typeOf(schema)), el("td", {}, prose(notes)));
}

function table(label, rows) {
  const head = el("tr", {}, ["Name", "Type", "Notes"].map((title) => el("th", { scope: "col" }, title)));
  const body = el("table", {}, el("caption", {}, label), el("thead", {}, head), el("tbody", {}, rows));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, body);
}

function fields(label, schema) {
  const required = new Set(schema.required ?? []);
  const rows = Object.entries(schema.properties ?? {}).map(([name, one]) => row(name, one, required.has(name)));
  return rows.length ? table(label, rows) : null;
}

function curl(method, path, operation) {
  const body = operation.requestBody?.content["application/json"].example;
  const lines = [`curl ${method === "post" ? "-X POST " : ""}${location.origin}${path}`];
  if (operation.security.length) lines.push(`-H "Authorization: Bearer $TOKEN"`);
  if (body) lines.push(`-H "Content-Type: application/json"`, `-d '${JSON.stringify(body)}'`);
  return lines.join(" \\\n  ");
}

function answer(status, response) {
  const [type, content] = Object.entries(response.content ?? {})[0] ?? [];
  const shape = content?.schema?.$ref ? [" ", ...typeOf(content.schema)] : [];
  const line = el("p", { class: "answer" }, el("span", { class: `status s${status[0]}` }, status), " ", prose(response.description), shape);
  return [line, content?.example ? codeBlock(type, pretty(content.example)) : null];
}

function failures(responses) {
  const codes = responses.flatMap(([, response]) => nameOf(response.$ref).split("."));
  const links = codes.map((code) => el("li", {}, el("a", { href: `#error-${code}` }, code)));
  return [el("h4", {}, "Errors"), el("ul", { class: "codes" }, links)];
}

function renderOperation({ method, path, operation }, spec) {
  const responses = Object.entries(operation.responses);
  const parameters = (operation.parameters ?? []).map((one) =>
    row(one.name, one.schema, one.required, [`in the ${one.in}`, one.description].filter(Boolean).join("; ")));
  const form = operation.requestBody && nameOf(operation.requestBody.content["application/json"].schema.$ref);
  const access = operation.security.flatMap(Object.keys).map((one) => (one === "bearer" ? "token" : one)).join(" or ");
  const id = operation.operationId;
  return el("article", { id, "aria-labelledby": `${id}-title` },
    el("h3", { id: `${id}-title` }, operation.summary),
    el("p", { class: "route" }, el("span", { class: `method ${method}` }, method), el("code", {}, path),
      el("span", { class: "access" }, access ? `needs a ${access}` : "public")),
    paragraphs(operation.description),
    parameters.length ? table("Parameters", parameters) : null,
    form ? fields("Body", spec.components.schemas[form]) : null,
    codeBlock("Request", curl(method, path, operation)),
    responses.filter(([, response]) => !response.$ref).map(([status, response]) => answer(status, response)),
    failures(responses.filter(([, response]) => response.$ref)));
}

function renderShape([name, schema]) {
  return el("article", { id: `shape-${name}` }, el("h3", {}, name), fields(`Fields of ${name}`, schema));
}

function renderError([code, problem]) {
  return el("article", { id: `error-${code}` },
    el("h3", {}, el("span", { class: `status s${String(problem.status)[0]}` }, String(problem.status)), " ", code),
    codeBlock("application/problem+json", pretty(problem)));
}

function operationsOf(spec, tag) {
  return Object.entries(spec.paths).flatMap(([path, item]) => METHODS.filter((method) => item[method]?.tags.includes(tag))
    .map((method) => ({ method, path, operation: item[method] })));
}

function errorsOf(spec) {
  const found = Object.values(spec.components.responses).flatMap((response) =>
    Object.entries(response.content["application/problem+json"].examples).map(([code, one]) => [code, one.value]));
  return [...new Map(found)].sort(([a, one], [b, other]) => one.status - other.status || a.localeCompare(b));
}

function section(id, title, text, articles, links) {
  const link = ({ href, label, mark }) => el("li", {}, el("a", { href }, mark ? el("span", { class: `mark ${mark}` }, mark) : null, label));
  return {
    body: el("section", { "aria-labelledby": id }, el("h2", { id }, title), paragraphs(text), articles),
    contents: [el("h2", {}, el("a", { href: `#${id}` }, title)), el("ul", {}, links.map(link))],
  };
}

function sectionsOf(spec) {
  const groups = spec.tags.map(({ name, description }) => {
    const found = operationsOf(spec, name);
    const links = found.map(({ method, operation }) => ({ href: `#${operation.operationId}`, label: operation.summary, mark: method }));
    return section(name.toLowerCase(), name, description, found.map((one) => renderOperation(one, spec)), links);
  });
  const shapes = Object.entries(spec.components.schemas);
  const errors = errorsOf(spec);
  return [
    ...groups,
    section("shapes", "Shapes", "What goes over the wire.", shapes.map(renderShape), shapes.map(([name]) => ({ href: `#shape-${name}`, label: name }))),
    section("errors", "Errors", "Each `code` and what it looks like.", errors.map(renderError), errors.map(([code]) => ({ href: `#error-${code}`, label: code }))),
  ];
}

// The contents show where one is.
function follow(contents) {
  const links = new Map([...contents.querySelectorAll("li a")].map((link) => [link.hash.slice(1), link]));
  const observer = new IntersectionObserver((entries) => {
    const entry = entries.find((one) => one.isIntersecting);
    if (!entry) return;
    contents.querySelector("[aria-current]")?.removeAttribute("aria-current");
    links.get(entry.target.id)?.setAttribute("aria-current", "true");
  }, { rootMargin: "-10% 0px -80% 0px" });
  document.querySelectorAll("article").forEach((article) => observer.observe(article));
}

async function main() {
  const content = document.getElementById("content");
  const contents = document.getElementById("contents");
  try {
    const response = await fetch("openapi.json");
    if (!response.ok) throw new Error(`status ${response.status}`);
    const spec = await response.json();
    const sections = sectionsOf(spec);
    const title = el("h1", {}, spec.info.title, " ", el("small", {}, spec.info.version));
    const source = el("p", {}, el("a", { href: "openapi.json" }, "openapi.json"), ` (OpenAPI ${spec.openapi})`);
    content.replaceChildren(el("header", {}, title, paragraphs(spec.info.description), source), ...sections.map((one) => one.body));
    contents.replaceChildren(el("p", { class: "brand" }, el("a", { href: "#content" }, "Tidings API")), ...sections.flatMap((one) => one.contents));
    follow(contents);
    if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
  } catch {
    document.getElementById("state").textContent = "The documentation could not be read. Reload to try again.";
  }
}

main();
