// One user's day with a stock socket.io-client: what happened is printed, a JSON line for each step.
// Usage: node scenario.mjs MODULE TRANSPORT, with {url, user, admin, userId, fresh} as JSON in SCENARIO;
// user, admin and fresh are tokens, the last one another token of the user. Nothing is judged here.

import { createRequire } from "node:module";

const [moduleName, transport] = process.argv.slice(2);
const { url, user, admin, userId, fresh } = JSON.parse(process.env.SCENARIO);
const library = createRequire(import.meta.url)(moduleName);
const io = library.io ?? library;

// Version 2 knows no CONNECT payload and has no onAny, so names are listed and tokens go into a header there.
const NAMES = [
  "notification:ready", "notification:new", "notification:read", "notification:unread", "notification:error",
  "job:event", "auth:expiring", "connect", "disconnect", "connect_error", "error",
];

function print(step, ...said) {
  console.log(JSON.stringify({ step, said }));
}

function open(token) {
  const heard = [];
  const waiting = [];
  const socket = io(`${url}/notifications`, {
    transports: transport === "upgrade" ? ["polling", "websocket"] : [transport],
    auth: { token },
    extraHeaders: moduleName.endsWith("v2") ? { Authorization: `Bearer ${token}` } : {},
    reconnection: false,
    forceNew: true,
  });
  for (const name of NAMES) {
    socket.on(name, (...args) => {
      const taker = waiting.findIndex((one) => one.name === name);
      if (taker < 0) heard.push({ name, args });
      else waiting.splice(taker, 1)[0].take(args);
    });
  }
  const next = (name) => {
    const found = heard.findIndex((one) => one.name === name);
    if (found >= 0) return heard.splice(found, 1)[0].args;
    return new Promise((take) => waiting.push({ name, take }));
  };
  const ask = (name, data) => new Promise((answered) => socket.emit(name, data, answered));
  return { socket, next, ask, heard };
}

async function post(path, token, body) {
  const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
  const answer = await fetch(url + path, { method: "POST", headers, body: JSON.stringify(body) });
  return answer.json();
}

function failure(args) {
  const fault = args[0];
  return fault instanceof Error ? { message: fault.message, data: fault.data } : fault;
}

const stranger = open("not.a.token");
const refused = moduleName.endsWith("v2") ? "error" : "connect_error";
print("refused", failure(await stranger.next(refused)), stranger.socket.connected);
stranger.socket.close();

const { socket, next, ask, heard } = open(user);
await next("connect");
print("connected", socket.connected, socket.id, Boolean(socket.recovered));
print("ready", ...(await next("notification:ready")));

const told = await post("/notifications", admin, { userId, title: "From above", content: "Über 🦔" });
print("told", told);
print("new", ...(await next("notification:new")));
print("unread", ...(await next("notification:unread")));

print("created", await ask("notification:create", { title: "Own", content: "mine", priority: "low" }));
await next("notification:new");
await next("notification:unread");
print("invalid", await ask("notification:create", { title: "", content: "x", more: 1 }));
print("error", ...(await next("notification:error")));
print("forbidden", await ask("notification:create", { title: "t", content: "c", audience: "global" }));
await next("notification:error");
print("listed", await ask("notification:list", { limit: 10 }));
print("marked", await ask("notification:mark-read", { notificationId: told.id }));
print("read", ...(await next("notification:read")));
print("all marked", await ask("notification:mark-all-read", {}));
print("all read", ...(await next("notification:read")));
socket.emit("no such event", {});
print("unknown", ...(await next("notification:error")));

// What came before has been said while the upgrade went on; from here on it is over.
const engine = socket.io.engine;
if (transport === "upgrade" && engine.transport.name === "polling") {
  await new Promise((upgraded) => engine.once("upgrade", upgraded));
}
print("transport", engine.transport.name);

const job = await post("/jobs", user, { kind: "demo.steps", payload: { steps: 4, delayMs: 30 } });
print("subscribed", job.id, await ask("job:subscribe", { jobId: job.id }));
for (;;) {
  const event = await next("job:event");
  print("job", ...event);
  if (event[0].type === "completed") break;
}
print("unsubscribed", await ask("job:unsubscribe", { jobId: job.id }));
print("strange job", await ask("job:subscribe", { jobId: told.id }));
print("refreshed", await ask("auth:refresh", { token: fresh }));
socket.disconnect();
print("disconnected", ...(await next("disconnect")));
print("left over", heard.map(({ name }) => name));
