/** Which users a configuration lets in, and to what. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mayOpen } from '../../src/auth/guests.ts';
import { guestsOf } from '../../src/cli/guests.ts';
import { parseConfig } from '../../src/config/load.ts';

const guests = (...lines: string[]) => guestsOf(parseConfig(['version: 1', ...lines].join('\n'), 'c.yaml'));

test('names and numbers become uids; without `users` the profile `default` is for all, another for nobody', () => {
  const found = guests(
    'listen: {allow_uids: [root, 4000001, "4000002"], socket_group: 4000003}',
    'profiles: {default: {rules: []}, ours: {rules: []}, hers: {rules: [], users: [4000001]}}',
  );
  assert.ok(found !== null);
  assert.deepEqual([[...found.uids], found.gid], [[0, 4_000_001, 4_000_002], 4_000_003]);
  const open = (uid: number) =>
    ['default', 'ours', 'hers', 'none'].filter((profile) => mayOpen(found, uid, profile));
  assert.deepEqual(open(4_000_001), ['default', 'hers']);
  assert.deepEqual(open(4_000_002), ['default']);
  assert.deepEqual(open(4_000_003), []);
});

test('`default` can be closed to some of them', () => {
  const found = guests(
    'listen: {allow_uids: [4000001, 4000002], socket_group: 1}',
    'profiles: {default: {rules: [], users: [4000001]}}',
  );
  assert.ok(found !== null && mayOpen(found, 4_000_001, 'default') && !mayOpen(found, 4_000_002, 'default'));
});

test('B5: whom the kernel cannot name is never let in, nor who does not exist', () => {
  assert.throws(
    () => guests('listen: {allow_uids: [65534], socket_group: 1}'),
    /what unknown users look like/,
  );
  assert.throws(
    () => guests('listen: {allow_uids: [no-such-user], socket_group: 1}'),
    /no user of this name/,
  );
  assert.throws(
    () => guests('listen: {allow_uids: [1], socket_group: no-such-group}'),
    /no group of this name/,
  );
  assert.equal(guests('listen: {port: 0}'), null);
});
