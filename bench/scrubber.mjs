/**
 * What redaction costs by itself: one message of a megabyte, searched for the secrets of 1 to 200 credentials, beside one
 * native search of the same bytes for one pattern.
 *
 * Run after `npm run modules`: node bench/scrubber.mjs
 */
import { randomBytes } from 'node:crypto';
import { Scrubber } from '../build/src/credentials/scrubber.js';
import { Secret } from '../build/src/credentials/secret.js';
import { quantile } from './lib/stats.mjs';

const COUNTS = [1, 10, 50, 200];
const MIB = 1024 * 1024;
const words = 'the build of main failed after twelve minutes because a test of the parser did not end'.split(
  ' ',
);
const pick = (list) => list[Math.floor(Math.random() * list.length)];

const fill = (make) => {
  let text = '';
  while (text.length < MIB) text += make();
  return text.slice(0, MIB);
};
const message = (text) =>
  Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: 1, result: { content: [{ type: 'text', text }] } }));
const sentence = () => `${Array.from({ length: 14 }, () => pick(words)).join(' ')}. `;
const row = () => ({ id: Math.floor(Math.random() * 1e9), name: pick(words), title: sentence(), open: true });

const secretOf = (bytes) => `canary-${randomBytes(bytes).toString('base64url')}`;
const sealed = (values) => values.map((value, index) => Secret.seal(`vault:s${index}`, Buffer.from(value)));

function scrubberOf(secrets) {
  const scrubber = new Scrubber();
  for (const secret of secrets) scrubber.add(secret);
  return scrubber;
}

/** Median of microseconds. */
function time(act, { least = 25, ms = 400 } = {}) {
  for (let i = 0; i < 10; i++) act();
  const durations = [];
  for (let spent = 0; spent < ms || durations.length < least; ) {
    const start = performance.now();
    act();
    durations.push((performance.now() - start) * 1000);
    spent += durations.at(-1) / 1000;
  }
  return quantile(durations, 0.5);
}

const values = Array.from({ length: Math.max(...COUNTS) }, () => secretOf(24));
const texts = {
  'prose, one text': message(fill(sentence)),
  'log, a line break every 80 bytes': message(fill(() => `${sentence().slice(0, 79)}\n`)),
  'JSON in a text': message(fill(() => JSON.stringify(row()))),
  'JSON, pretty, in a text': message(fill(() => JSON.stringify(row(), null, 2))),
  'structured content': Buffer.from(
    JSON.stringify({ rows: Array.from({ length: 6000 }, row) }).slice(0, MIB),
  ),
  'HTML with entities and URLs': message(
    fill(
      () => `<a href="/x?q=${encodeURIComponent(sentence())}&amp;p=1">${pick(words)}&nbsp;</a> ${sentence()}`,
    ),
  ),
  'base64 blob': message(randomBytes((MIB * 3) / 4).toString('base64')),
  'short answer, 300 bytes': message(sentence().repeat(2)),
};

const table = [['', 'one `includes`', ...COUNTS.map((n) => `${n}`), '50, one of 8 bytes']];
for (const [name, text] of Object.entries(texts)) {
  const native = time(() => text.includes('canary-of-no-text-here'));
  const columns = COUNTS.map((n) => scrubberOf(sealed(values.slice(0, n))));
  columns.push(scrubberOf(sealed([...values.slice(0, 49), 'canary-8'])));
  const show = (µs) => (µs >= 100 ? `${(µs / 1000).toFixed(2)} ms` : `${µs.toFixed(2)} µs`);
  const times = columns.map((scrubber) => {
    if (scrubber.scrubJson(text).outcome !== 'clean') throw new Error(`found in ${name}`);
    return show(time(() => scrubber.scrubJson(text)));
  });
  table.push([name, show(native), ...times]);
}
for (const row of table) console.log(`| ${row.join(' | ')} |`);

const fifty = sealed(values.slice(0, 50));
const scrubber = scrubberOf(fifty);
const hits = message(fill(() => `${sentence()}${pick(values.slice(0, 50))} `));
console.log(
  `hit-rich, ${scrubber.scrubJson(hits).outcome}: ${(time(() => scrubber.scrubJson(hits), { least: 5 }) / 1000).toFixed(1)} ms`,
);
console.log(`adding 50 secrets: ${(time(() => scrubberOf(fifty), { least: 5 }) / 1000).toFixed(1)} ms`);
const big = sealed([randomBytes(48 * 1024).toString('base64')]);
const kept = time(() => scrubberOf(big), { least: 5 });
console.log(`adding one of 64 KB: ${(kept / 1000).toFixed(1)} ms`);
