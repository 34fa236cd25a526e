/** The parser of server-sent events: by the standard, whatever the chunks, in bounded memory. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { limits } from '../../src/limits.ts';
import { EventStream } from '../../src/upstreams/http/event-stream.ts';
import { processorMs } from '../support/processor.ts';

interface Read {
  readonly events: [type: string, data: string][];
  readonly heads: string[];
  readonly lastEventId: string;
  readonly retryMs: number | null;
}

function read(chunks: readonly (string | Buffer)[], maxBytes = 1 << 20): Read {
  const events: [string, string][] = [];
  const heads: string[] = [];
  const stream = new EventStream({
    maxBytes,
    onEvent: ({ type, data }) => events.push([type, data.toString()]),
    onOversize: (head) => heads.push(head.toString()),
  });
  for (const chunk of chunks) stream.push(Buffer.from(chunk as string));
  return { events, heads, lastEventId: stream.lastEventId, retryMs: stream.retryMs };
}

const one = (text: string) => read([text]).events;

test('fields, comments, types and line ends, by the HTML Standard', () => {
  assert.deepEqual(one('data: a\n\n'), [['message', 'a']]);
  assert.deepEqual(one('data:a\n\ndata:  b\n\n'), [
    ['message', 'a'],
    ['message', ' b'],
  ]);
  assert.deepEqual(one('data: a\ndata\ndata: b\n\n'), [['message', 'a\n\nb']]);
  assert.deepEqual(one('data\n\ndata\ndata\n\ndata:'), [
    ['message', ''],
    ['message', '\n'],
  ]);
  assert.deepEqual(one('event: x\ndata: a\n\ndata: b\n\n'), [
    ['x', 'a'],
    ['message', 'b'],
  ]);
  assert.deepEqual(one('event: x\n\ndata: b\n\n'), [['message', 'b']]);
  assert.deepEqual(one(': data: a\n:\n\nDATA: b\ndatax: c\n data: d\n\n'), []);
  assert.deepEqual(one('data: a\rdata: b\r\rdata: c\r\n\r\ndata: d\n\r'), [
    ['message', 'a\nb'],
    ['message', 'c'],
    ['message', 'd'],
  ]);
  assert.deepEqual(one('\ufeffdata: a\n\n\ufeffdata: b\n\n'), [['message', 'a']]);
  assert.deepEqual(one('data: cut'), []);
});

test('ids and retry', () => {
  const idOf = (text: string) => read([text]).lastEventId;
  assert.equal(idOf('id: 1\ndata: a\n\n'), '1');
  assert.equal(idOf('id: 1\ndata: a\n\ndata: b\n\n'), '1');
  assert.equal(idOf('id: 1\n\n'), '1', 'without data too');
  assert.equal(idOf('id: 1\ndata: a\n\nid: 2\ndata: cut'), '1', 'of whole events only');
  assert.equal(idOf('id: 1\n\nid\n\n'), '');
  assert.equal(idOf('id: 1\n\nid: a\0b\n\n'), '1');
  assert.equal(idOf('id: 1\n\nid: ü\n\n'), '', 'no id that is no header value');
  assert.equal(idOf(`id: ${'a'.repeat(limits.eventIdBytes + 1)}\n\n`), '');
  const retryOf = (text: string) => read([text]).retryMs;
  assert.equal(retryOf('retry: 250\n\n'), 250);
  for (const bad of ['', 'x', '-1', '1.5', '0x10', '1e3', '9'.repeat(40)])
    assert.equal(retryOf(`retry: ${bad}\n\n`), null);
});

test('F4 an event that is too long is reported once and skipped', () => {
  const long = 'x'.repeat(100);
  const after = 'id: 9\ndata: ok\n\n';
  assert.deepEqual(read([`data: ${long}\n\n${after}`], 50), {
    events: [['message', 'ok']],
    heads: [` ${long}`],
    lastEventId: '9',
    retryMs: null,
  });
  const lines = read([`data: ${'y'.repeat(40)}\ndata: ${'z'.repeat(40)}\ndata: more\n\n${after}`], 60);
  assert.deepEqual(lines.heads, ['y'.repeat(40)]);
  assert.deepEqual(lines.events, [['message', 'ok']]);
  assert.deepEqual(read([`:${long}\n${long}: a\n\n${after}`], 50).events, [['message', 'ok']]);
});

test('F4 memory and time stay bounded', () => {
  let events = 0;
  const stream = new EventStream({ maxBytes: 1 << 20, onEvent: () => events++, onOversize: () => {} });
  const feed = (text: string, times: number): void => {
    const chunk = Buffer.from(text);
    for (let fed = 0; fed < times; fed++) stream.push(chunk);
  };
  const before = process.memoryUsage().rss;
  const started = processorMs();
  feed('x'.repeat(1 << 16), 512);
  feed(`\n\n${': '.repeat(1 << 15)}`, 512);
  feed('\n\n\n\n:\n\n\r\r\r\n\r', 10_000);
  feed('data:\n', 300_000);
  feed('\nid: 1\n', 100_000);
  feed('d', 100_000);
  assert.ok(process.memoryUsage().rss - before < 200 << 20, 'memory');
  assert.ok(processorMs() - started < 20_000, 'time');
  feed('\n\ndata: a\n\n', 1);
  assert.ok(events >= 1);
});

test('nothing is reported after close, also of the chunk at hand', () => {
  const seen: string[] = [];
  const stream: EventStream = new EventStream({
    maxBytes: 100,
    onEvent: ({ data }) => {
      seen.push(data.toString());
      stream.close();
    },
    onOversize: () => assert.fail(),
  });
  stream.push(Buffer.from('data: a\n\ndata: b\n\n'));
  stream.push(Buffer.from('data: c\n\n'));
  assert.deepEqual(seen, ['a']);
});

const bytes = fc
  .array(
    fc.constantFrom(
      'data',
      'id',
      'event',
      'retry',
      ':',
      ' ',
      '\n',
      '\r',
      '\r\n',
      '\n\n',
      'x',
      'é☃',
      '\0',
      '\ufeff',
      '12',
    ),
    { maxLength: 60 },
  )
  .map((parts) => Buffer.from(parts.join('')));

/** The chunks of `whole`, cut at `cuts`. */
function cut(whole: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...new Set([0, ...cuts.map((at) => at % (whole.length + 1)), whole.length])].sort(
    (a, b) => a - b,
  );
  return places.slice(1).map((end, index) => whole.subarray(places[index], end));
}

test('it does not matter where the chunks are cut', () => {
  fc.assert(
    fc.property(
      bytes,
      fc.array(fc.nat(), { maxLength: 12 }),
      fc.constantFrom(5, 12, 1000),
      (whole, cuts, max) => {
        const cutUp = read(cut(whole, cuts), max);
        const bytewise = read(
          [...whole].map((byte) => Buffer.from([byte])),
          max,
        );
        const atOnce = read([whole], max);
        // The head of what is too long ends where it was noticed; everything else is the same.
        for (const other of [cutUp, bytewise]) {
          assert.deepEqual(
            { ...other, heads: other.heads.length },
            { ...atOnce, heads: atOnce.heads.length },
          );
        }
      },
    ),
    { numRuns: 2000 },
  );
});

/** The standard's own words, on text. */
function naive(text: string): [string, string][] {
  const events: [string, string][] = [];
  let type = '';
  let data: string[] = [];
  const lines = text.replace(/^\ufeff/, '').split(/\r\n|\r|\n/);
  for (const line of lines.slice(0, -1)) {
    if (line === '') {
      if (data.length > 0) events.push([type === '' ? 'message' : type, data.join('\n')]);
      type = '';
      data = [];
      continue;
    }
    const [, name = '', value = ''] = /^([^:]*)(?:: ?([\s\S]*))?$/.exec(line) ?? [];
    if (name === 'data') data.push(value);
    if (name === 'event') type = value;
  }
  return events;
}

test('it reads what the standard says', () => {
  fc.assert(
    fc.property(bytes, (whole) => {
      const text = whole.toString();
      // A lone trailing CR may be half of a CRLF, but ends its line all the same.
      assert.deepEqual(read([whole]).events, naive(text));
    }),
    { numRuns: 3000 },
  );
});
