import assert from 'node:assert/strict';
import { test } from 'node:test';
import { logWriter } from '../src/cli/log-output.ts';
import { Throttle } from '../src/throttle.ts';

test('F4 a throttle lets a burst through, then so much in each second, and counts the rest', () => {
  let now = 0;
  const throttle = new Throttle({ burst: 100, perSecond: 10 }, () => now);
  assert.deepEqual([throttle.pass(60), throttle.pass(60)], [0, 0]);
  assert.deepEqual([throttle.pass(1), throttle.pass(1)], [null, null]);
  now += 1_000;
  assert.equal(throttle.pass(1), null, 'what was taken beyond the burst is paid back first');
  now += 1_001;
  assert.equal(throttle.pass(5), 3);
  assert.equal(throttle.pass(0), null);
  now += 3_600_000;
  assert.deepEqual([throttle.pass(100), throttle.pass(1)], [1, null], 'no more than the burst is saved up');
});

/** Takes `room` bytes, then fails as a full pipe does. */
function full(): { write(descriptor: number, bytes: Buffer): number; room: number; written: string } {
  return {
    room: 0,
    written: '',
    write(_descriptor, bytes) {
      const taken = bytes.subarray(0, this.room);
      if (taken.length === 0) throw Object.assign(new Error('full'), { code: 'EAGAIN' });
      this.room -= taken.length;
      this.written += taken.toString();
      return taken.length;
    },
  };
}

test('F4 a log that takes nothing costs its lines alone, and says how many', () => {
  const sink = full();
  const write = logWriter(2, (descriptor, bytes) => sink.write(descriptor, bytes));
  sink.room = 4;
  write('1\n');
  write('one\n');
  write('two\n');
  sink.room = 1_000;
  write('three\n');
  assert.equal(sink.written, '1\non\n{"msg":"the log was full","lostLines":2}\nthree\n');
  write('four\n');
  assert.match(sink.written, /three\nfour\n$/);
});
