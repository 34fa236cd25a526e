import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LineFramer } from '../src/lines.ts';

interface Framed {
  readonly lines: string[];
  readonly heads: string[];
  readonly cuts: boolean[];
}

function frame(chunks: readonly Buffer[], maxBytes: number, mode: 'drop' | 'cut' = 'drop'): Framed {
  const framed: Framed = { lines: [], heads: [], cuts: [] };
  const framer = new LineFramer({
    maxBytes,
    onLine: (line, goesOn) => {
      framed.lines.push(line.toString('latin1'));
      framed.cuts.push(goesOn);
    },
    onOversize: mode === 'cut' ? 'cut' : (head) => framed.heads.push(head.toString('latin1')),
  });
  for (const chunk of chunks) framer.push(chunk);
  framer.end();
  return framed;
}

function chunked(data: Buffer, cutsAt: readonly number[]): Buffer[] {
  const cuts = [...cutsAt.map((cut) => cut % (data.length + 1)), 0, data.length].sort((a, b) => a - b);
  return cuts.slice(1).map((end, index) => data.subarray(cuts[index] ?? 0, end));
}

const output = fc
  .array(
    fc.oneof(
      fc.constantFrom('\n', '\r\n', '\r', '\n\n', 'x'),
      fc.string({ maxLength: 40 }),
      fc.integer({ min: 1, max: 300 }).map((n) => 'y'.repeat(n)),
    ),
    { maxLength: 40 },
  )
  .map((parts) => Buffer.from(parts.join('')));
const cuts = fc.array(fc.nat(10_000), { maxLength: 60 });

test('framer: whatever the chunks, the lines are those of the whole', () => {
  fc.assert(
    fc.property(output, cuts, fc.integer({ min: 1, max: 200 }), (data, at, maxBytes) => {
      const split = data.toString('latin1').split('\n');
      const expected = split
        .filter((line) => line.length <= maxBytes)
        .map((line) => line.replace(/\r$/, ''))
        .filter((line) => line !== '');
      const tooLong = split.filter((line) => line.length > maxBytes).map((line) => line.slice(0, maxBytes));
      const framed = frame(chunked(data, at), maxBytes);
      assert.deepEqual(framed.lines, expected);
      assert.deepEqual(framed.heads, tooLong);
    }),
    { numRuns: 1000 },
  );
});

test('framer: cutting loses no byte and no piece is longer than allowed, whatever the chunks', () => {
  fc.assert(
    fc.property(output, cuts, fc.integer({ min: 1, max: 50 }), (data, at, maxBytes) => {
      const whole = frame([data], maxBytes, 'cut');
      assert.deepEqual(frame(chunked(data, at), maxBytes, 'cut'), whole);
      assert.ok(whole.lines.every((line) => line.length <= maxBytes));
      const text = data.toString('latin1');
      if (!text.includes('\r')) assert.equal(whole.lines.join(''), text.replaceAll('\n', ''));
    }),
    { numRuns: 1000 },
  );
});

test('framer: a cut line says that it goes on', () => {
  assert.deepEqual(frame([Buffer.from('aaaabbbbcc\ndd\n')], 4, 'cut'), {
    lines: ['aaaa', 'bbbb', 'cc', 'dd'],
    heads: [],
    cuts: [true, true, false, false],
  });
});

test('framer: a line within one chunk is not copied', () => {
  const chunk = Buffer.from('{"id":1}\n{"id":2}\r\n');
  const offsets: number[] = [];
  const framer = new LineFramer({
    maxBytes: 100,
    onLine: (line) => {
      assert.equal(line.buffer, chunk.buffer);
      offsets.push(line.byteOffset - chunk.byteOffset);
    },
    onOversize: () => assert.fail('not too long'),
  });
  framer.push(chunk);
  assert.deepEqual(offsets, [0, 9]);
});

test('framer: lines of megabytes in pipe-sized chunks arrive whole', () => {
  const long = Buffer.alloc(9 * 1024 * 1024, 'abcdefg');
  const data = Buffer.concat([Buffer.from('first\n'), long, Buffer.from('\r\nlast')]);
  const chunks: Buffer[] = [];
  for (let at = 0; at < data.length; at += 65_536) chunks.push(data.subarray(at, at + 65_536));
  const framed = frame(chunks, 16 * 1024 * 1024);
  assert.deepEqual(framed.lines.length, 3);
  assert.ok(framed.lines[1] === long.toString('latin1'));
  assert.equal(framed.lines[2], 'last');
});

test('framer: time grows with the bytes, not with their square', () => {
  const spent = (bytes: number): number => {
    const started = performance.now();
    const framer = new LineFramer({ maxBytes: 1 << 30, onLine: () => {}, onOversize: () => {} });
    const chunk = Buffer.alloc(4096, 'x');
    for (let sent = 0; sent < bytes; sent += chunk.length) framer.push(chunk);
    framer.end();
    return performance.now() - started;
  };
  spent(1 << 20);
  const small = Math.max(spent(4 << 20), 5);
  // 16 times the bytes; quadratic would be 256 times the time.
  assert.ok(spent(64 << 20) < 100 * small);
});

test('F4 framer: an endless line is reported once, early, in bounded memory; the next line is read', () => {
  const heads: Buffer[] = [];
  const lines: string[] = [];
  const framer = new LineFramer({
    maxBytes: 1 << 20,
    onLine: (line) => lines.push(line.toString()),
    onOversize: (head) => heads.push(head),
  });
  const chunk = Buffer.alloc(65_536, 'z');
  const before = process.memoryUsage().arrayBuffers;
  framer.push(Buffer.from('{"jsonrpc":"2.0","id":7,"result":"'));
  for (let sent = 0; sent < 17; sent++) framer.push(chunk);
  assert.equal(heads.length, 1, 'reported before the line ends');
  for (let sent = 0; sent < 4096; sent++) framer.push(chunk);
  assert.ok(process.memoryUsage().arrayBuffers - before < 8 << 20);
  framer.push(Buffer.from('tail"}\n{"id":8}\n'));
  assert.equal(heads.length, 1);
  assert.equal(heads[0]?.length, 65_536);
  assert.ok(heads[0]?.buffer.byteLength === 65_536, 'the head does not keep the dropped line alive');
  assert.match(heads[0]?.toString() ?? '', /^\{"jsonrpc":"2.0","id":7/);
  assert.deepEqual(lines, ['{"id":8}']);
});

test('F4 framer: a line dribbled byte by byte costs its bytes, not an object for each', () => {
  const framer = new LineFramer({ maxBytes: 4 << 20, onLine: () => {}, onOversize: () => {} });
  const before = process.memoryUsage();
  const chunk = Buffer.alloc(1, 'd');
  for (let sent = 0; sent < 2 << 20; sent++) framer.push(chunk);
  const after = process.memoryUsage();
  assert.ok(after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers < 48 << 20);
});
