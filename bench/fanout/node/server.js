"use strict";
/*
 * Node's socket.io in the fan-out benchmark: default settings, WebSocket only. No credential is looked at.
 * The commands on stdin are those of ../emitter.py.
 */
const { createServer } = require("node:http");
const { createInterface } = require("node:readline");
const { setImmediate: nextTurn, setTimeout: after } = require("node:timers/promises");
const { Server } = require("socket.io");

const EVENT = "notification:new";
const ROOM = "everybody";
const PAYLOAD_BYTES = 150;

const http = createServer();
const io = new Server(http, { transports: ["websocket"], perMessageDeflate: false });
const namespace = io.of("/notifications");
namespace.on("connection", (socket) => socket.join(ROOM));

const now = () => process.hrtime.bigint();

function publish(sequence) {
  const payload = { t: Number(now()), n: sequence, pad: "" };
  payload.pad = "x".repeat(PAYLOAD_BYTES - JSON.stringify(payload).length);
  namespace.to(ROOM).emit(EVENT, payload);
}

let acknowledged = 0;
let moved = () => {};

async function emit(milliseconds, burst, window) {
  acknowledged = 0;
  let sent = 0;
  const started = now();
  const end = started + BigInt(milliseconds) * 1_000_000n;
  while (now() < end) {
    if (sent + burst - acknowledged > window) {
      await new Promise((resolve) => { moved = resolve; });
      continue;
    }
    for (let index = 0; index < burst; index += 1) publish(sent + index);
    sent += burst;
    await nextTurn();
  }
  console.log(`emitted ${sent} ${started}`);
}

async function pace(count, milliseconds) {
  const started = Number(now()) / 1e6;
  for (let index = 0; index < count; index += 1) {
    const due = started + index * milliseconds;
    await after(Math.max(0, due - Number(now()) / 1e6));
    publish(index);
  }
  console.log(`paced ${count}`);
}

function ready() {
  const { version } = require("socket.io/package.json");
  const serving = {
    port: http.address().port,
    version: `socket.io ${version}, Node ${process.versions.node}`,
    tokens: ["not-looked-at"],
  };
  console.log(`ready ${JSON.stringify(serving)}`);
}

const commands = {
  ready,
  emit,
  pace,
  ack(count) {
    acknowledged = count;
    moved();
  },
  collect() {
    global.gc();
    console.log("collected");
  },
};

http.listen({ host: "127.0.0.1", port: 0, backlog: 2048 }, () => {
  const lines = createInterface({ input: process.stdin });
  lines.on("line", (line) => {
    const [word, ...numbers] = line.split(" ");
    if (Object.hasOwn(commands, word)) commands[word](...numbers.map(Number));
    else console.log(`error unknown command: ${line}`);
  });
  lines.on("close", () => process.exit(0));
});
