"use strict";
/*
 * Node's socket.io in the benchmarks, with the defaults but for what the options say:
 *
 *     --transports LIST   those that are allowed, all by default
 *     --jwt               verify a token at every connect (HS256, 64 users), and acknowledge one event
 *     --recovery          connection state recovery by the in-memory adapter, middlewares included
 *     --redis URL         one of several nodes, by @socket.io/redis-adapter
 *
 * Without --jwt no credential is looked at. The commands on stdin are those of ../emitter.py.
 */
const { createSecretKey, randomUUID } = require("node:crypto");
const { createServer } = require("node:http");
const { createInterface } = require("node:readline");
const { setImmediate: nextTurn, setTimeout: after } = require("node:timers/promises");
const { parseArgs } = require("node:util");
const { createAdapter } = require("@socket.io/redis-adapter");
const jwt = require("jsonwebtoken");
const { createClient } = require("redis");
const { Server } = require("socket.io");

const EVENT = "notification:new";
const ROOM = "everybody";
const PAYLOAD_BYTES = 150;
const USERS = 64;
const SECRET = createSecretKey(Buffer.from("the-benchmark-is-no-secret-0123456789"));

const { values: options } = parseArgs({
  options: {
    transports: { type: "string", default: "polling,websocket" },
    jwt: { type: "boolean", default: false },
    recovery: { type: "boolean", default: false },
    redis: { type: "string" },
  },
});

const http = createServer();
const io = new Server(http, {
  transports: options.transports.split(","),
  perMessageDeflate: false,
  ...(options.recovery && { connectionStateRecovery: { skipMiddlewares: false } }),
});

/* The adapter is chosen before there is a namespace, and subscribes as one is made. */
const redis = options.redis === undefined ? [] : [createClient({ url: options.redis })];
if (redis.length > 0) {
  redis.push(redis[0].duplicate());
  io.adapter(createAdapter(...redis));
}
const namespace = io.of("/notifications");

function authenticate(socket, next) {
  try {
    socket.data.user = jwt.verify(socket.handshake.auth.token, SECRET, { algorithms: ["HS256"] }).sub;
    next();
  } catch {
    next(new Error("Authentication failed"));
  }
}

const acknowledge = (data, answer) => answer(data);

if (options.jwt) namespace.use(authenticate);
namespace.on("connection", (socket) => {
  socket.join(ROOM);
  if (options.jwt) socket.on("job:unsubscribe", acknowledge);
});

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

/* The claims that Tidings' own tokens have, so that both verify as much. */
function makeToken() {
  return jwt.sign({ sub: randomUUID() }, SECRET, { expiresIn: 3600, jwtid: randomUUID() });
}

function ready() {
  const { version } = require("socket.io/package.json");
  const serving = {
    port: http.address().port,
    version: `socket.io ${version}, Node ${process.versions.node}`,
    tokens: options.jwt ? Array.from({ length: USERS }, makeToken) : ["not-looked-at"],
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

Promise.all(redis.map((client) => client.connect())).then(() => {
  http.listen({ host: "127.0.0.1", port: 0, backlog: 2048 }, serve);
});

function serve() {
  const lines = createInterface({ input: process.stdin });
  lines.on("line", (line) => {
    const [word, ...numbers] = line.split(" ");
    if (Object.hasOwn(commands, word)) commands[word](...numbers.map(Number));
    else console.log(`error unknown command: ${line}`);
  });
  lines.on("close", () => process.exit(0));
}
