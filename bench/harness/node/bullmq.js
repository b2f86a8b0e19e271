"use strict";
/*
 * BullMQ in the jobs benchmark: one process that hands jobs in and runs them, 256 at once, on the Redis of the
 * port that is its argument. The defaults but for that, and for jobs being removed when they have completed.
 *
 *     ready           -> ready VERSION
 *     starts N MS     -> starts JSON        nanoseconds from add() to the first line of the handler, N jobs, one every MS
 *     run N           -> ran NANOSECONDS    N jobs that wait, until the worker has said of each that it completed
 */
const { createInterface } = require("node:readline");
const { setTimeout: after } = require("node:timers/promises");
const { Queue, Worker } = require("bullmq");
const { version } = require("bullmq/package.json");

const connection = { host: "127.0.0.1", port: Number(process.argv[2]), maxRetriesPerRequest: null };
const queue = new Queue("bench", { connection, defaultJobOptions: { removeOnComplete: true } });
const now = () => process.hrtime.bigint();
const begun = [];
let completed = 0;
let all = { count: 0, resolve: () => {} };

async function handler(job) {
  const moment = now();
  if (job.data.sent !== undefined) begun.push(Number(moment - BigInt(job.data.sent)));
}

const worker = new Worker("bench", handler, { connection, concurrency: 256 });
worker.on("completed", () => {
  completed += 1;
  if (completed === all.count) all.resolve();
});

function completion(count) {
  completed = 0;
  return new Promise((resolve) => {
    all = { count, resolve };
  });
}

async function starts(count, milliseconds) {
  begun.length = 0;
  const done = completion(count);
  for (let index = 0; index < count; index += 1) {
    await queue.add("start", { sent: String(now()) });
    await after(milliseconds);
  }
  await done;
  return JSON.stringify(begun);
}

async function run(count) {
  await queue.pause();
  const done = completion(count);
  for (let first = 0; first < count; first += 500) {
    const size = Math.min(500, count - first);
    await queue.addBulk(Array.from({ length: size }, () => ({ name: "noop", data: {} })));
  }
  const started = now();
  await queue.resume();
  await done;
  return now() - started;
}

const input = createInterface({ input: process.stdin });
input.on("line", async (line) => {
  const [word, ...rest] = line.split(" ");
  if (word === "ready") console.log(`ready bullmq ${version} (node ${process.version})`);
  else if (word === "starts") console.log(`starts ${await starts(Number(rest[0]), Number(rest[1]))}`);
  else if (word === "run") console.log(`ran ${await run(Number(rest[0]))}`);
  else console.log(`error unknown command: ${line}`);
});
input.on("close", () => process.exit(0));
