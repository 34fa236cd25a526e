/** The leak scanner must bite: every form is found in every kind of place, and a clean place stays clean. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { everyForm } from './fake-api.ts';
import { canary, type LeakForm, scanForLeaks } from './leaks.ts';

const token = canary('token', '"\\/+ %é');
const plain = canary('plain');

const forms = (text: string | Uint8Array, of = token): LeakForm[] =>
  scanForLeaks([of], { texts: [text] }).map(({ form }) => form);

const escapeAll = (text: string, upper = false) =>
  [...text]
    .map((char) => {
      const hex = char.charCodeAt(0).toString(16).padStart(4, '0');
      return `\\u${upper ? hex.toUpperCase() : hex}`;
    })
    .join('');

test('finds every form', () => {
  const { value } = token;
  assert.deepEqual(forms(`x${value}y`), ['raw']);
  for (const pad of ['', 'a', 'ab']) {
    const encoded = Buffer.from(`${pad}${value}z`);
    assert.deepEqual(forms(encoded.toString('base64')), ['base64'], `base64 after ${pad.length}`);
    assert.deepEqual(forms(encoded.toString('base64url')), ['base64'], `base64url after ${pad.length}`);
  }
  const wrapped = Buffer.from(value).toString('base64').replace(/.{10}/g, '$&\r\n');
  assert.deepEqual(forms(wrapped), ['base64']);
  assert.deepEqual(forms(JSON.stringify({ mime: wrapped })), ['base64']);
  const hex = Buffer.from(value).toString('hex');
  assert.deepEqual(forms(hex), ['hex']);
  assert.deepEqual(forms(hex.toUpperCase()), ['hex']);
  assert.deepEqual(forms(hex.replace(/../g, '$&:')), ['hex']);
  assert.deepEqual(forms(encodeURIComponent(value)), ['percent']);
  assert.deepEqual(forms(encodeURIComponent(encodeURIComponent(value))), ['percent']);
  assert.deepEqual(forms(hex.replace(/../g, '%$&')), ['percent']);
  assert.deepEqual(forms(JSON.stringify({ value })), ['json']);
  assert.deepEqual(forms(JSON.stringify(JSON.stringify({ value }))), ['json']);
  assert.deepEqual(forms(escapeAll(value)), ['json']);
  assert.deepEqual(forms(escapeAll(value, true)), ['json']);
  assert.deepEqual(forms(escapeAll(plain.value), plain), ['json']);
  assert.deepEqual(forms(Buffer.from(`\0\xff${value}\0`)), ['raw']);
});

test('finds what the hostile API and leaky server say', () => {
  for (const form of everyForm(plain.value).split(' ')) assert.equal(forms(form, plain).length, 1);
});

test('stays quiet about what is clean', () => {
  assert.deepEqual(forms(everyForm(canary('token').value)), []);
  assert.deepEqual(forms(token.value.slice(0, -1)), []);
  assert.deepEqual(forms(''), []);
});

test('looks into files, names and links below a directory', () => {
  const root = mkdtempSync(join(tmpdir(), 'ostiary-leaks-'));
  try {
    assert.deepEqual(scanForLeaks([plain], { files: [root] }), []);
    mkdirSync(join(root, 'a', 'b'), { recursive: true });
    writeFileSync(join(root, 'a', 'b', 'log'), `before ${Buffer.from(plain.value).toString('hex')}`);
    writeFileSync(join(root, `cache-${plain.value}`), '');
    symlinkSync(`/nowhere/${plain.value}`, join(root, 'link'));
    const found = scanForLeaks([token, plain], { files: [root] });
    assert.deepEqual(new Set(found.map(({ form }) => form)), new Set(['hex', 'raw']));
    assert.equal(found.length, 3);
    assert.ok(found.every((leak) => leak.canary === 'plain'));
  } finally {
    rmSync(root, { recursive: true });
  }
});

test('looks into environment and arguments of a process and its descendants', {
  skip: process.platform !== 'linux' && 'needs /proc',
}, async () => {
  const idle = 'console.log(1); setTimeout(() => {}, 20000)';
  const parent = `require('child_process').spawn(process.execPath, ['-e', ${JSON.stringify(idle)}], { stdio: 'inherit', env: { T: ${JSON.stringify(plain.value)} } })`;
  const child = spawn(process.execPath, ['-e', parent], {
    env: {},
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  try {
    await once(child.stdout, 'data');
    const pid = child.pid as number;
    const places = scanForLeaks([plain], { pids: [pid] }).map(({ place }) => place);
    assert.ok(places.includes(`/proc/${pid}/cmdline`), 'the parent has it in its arguments');
    assert.ok(
      places.some((place) => place.endsWith('/environ') && place !== `/proc/${pid}/environ`),
      'the grandchild has it in its environment',
    );
  } finally {
    process.kill(-(child.pid as number), 'SIGKILL');
  }
});

test('refuses to prove nothing', () => {
  assert.throws(() => scanForLeaks([], { texts: ['x'] }), /no canaries/);
  assert.throws(() => scanForLeaks([plain], { files: ['/nonexistent'] }), /ENOENT/);
  assert.throws(() => scanForLeaks([plain], { pids: [2 ** 22 + 1] }), /not there/);
  assert.throws(() => scanForLeaks([{ name: 'short', value: 'abc' }], { texts: ['x'] }), /too short/);
});
