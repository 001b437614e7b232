// BullMQ on Node: its worker, and a producer with the modes of benchmarks/produce.py and the board of counter.py.
'use strict';
const fs = require('fs');
const { Queue, Worker } = require('bullmq');

const WORDS = 64;
const BOARD = process.env.BENCH_COUNTER;
const NAP = 1000 * (process.env.BENCH_NAP || 0);
const place = new URL(process.env.BENCH_REDIS);
const connection = { host: place.hostname, port: +place.port, maxRetriesPerRequest: null };
const OPTIONS = { removeOnComplete: true };
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const clock = () => Number(process.hrtime.bigint()) / 1e9;   // CLOCK_MONOTONIC, as time.monotonic()

function takeSlot(fd) {   // one count per process; the file is the lock, since Node has no flock
  const lock = BOARD + '.lock';
  for (;;) {
    try { fs.closeSync(fs.openSync(lock, 'wx')); break; } catch (error) { if (error.code !== 'EEXIST') throw error; }
  }
  const word = Buffer.alloc(8);
  fs.readSync(fd, word, 0, 8, 0);
  const slot = Number(word.readBigUInt64LE()) + 1;
  word.writeBigUInt64LE(BigInt(slot));
  fs.writeSync(fd, word, 0, 8, 0);
  fs.unlinkSync(lock);
  return slot;
}

// Node cannot map the board: starts are kept here and written every 5 ms, which costs a job less than a write each.
function counting() {
  const fd = fs.openSync(BOARD, 'r+');
  const capacity = (fs.fstatSync(fd).size / 8 - WORDS) / 2;
  const starts = new Float64Array(capacity);
  const word = Buffer.alloc(8);
  let slot = 0, count = 0, fresh = [];
  setInterval(() => {
    if (!fresh.length) return;
    slot = slot || takeSlot(fd);
    fresh.sort((a, b) => a - b);
    for (let n = 0, end; n < fresh.length; n = end) {   // a run of neighbours a time: others' are not ours to write
      for (end = n + 1; fresh[end] === fresh[end - 1] + 1;) end++;
      const bytes = Buffer.from(starts.buffer, 8 * fresh[n], 8 * (end - n));
      fs.writeSync(fd, bytes, 0, bytes.length, 8 * (WORDS + fresh[n]));
    }
    word.writeBigUInt64LE(BigInt(count));
    fs.writeSync(fd, word, 0, 8, 8 * slot);
    fresh = [];
  }, 5);
  return (id) => {
    starts[id] = clock();
    count++;
    fresh.push(id);
  };
}

function work() {
  const started = counting();
  const worker = new Worker('bench', async (job) => {
    started(job.data.user_id);
    if (NAP) await sleep(NAP);
  }, { connection, concurrency: +process.env.BENCH_CONCURRENCY });
  process.on('SIGTERM', async () => { await worker.close(); process.exit(0); });
}

const data = (id) => ({ user_id: id, email: `user${id}@example.com` });
const add = (queue, id) => queue.add('send', data(id), OPTIONS);

async function timed(jobs, todo) {
  const start = clock();
  await todo();
  return { jobs, seconds: clock() - start };
}

const MODES = {
  single: (queue, jobs, first) => timed(jobs, async () => {
    for (let id = first; id < first + jobs; id++) await add(queue, id);
  }),
  bulk: (queue, jobs, batch, first) => timed(jobs, async () => {
    for (let id = first; id < first + jobs; id += batch) {
      const length = Math.min(batch, first + jobs - id);
      await queue.addBulk(Array.from({ length }, (_, n) => ({ name: 'send', data: data(id + n), opts: OPTIONS })));
    }
  }),
  gather: (queue, jobs, coroutines) => timed(jobs, async () => {
    let next = 0;
    await Promise.all(Array.from({ length: coroutines }, async () => { while (next < jobs) await add(queue, next++); }));
  }),
  paced: async (queue, jobs, rate, first) => {
    const fd = fs.openSync(BOARD, 'r+');
    const sends = WORDS + (fs.fstatSync(fd).size / 8 - WORDS) / 2;
    const word = Buffer.alloc(8);
    const calls = [];
    const start = clock() + 0.2;
    for (let n = 0; n < jobs; n++) {
      const ahead = start + n / rate - clock();
      if (ahead > 0.0005) await sleep(1000 * ahead);
      const began = clock();
      word.writeDoubleLE(began);
      fs.writeSync(fd, word, 0, 8, 8 * (sends + first + n));
      await add(queue, first + n);
      calls.push(clock() - began);
    }
    calls.sort((a, b) => a - b);
    const at = (share) => 1000 * calls[Math.min(calls.length - 1, Math.floor(calls.length * share))];
    return { jobs, behind: clock() - start - jobs / rate, call: { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) } };
  },
};

async function produce(mode, numbers) {
  const queue = new Queue('bench', { connection });
  await queue.waitUntilReady();
  console.log('RESULT ' + JSON.stringify(await MODES[mode](queue, ...numbers)));
  await queue.close();
}

const [mode, ...numbers] = process.argv.slice(2);
if (mode === 'worker') work(); else produce(mode, numbers.map(Number));
