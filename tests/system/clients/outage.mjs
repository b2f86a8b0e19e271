// A stock socket.io-client that comes, or comes back, while the server cannot let anybody in.
// Usage: node outage.mjs MODULE TRANSPORT, with {url, token} as JSON in SCENARIO. Lines on stdin: "connect" begins,
// "cut" ends its transport. What becomes of it is printed, a JSON line for each step. Nothing is judged here.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [name, transport] = process.argv.slice(2);
const client = createRequire(import.meta.url)(name);
const io = client.io ?? client;
const { url, token } = JSON.parse(process.env.SCENARIO);
const print = (line) => console.log(JSON.stringify(line));
const socket = io(`${url}/notifications`, {
  auth: { token },
  extraHeaders: { Authorization: `Bearer ${token}` },
  transports: transport === "upgrade" ? ["polling", "websocket"] : [transport],
  reconnectionDelay: 100,
  reconnectionDelayMax: 500,
  autoConnect: false,
});

socket.on("connect", () => print({ connected: true }));
socket.on("disconnect", (reason) => print({ disconnected: reason }));
socket.on("connect_error", (error) => print({ refused: error.message }));
socket.on("notification:new", ({ notification }) => print({ heard: notification.title }));

const commands = { connect: () => socket.connect(), cut: () => socket.io.engine.close() };
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => commands[line]());
lines.on("close", () => socket.disconnect());
