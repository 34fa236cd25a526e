/** Which sandbox is chosen, what is said of it, and what is known of agents, sockets and macOS. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  type Abilities,
  chooseMechanism,
  describeLevel,
  type Isolation,
} from '../../../src/agents/sandbox/isolation.ts';
import { profileFor } from '../../../src/agents/sandbox/profiles.ts';
import { seatbeltProfile } from '../../../src/agents/sandbox/seatbelt.ts';
import { listeningPaths } from '../../../src/agents/sandbox/sockets.ts';
import { Failure } from '../../../src/errors.ts';

const works = { works: true, program: '/usr/bin/bwrap', flags: [], starter: [] } as const;
const fails = { works: false, why: 'No permissions to create new namespace' } as const;
const able: Abilities = { landlock: 7, keyring: true, seccomp: true, bubblewrap: works };
const onLinux = process.platform === 'linux' ? false : 'skipped: the choice is another one here';

describe('chooseMechanism', { skip: onLinux }, () => {
  const chosen = (wish: Isolation, abilities: Partial<Abilities> = {}) =>
    chooseMechanism(wish, { ...able, ...abilities });

  test('bubblewrap where it works, else Landlock, else what was wished for alone', () => {
    assert.equal(chosen('auto'), 'bubblewrap');
    assert.equal(chosen('auto', { bubblewrap: fails }), 'landlock');
    assert.equal(chosen('landlock'), 'landlock');
    assert.equal(chosen('bubblewrap', { landlock: 0 }), 'bubblewrap');
    assert.equal(chosen('none', { landlock: 0, bubblewrap: fails }), 'none');
  });

  for (const [wish, abilities, why] of [
    [
      'auto',
      { landlock: 0, bubblewrap: fails },
      /bubblewrap: No permissions .*; landlock: this kernel has no/,
    ],
    ['bubblewrap', { bubblewrap: fails }, /sandbox: bubblewrap: No permissions to create new namespace$/],
    ['landlock', { landlock: 0 }, /sandbox: landlock: this kernel has no Landlock/],
    ['auto', { seccomp: false }, /system calls of .* are not known; landlock: /],
  ] as const)
    test(`refuses ${wish} where it cannot be, and says what is missing and how to go on`, () => {
      assert.throws(
        () => chosen(wish, abilities),
        (error: unknown) =>
          error instanceof Failure &&
          error.kind === 'isolation' &&
          why.test(error.message) &&
          /--isolation none/.test(error.hint ?? ''),
      );
    });
});

test('the level line says what a kernel leaves open, and is loud without a sandbox', () => {
  assert.equal(describeLevel('bubblewrap', able), 'level L1: the agent is sandboxed by bubblewrap');
  assert.match(
    describeLevel('bubblewrap', { ...able, landlock: 2 }),
    /; not closed by this kernel: abstract sockets$/,
  );
  assert.match(
    describeLevel('landlock', { ...able, landlock: 2 }),
    /signals to your other processes, emptying files/,
  );
  assert.match(describeLevel('none', able), /^level L0: the agent is NOT sandboxed/);
  assert.match(describeLevel('seatbelt', able), /nobody has tested/);
});

test('agents are known by the name of their command, or by --agent', () => {
  assert.equal(profileFor('/opt/bin/claude').name, 'claude');
  assert.deepEqual(profileFor('claude').directories.slice(0, 1), ['.claude']);
  assert.equal(profileFor('claude-wrapper').name, 'none');
  assert.equal(profileFor('node', 'codex').name, 'codex');
  assert.equal(profileFor('codex', 'none').name, 'none');
  assert.throws(
    () => profileFor('node', 'emacs'),
    /--agent: expected one of claude, codex, gemini, opencode, none/,
  );
});

test('A13 sockets that somebody listens on, by the kernel’s table', () => {
  const table = `Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 1234 /home/u/a b.sock
0000000000000000: 00000003 00000000 00000000 0001 03 1235 /home/u/connected.sock
0000000000000000: 00000002 00000000 00010000 0001 01 1236 @abstract
0000000000000000: 00000002 00000000 00010000 0001 01 1237
0000000000000000: 00000002 00000000 00010000 0001 01 1238 /run/x/bus
`;
  assert.deepEqual(listeningPaths(table), ['/home/u/a b.sock', '/run/x/bus']);
});

test('Seatbelt (untested on a Mac): what is ours is denied, its ancestors pinned, the session given back last', () => {
  const profile = seatbeltProfile({
    home: '/Users/u',
    own: ['/Users/u/.local/state/ostiary'],
    session: '/Users/u/.local/state/ostiary/run/"s"',
  }).split('\n');
  assert.deepEqual(profile.slice(0, 2), ['(version 1)', '(allow default)']);
  assert.ok(
    profile.some(
      (line) => line.startsWith('(deny file-read*') && line.includes('/Users/u/.local/state/ostiary"'),
    ),
  );
  assert.ok(profile.includes('(deny file-write* (literal "/Users/u/.local"))'));
  assert.equal(
    profile.at(-1),
    '(allow file-read* network-outbound (subpath "/Users/u/.local/state/ostiary/run/\\"s\\""))',
  );
});
