/** The way to D-Bus, and its messages, from whoever they come. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { busAddress } from '../../src/credentials/keychain/bus-address.ts';
import { decodeMessage, encodeCall, messageLength } from '../../src/credentials/keychain/bus-message.ts';

describe('the address of the bus', () => {
  const of = (address: string) => busAddress({ DBUS_SESSION_BUS_ADDRESS: address, XDG_RUNTIME_DIR: '/run' });

  for (const [address, path, text] of [
    ['unix:path=/run/user/1/bus', '/run/user/1/bus', 'unix:path=/run/user/1/bus'],
    ['unix:path=/tmp/dbus-x,guid=0123', '/tmp/dbus-x', 'unix:path=/tmp/dbus-x'],
    ['unix:guid=0123,path=/tmp/dbus-x', '/tmp/dbus-x', 'unix:path=/tmp/dbus-x'],
    ['unix:abstract=/tmp/dbus-x', '\0/tmp/dbus-x', 'unix:abstract=/tmp/dbus-x'],
    ['tcp:host=x,port=1;unix:path=/b;unix:path=/c', '/b', 'unix:path=/b'],
    ['unix:path=/a%20b%c3%a9', '/a bé', 'unix:path=/a%20b%c3%a9'],
    ['unix:path=/a%2cb', '/a,b', 'unix:path=/a%2cb'],
  ] as const)
    test(`is taken: ${address}`, () => assert.deepEqual(of(address), { path, text }));

  for (const address of [
    'unixexec:path=/bin/sh',
    'unixexec:path=/bin/sh,unix:path=/x',
    'tcp:host=127.0.0.1,port=1',
    'nonce-tcp:host=127.0.0.1,port=1,noncefile=/x',
    'autolaunch:',
    'launchd:env=X',
    'unix:path=relative',
    'unix:path=',
    'unix:path=/a%00b',
    'unix:path=/a%zz',
    'unix:path=/a b',
    'unix:tmpdir=/tmp',
    'nonsense',
    ';',
  ])
    test(`I1 is refused, without a look elsewhere: ${address}`, () => assert.equal(of(address), null));

  test('is in XDG_RUNTIME_DIR where none is given', () => {
    const expected = { path: '/run/user/1 2/bus', text: 'unix:path=/run/user/1%202/bus' };
    assert.deepEqual(busAddress({ XDG_RUNTIME_DIR: '/run/user/1 2' }), expected);
    assert.deepEqual(
      busAddress({ XDG_RUNTIME_DIR: '/run/user/1 2', DBUS_SESSION_BUS_ADDRESS: '' }),
      expected,
    );
    assert.equal(busAddress({}), null);
    assert.equal(busAddress({ XDG_RUNTIME_DIR: 'run' }), null);
  });

  test('reads the same when it is given on', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 60 }), (name) => {
        fc.pre(!name.includes('\0'));
        const first = busAddress({ XDG_RUNTIME_DIR: `/${name}` });
        assert.ok(first !== null);
        assert.deepEqual(of(first.text), first);
      }),
    );
  });
});

describe('messages of the bus', () => {
  const call = encodeCall(7, {
    destination: 'org.freedesktop.secrets',
    path: '/org/freedesktop/secrets',
    interface: 'org.freedesktop.Secret.Service',
    member: 'SearchItems',
    arguments: [['a{ss}', { service: 'ostiary', username: 'é' }]],
  });

  test('that we send are whole, and say who is asked what', () => {
    assert.equal(messageLength(call), call.length);
    for (let length = 0; length < 16; length++) assert.equal(messageLength(call.subarray(0, length)), null);
    assert.ok(call.includes('SearchItems\0'));
    assert.equal(decodeMessage(call).kind, 'other');
  });

  test('that are anything else are refused, whatever they are', () => {
    const refuses = (bytes: Buffer): void => {
      try {
        const length = messageLength(bytes);
        if (length === null || length > bytes.length) return;
        const { body } = decodeMessage(bytes.subarray(0, length));
        while (!body.done) body.texts();
      } catch (error) {
        assert.ok(error instanceof RangeError, String(error));
      }
    };
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => refuses(Buffer.from([0x6c, ...bytes]))),
      { numRuns: 2000 },
    );
    // One of ours with some bytes changed.
    const change = fc.tuple(fc.nat(call.length - 1), fc.nat(255));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        const bytes = Buffer.from(call);
        for (const [at, value] of changes) bytes[at] = value;
        refuses(bytes);
      }),
      { numRuns: 5000 },
    );
  });

  test('that announce more than a MiB are refused before it comes', () => {
    const bytes = Buffer.from(call);
    bytes.writeUInt32LE(0x7fffffff, 4);
    assert.throws(() => messageLength(bytes), RangeError);
    const header = Buffer.from(call);
    header.writeUInt32LE(0xffffffff, 12);
    assert.throws(() => messageLength(header), RangeError);
  });
});
