/** What an agent sees: which rule counts, in which order they are carried out, and what Landlock makes of it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { bubblewrapOptions } from '../../../src/agents/sandbox/bubblewrap.ts';
import { fileRules } from '../../../src/agents/sandbox/file-rules.ts';
import { type Access, type PathRule, type Source, viewOf } from '../../../src/agents/sandbox/view.ts';

function rule(
  access: Access,
  path: string,
  source: Source = 'default',
  kind: PathRule['kind'] = 'directory',
) {
  return { path, access, kind, source };
}

const seen = (rules: readonly PathRule[]) =>
  viewOf(rules).rules.map(({ path, access }) => `${access} ${path}`);

describe('viewOf', () => {
  test('shallow paths first; what changes nothing is left out', () => {
    assert.deepEqual(
      seen([
        rule('write', '/home/u/project/sub'),
        rule('read', '/home/u'),
        rule('write', '/home/u/project'),
        rule('hidden', '/tmp/ours'),
        rule('private', '/tmp'),
      ]),
      ['private /tmp', 'write /home/u/project'],
    );
  });

  test('ours beats --hide beats --rw beats --ro beats what is so by default', () => {
    const order = ['default', '--ro', '--rw', '--hide', 'ostiary'] as const;
    const access = {
      default: 'hidden',
      '--ro': 'read',
      '--rw': 'write',
      '--hide': 'hidden',
      ostiary: 'write',
    } as const;
    for (let last = 1; last <= order.length; last++) {
      const given = order.slice(0, last).map((source) => rule(access[source], '/x', source));
      const [strongest] = viewOf([rule('write', '/'), ...given]).rules.filter(({ path }) => path === '/x');
      assert.equal(strongest?.access ?? 'write', access[order[last - 1] as Source], order[last - 1]);
    }
  });

  test('the longest path decides: --rw above does not show what is hidden below', () => {
    assert.deepEqual(seen([rule('hidden', '/h/.config/gh'), rule('write', '/h/.config', '--rw')]), [
      'write /h/.config',
      'hidden /h/.config/gh',
    ]);
  });

  test('A14 directories between a writable one and ours are mounts of their own', () => {
    assert.deepEqual(
      seen([rule('write', '/h', '--rw'), rule('hidden', '/h/.local/state/ostiary', 'ostiary')]),
      ['write /h', 'write /h/.local', 'write /h/.local/state', 'hidden /h/.local/state/ostiary'],
    );
    assert.deepEqual(seen([rule('hidden', '/h/.local/state/ostiary', 'ostiary')]), [
      'hidden /h/.local/state/ostiary',
    ]);
  });
});

test('bubblewrap is told of each path once, and seals what is hidden after all else is there', () => {
  const view = viewOf([
    rule('private', '/tmp'),
    rule('hidden', '/h/state', 'ostiary'),
    rule('read', '/h/state/session', 'ostiary'),
    rule('hidden', '/h/token', 'ostiary', 'file'),
    rule('write', '/h/project'),
  ]);
  const options = bubblewrapOptions(['--unshare-pid'], {
    view,
    directory: '/h/project',
    terminal: false,
  }).join(' ');
  assert.match(options, /^--unshare-pid --new-session --ro-bind \/ \/ --dev \/dev --proc \/proc /);
  assert.ok(
    options.endsWith(
      '--perms 1777 --tmpfs /tmp --bind /h/project /h/project --tmpfs /h/state --ro-bind /dev/null /h/token ' +
        '--ro-bind /h/state/session /h/state/session --remount-ro /h/state --chdir /h/project',
    ),
    options,
  );
});

describe('fileRules', () => {
  const tree: Record<string, string[]> = {
    '/': ['dev', 'etc', 'home', 'tmp'],
    '/home': ['u', 'v'],
    '/home/u': ['.bashrc', '.ssh', 'project', 'state'],
    '/home/u/project': ['a', 'config.yaml'],
    '/home/u/state': ['ostiary'],
  };
  const allowed = (rules: readonly PathRule[]) =>
    fileRules(viewOf(rules), (path) => tree[path] ?? [])
      .filter(({ path }) => !path.startsWith('/dev'))
      .map(({ path, access }) => `${access} ${path}`)
      .sort();

  test('around what is hidden each neighbour is allowed by itself; devices by name', () => {
    assert.deepEqual(
      allowed([rule('private', '/tmp'), rule('hidden', '/home/u/.ssh'), rule('write', '/home/u/project')]),
      [
        'list /',
        'read /etc',
        'read /home/u/.bashrc',
        'read /home/u/project',
        'read /home/u/state',
        'read /home/v',
        'write /home/u/project',
      ],
    );
    const devices = fileRules(viewOf([]), (path) => tree[path] ?? []).filter(({ path }) =>
      path.startsWith('/dev'),
    );
    assert.ok(devices.every(({ access, path }) => access === 'write' && path !== '/dev'));
  });

  test('A14 what is ours in a writable directory is read, and its directory gives no right to replace it', () => {
    const found = allowed([
      rule('write', '/home/u', '--rw'),
      rule('read', '/home/u/project/config.yaml', 'ostiary', 'file'),
      rule('hidden', '/home/u/state/ostiary', 'ostiary'),
    ]);
    for (const path of ['/home/u', '/home/u/project', '/home/u/state', '/home/u/state/ostiary'])
      assert.ok(!found.includes(`write ${path}`), path);
    assert.ok(!found.some((one) => one.endsWith('/state/ostiary')), 'not read either');
    assert.ok(found.includes('write /home/u/project/a'));
    assert.ok(found.includes('read /home/u/project/config.yaml'));
  });
});
