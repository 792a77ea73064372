// The same handler as a job of BullMQ.
//
//   node queue.mjs work N      work off the queue, N jobs at once, until SIGTERM; prints "ready" once it takes
//   node queue.mjs add N       N jobs that are there at once; prints the instant, in ms since the epoch
//
// BULLMQ is the folder in which package.json was installed, BENCHMARKS_BROKER the Redis, BENCHMARKS_STAMPS the file that
// handlers write to.

import { openSync, writeSync } from "node:fs";
import { createRequire } from "node:module";

const { Queue, Worker } = createRequire(`${process.env.BULLMQ}/`)("bullmq");

const NAME = "benchmarks";
const BATCH = 1_000;
const connection = { url: process.env.BENCHMARKS_BROKER, maxRetriesPerRequest: null };

async function work(concurrency) {
  const file = openSync(process.env.BENCHMARKS_STAMPS, "a");
  const stamp = async (job) => {
    const now = performance.timeOrigin + performance.now();
    writeSync(file, `${job.data.due.toFixed(3)} ${now.toFixed(3)}\n`);
  };
  const options = { connection, concurrency, removeOnComplete: { count: 0 }, removeOnFail: { count: 0 } };
  const worker = new Worker(NAME, stamp, options);
  await worker.waitUntilReady();
  process.once("SIGTERM", () => process.exit(0));
  console.log("ready");
}

// The queue is paused until all are in it, so that no worker has a start.
async function add(number) {
  const queue = new Queue(NAME, { connection });
  await queue.pause();
  for (let start = 0; start < number; start += BATCH) {
    const jobs = Array.from({ length: Math.min(BATCH, number - start) }, () => ({
      name: "handle",
      data: { type: "probe", text: "x".repeat(65), due: 0 },
    }));
    await queue.addBulk(jobs);
  }
  const now = performance.timeOrigin + performance.now();
  await queue.resume();
  console.log(now.toFixed(3));
  await queue.close();
}

const [what, number] = process.argv.slice(2);
await { work, add }[what](Number(number));
