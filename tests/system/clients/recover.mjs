// A stock socket.io-client 4 that loses its connection again and again: what becomes of it, as JSON lines.
// Usage: node recover.mjs TRANSPORT, with {url, token, rounds} as JSON in SCENARIO: how many notifications are
// made while it is away, for each time that it goes. Nothing is judged here.

import { io } from "socket.io-client";

const { url, token, rounds } = JSON.parse(process.env.SCENARIO);
const transports = process.argv[2] === "upgrade" ? ["polling", "websocket"] : [process.argv[2]];
const print = (line) => console.log(JSON.stringify(line));
const heard = [];
let arrived = () => {};

const socket = io(`${url}/notifications`, { auth: { token }, transports, reconnection: false });
socket.on("notification:ready", ({ recovered }) => print({ ready: recovered }));
socket.on("notification:new", ({ notification }) => {
  heard.push(notification.title);
  arrived();
});

function happened(emitter, name) {
  return new Promise((done) => emitter.once(name, done));
}

async function make(title) {
  const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
  const body = JSON.stringify({ title, content: "x" });
  const answer = await fetch(`${url}/notifications`, { method: "POST", headers, body });
  if (answer.status !== 201) throw new Error(await answer.text());
}

function hasHeard(title) {
  return new Promise((done) => {
    arrived = () => heard.includes(title) && done();
    arrived();
  });
}

await happened(socket, "connect");
print({ recovered: socket.recovered });
for (const [round, count] of rounds.entries()) {
  const engine = socket.io.engine;
  if (transports.length > 1 && engine.transport.name === "polling") await happened(engine, "upgrade");
  const gone = happened(socket, "disconnect");
  engine.close();
  await gone;
  for (let number = 0; number < count; number++) await make(`missed ${round}.${number}`);
  const back = happened(socket, "connect");
  socket.connect();
  await back;
  print({ recovered: socket.recovered });
  if (count > 0) await hasHeard(`missed ${round}.${count - 1}`);
}
await make("live");
await hasHeard("live");
print({ heard });
socket.disconnect();
