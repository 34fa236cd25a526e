import assert from 'node:assert/strict';
import { test } from 'node:test';
import { coalesce, findRow } from '../../src/os/proc-net-tcp.ts';
import { askSockDiag, decodeAnswer, encodeRequest } from '../../src/os/sock-diag.ts';
import type { Connection } from '../../src/os/tcp.ts';

const loopback = Buffer.from([127, 0, 0, 1]);
const connection: Connection = {
  peer: { address: loopback, port: 0xa1b2 },
  ours: { address: loopback, port: 0x1f90 },
};

function answer(): Buffer {
  const message = Buffer.alloc(88);
  message.writeUInt32LE(88, 0);
  message.writeUInt16LE(20, 4);
  message.writeUInt32LE(7, 8);
  message[17] = 1;
  message.writeUInt16BE(0xa1b2, 20);
  message.writeUInt16BE(0x1f90, 22);
  message.writeUInt32LE(2001, 80);
  message.writeUInt32LE(4711, 84);
  return message;
}

const row = { state: 1, sourcePort: 0xa1b2, destinationPort: 0x1f90, uid: 2001, inode: 4711 };

test('a netlink answer is read', () => {
  assert.deepEqual(decodeAnswer(answer(), 7), row);
});

test('netlink errors, cut messages and answers to other requests are nothing', () => {
  const error = answer();
  error.writeUInt16LE(2, 4);
  const longer = answer();
  longer.writeUInt32LE(89, 0);
  const shorter = answer();
  shorter.writeUInt32LE(87, 0);
  for (const bad of [error, longer, shorter, answer().subarray(0, 87), Buffer.alloc(0), Buffer.alloc(36)])
    assert.equal(decodeAnswer(bad, 7), null);
  assert.equal(decodeAnswer(answer(), 8), null);
});

test('a request names both ends, and no cookie', () => {
  const request = encodeRequest(connection, 7);
  assert.equal(request.length, 72);
  assert.equal(request.subarray(24, 32).toString('hex'), 'a1b21f907f000001');
  assert.equal(request.subarray(64).toString('hex'), 'ffffffffffffffff');
});

test('an address that nobody uses is nothing', {
  skip: process.platform === 'linux' ? false : 'Linux only',
}, () => {
  const peer = { address: Buffer.from([127, 9, 9, 9]), port: 1 };
  assert.equal(askSockDiag({ peer, ours: { address: loopback, port: 1 } }), null);
});

const HEAD =
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';

function line(
  local: string,
  remote: string,
  rest = '01 00000000:00000000 00:00000000 00000000  2001        0 4711 1',
): string {
  return `   0: ${local} ${remote} ${rest} 0000000000000000 20 4 30 10 -1\n`;
}

const MAPPED = '0000000000000000FFFF0000';

test('a row is found by both ends, in tcp and v4-mapped in tcp6', () => {
  assert.deepEqual(findRow(HEAD + line('0100007F:A1B2', '0100007F:1F90'), connection), row);
  assert.deepEqual(findRow(line(`${MAPPED}0100007F:A1B2`, `${MAPPED}0100007F:1F90`), connection), row);
});

test('our own side, other ports and cut rows are nothing', () => {
  const whole = line('0100007F:A1B2', '0100007F:1F90');
  assert.equal(findRow(line('0100007F:1F90', '0100007F:A1B2'), connection), null);
  assert.equal(findRow(line('0100007F:A1B2', '0100007F:1F91'), connection), null);
  assert.equal(findRow(line('0100007F:A1B2', '00000000:0000', '0A'), connection), null);
  assert.equal(findRow(whole.slice(0, 60), connection), null);
  assert.equal(findRow('', connection), null);
});

test('the state of a row is kept for the judge', () => {
  const rest = '06 00000000:00000000 03:000005AE 00000000     0        0 0 3';
  assert.deepEqual(findRow(line('0100007F:A1B2', '0100007F:1F90', rest), connection), {
    ...row,
    state: 6,
    uid: 0,
    inode: 0,
  });
});

test('B5: one scan serves the connections accepted before it began, never a later one', async () => {
  const scans: ((result: string) => void)[] = [];
  const begun: (() => void)[] = [];
  const ask = coalesce(() => {
    begun.shift()?.();
    return new Promise<string>((resolve) => scans.push(resolve));
  }, 0);
  const began = () => new Promise<void>((resolve) => begun.push(resolve));

  const firstBegan = began();
  const first = [ask(), ask()];
  await firstBegan;
  const secondBegan = began();
  const second = [ask(), ask()];
  assert.equal(scans.length, 1);
  scans[0]?.('first');
  assert.deepEqual(await Promise.all(first), ['first', 'first']);
  await secondBegan;
  scans[1]?.('second');
  assert.deepEqual(await Promise.all(second), ['second', 'second']);
  assert.equal(scans.length, 2);
});

test('a scan that fails does not stop the next', async () => {
  let scans = 0;
  const ask = coalesce(async () => {
    scans += 1;
    if (scans === 1) throw new Error('no table');
    return scans;
  }, 0);
  await assert.rejects(ask());
  assert.equal(await ask(), 2);
});
