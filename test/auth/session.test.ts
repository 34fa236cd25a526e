import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Caller, type Claim, type Peer, type Session, Sessions } from '../../src/auth/session.ts';
import { isRefusal, type Refusal, type RefusalCode } from '../../src/errors.ts';
import { limits } from '../../src/limits.ts';
import type { Enclosure } from '../../src/os/index.ts';

const peer = (uid: number, via: Peer['via'] = 'tcp'): Peer => ({ uid, pid: null, via });
const token = (value: string | null): Claim => ({ by: 'token', authorization: [`Bearer ${value}`] });
const socket = ({ id }: Session): Claim => ({ by: 'socket', session: id });

function setUp() {
  const clock = { now: 1_000_000 };
  const ended: [string, string][] = [];
  const sessions = new Sessions({
    now: () => clock.now,
    onEnd: ({ id }, reason) => ended.push([id, reason]),
  });
  const open = (uid = 1000, leased = false): Session => {
    const session = sessions.create({ profile: 'p', uid, label: 'l', leased });
    if (isRefusal(session)) throw new Error(session.reason);
    return session;
  };
  return { clock, ended, sessions, open };
}

function refused(verdict: Caller | Refusal, code: RefusalCode): void {
  assert.ok(isRefusal(verdict), 'a caller was made');
  assert.equal(verdict.refused, code);
}

test('a session is reached by its socket or its token, by its uid', () => {
  const { sessions, open } = setUp();
  const session = open();
  for (const claim of [socket(session), token(sessions.mintToken(session.id))]) {
    const caller = sessions.identify(peer(1000), claim);
    assert.ok(!isRefusal(caller));
    assert.equal(caller.session, session);
    assert.ok(Object.isFrozen(caller.session));
  }
});

test('B4 A17: an unknown peer and every other uid are refused, root too', () => {
  const { sessions, open } = setUp();
  const session = open();
  for (const claim of [socket(session), token(sessions.mintToken(session.id))]) {
    refused(sessions.identify(null, claim), 'peer_refused');
    for (const uid of [0, 999, 1001, 65_534, -1, Number.NaN])
      refused(sessions.identify(peer(uid), claim), 'peer_refused');
  }
});

test('B3: one header of one form', () => {
  const { sessions, open } = setUp();
  const value = sessions.mintToken(open().id);
  const ask = (...authorization: string[]) => sessions.identify(peer(1000), { by: 'token', authorization });
  assert.ok(!isRefusal(ask(`bEaReR ${value}`)));
  for (const form of [
    [],
    [''],
    [`${value}`],
    [`Bearer ${value} `],
    [` Bearer ${value}`],
    [`Bearer  ${value}`],
    [`Bearer ${value}\n`],
    [`Bearer ${value}`, `Bearer ${value}`],
    [`Basic ${value}`],
  ])
    refused(ask(...form), 'unauthenticated');
});

test('a token has 256 bits of randomness and is not kept', () => {
  const asked: number[] = [];
  const sessions = new Sessions({
    random: (bytes) => {
      asked.push(bytes);
      return Buffer.alloc(bytes, asked.length);
    },
    onEnd: () => {},
  });
  const session = sessions.create({ profile: 'p', uid: 1, label: '', leased: false });
  if (isRefusal(session)) throw new Error(session.reason);
  const value = sessions.mintToken(session.id) as string;
  assert.deepEqual(asked, [16, 32]);
  assert.equal(value.length, 43);
  assert.ok(!JSON.stringify(sessions.list()).includes(value));
});

test('B4: the end of a session is the end of its tokens and its socket, and is told once', () => {
  const { sessions, open, ended } = setUp();
  const session = open();
  const values = [sessions.mintToken(session.id), sessions.mintToken(session.id)];
  const other = open();
  const release = sessions.hold(session.id);
  assert.equal(sessions.end(session.id, 'why'), true);
  assert.equal(sessions.end(session.id, 'again'), false);
  release();
  assert.deepEqual(ended, [[session.id, 'why']]);
  for (const claim of [socket(session), ...values.map(token)])
    refused(sessions.identify(peer(1000), claim), 'unauthenticated');
  assert.equal(sessions.mintToken(session.id), null);
  assert.ok(!isRefusal(sessions.identify(peer(1000), socket(other))));
});

test('beyond its limit of tokens the oldest is revoked', () => {
  const { sessions, open } = setUp();
  const session = open();
  const values = Array.from({ length: limits.tokensPerSession + 1 }, () => sessions.mintToken(session.id));
  refused(sessions.identify(peer(1000), token(values[0] as string)), 'unauthenticated');
  for (const value of values.slice(1)) assert.ok(!isRefusal(sessions.identify(peer(1000), token(value))));
});

test('a session ends when nobody used it for too long; each use counts', () => {
  const { sessions, open, clock, ended } = setUp();
  const session = open();
  for (let i = 0; i < 3; i++) {
    clock.now += limits.sessionIdleMs;
    assert.ok(!isRefusal(sessions.identify(peer(1000), socket(session))));
  }
  clock.now += limits.sessionIdleMs + 1;
  refused(sessions.identify(peer(1000), socket(session)), 'unauthenticated');
  assert.deepEqual(ended, [[session.id, 'expired']]);
});

test('an open connection or a lease keeps a session, for as long as it is there', () => {
  const { sessions, open, clock, ended } = setUp();
  const [held, leased] = [open(), open(1000, true)];
  const release = sessions.hold(held.id);
  clock.now += 10 * limits.sessionIdleMs;
  sessions.sweep();
  assert.deepEqual(ended, []);
  release();
  clock.now += limits.sessionIdleMs + 1;
  sessions.sweep();
  assert.deepEqual(ended, [[held.id, 'expired']]);
  assert.ok(!isRefusal(sessions.identify(peer(1000), socket(leased))));
});

test('H4: a clock that goes back expires nothing', () => {
  const { sessions, open, clock } = setUp();
  const session = open();
  clock.now -= 100 * limits.sessionIdleMs;
  assert.ok(!isRefusal(sessions.identify(peer(1000), socket(session))));
});

test('there is a limit of sessions, and room again when one has ended', () => {
  const { sessions, open } = setUp();
  const first = open();
  for (let i = 1; i < limits.sessions; i++) open();
  const beyond = sessions.create({ profile: 'p', uid: 1000, label: '', leased: false });
  assert.ok(isRefusal(beyond) && beyond.refused === 'limit_reached');
  sessions.end(first.id, 'room');
  open();
});

test('the limit of sessions can be set', () => {
  const sessions = new Sessions({ onEnd: () => {}, limit: 1 });
  const wanted = { profile: 'p', uid: 1000, label: '', leased: false };
  assert.ok(!isRefusal(sessions.create(wanted)));
  const beyond = sessions.create(wanted);
  assert.ok(isRefusal(beyond) && beyond.reason === '1 sessions are open');
});

test('B5: a uid is known while it has a session', () => {
  const { sessions, open } = setUp();
  assert.equal(sessions.knowsUid(1000), false);
  const session = open();
  assert.equal(sessions.knowsUid(1000), true);
  assert.equal(sessions.knowsUid(1001), false);
  sessions.end(session.id, 'x');
  assert.equal(sessions.knowsUid(1000), false);
});

test('B4: a bound session is refused from outside, each peer is judged once, and its end lets go', () => {
  const { sessions, open } = setUp();
  const session = open();
  const tokens = token(sessions.mintToken(session.id));
  let closed = 0;
  const enclosure: Enclosure = {
    kind: 'pid-namespace',
    id: 4711,
    hasProcess: () => true,
    hasSocket: () => true,
    close: () => closed++,
  };
  const asked: boolean[] = [];
  const placed = (inside: boolean): Peer => ({
    ...peer(1000),
    isWithin: (which) => {
      assert.equal(which, enclosure);
      asked.push(inside);
      return inside;
    },
  });
  const [insider, thief] = [placed(true), placed(false)];
  assert.ok(!isRefusal(sessions.identify(thief, tokens)), 'bound to the uid alone so far');
  assert.deepEqual(sessions.list()[0]?.binding, { kind: 'uid' });
  assert.equal(sessions.bind(session.id, enclosure), undefined);
  assert.deepEqual(sessions.list()[0]?.binding, { kind: 'pid-namespace', id: 4711 });
  for (const claim of [tokens, socket(session), tokens]) {
    assert.ok(!isRefusal(sessions.identify(insider, claim)));
    refused(sessions.identify(thief, claim), 'outside_binding');
    refused(sessions.identify(peer(1000), claim), 'outside_binding');
    assert.equal(sessions.claimed(claim), session);
  }
  assert.deepEqual(asked, [true, false]);
  assert.equal(sessions.admits(session.id, thief), false);
  refused(sessions.bind(session.id, enclosure) as Refusal, 'bad_message');
  refused(sessions.bind('none', enclosure) as Refusal, 'not_found');
  sessions.end(session.id, 'over');
  assert.equal(closed, 1);
  refused(sessions.identify(insider, tokens), 'unauthenticated');
});
