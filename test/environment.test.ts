import assert from 'node:assert/strict';
import { dirname } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  agentEnvironment,
  daemonEnvironment,
  isCleanDaemonEnvironment,
  sealedForSpawn,
  steersRuntime,
  upstreamBase,
} from '../src/environment.ts';
import { hostileNames } from './upstreams/hostile.ts';

const hostile = Object.fromEntries(hostileNames.map((name) => [name, 'hostile']));

const caller = {
  ...hostile,
  PATH: '/tmp/evil:/usr/bin',
  HOME: '/home/alice',
  USER: 'alice',
  LOGNAME: 'alice',
  LANG: 'C.UTF-8',
  LC_TIME: 'de_DE.UTF-8',
  LC_SECRET: 'smuggled',
  TZ: 'UTC',
  TERM: 'xterm',
  TMPDIR: '/tmp/evil',
  XDG_CONFIG_HOME: '/home/alice/.config',
  XDG_RUNTIME_DIR: '/run/user/1000',
  DBUS_SESSION_BUS_ADDRESS: 'unix:path=/run/user/1000/bus',
  OSTIARY_CONFIG: '/home/alice/o.yaml',
  GITHUB_TOKEN: 'canary-github',
  home: 'other case',
};

function assertFixedPath(path: string | undefined): void {
  const entries = path?.split(':') ?? [];
  const expected = [dirname(process.execPath), '/usr/local/bin', '/usr/bin', '/bin'];
  assert.ok(
    entries.every((entry) => expected.includes(entry)),
    path,
  );
  assert.ok(entries.includes('/usr/bin'));
}

test('I1 an upstream gets the named variables, a PATH of ours, and nothing else', () => {
  const { PATH, ...rest } = upstreamBase(caller, '/private/tmp');
  assertFixedPath(PATH);
  assert.deepEqual(rest, {
    HOME: '/home/alice',
    USER: 'alice',
    LOGNAME: 'alice',
    LANG: 'C.UTF-8',
    LC_TIME: 'de_DE.UTF-8',
    TZ: 'UTC',
    TERM: 'dumb',
    TMPDIR: '/private/tmp',
  });
});

test('I1 the daemon gets the named variables and nothing else', () => {
  const { PATH, ...rest } = daemonEnvironment(caller);
  assertFixedPath(PATH);
  assert.deepEqual(rest, {
    HOME: '/home/alice',
    USER: 'alice',
    LOGNAME: 'alice',
    LANG: 'C.UTF-8',
    LC_TIME: 'de_DE.UTF-8',
    TZ: 'UTC',
    XDG_CONFIG_HOME: '/home/alice/.config',
    XDG_RUNTIME_DIR: '/run/user/1000',
    DBUS_SESSION_BUS_ADDRESS: 'unix:path=/run/user/1000/bus',
    OSTIARY_CONFIG: '/home/alice/o.yaml',
    MALLOC_TRIM_THRESHOLD_: '131072',
    MALLOC_MMAP_THRESHOLD_: '131072',
  });
});

test('I1 an env: reference cannot let in what steers the loader, OpenSSL or Node', () => {
  const steering = [
    'NODE_OPTIONS',
    'NODE_PATH',
    'NODE_V8_COVERAGE',
    'LD_PRELOAD',
    'LD_AUDIT',
    'OPENSSL_CONF',
  ];
  for (const name of [...steering, 'SSL_CERT_FILE', 'GCONV_PATH', 'PATH'])
    assert.equal(steersRuntime(name), true, name);
  for (const name of ['GITHUB_TOKEN', 'NODE_AUTH_TOKEN']) assert.equal(steersRuntime(name), false, name);
});

test('I1 the daemon knows a clean environment from one that anybody added to', () => {
  const clean = daemonEnvironment(caller);
  assert.equal(isCleanDaemonEnvironment(clean), true);
  assert.equal(isCleanDaemonEnvironment({ ...clean, GITHUB_TOKEN: 'canary' }), false);
  assert.equal(isCleanDaemonEnvironment({ ...clean, PATH: '/tmp/evil' }), false);
  const { PATH: _, ...withoutPath } = clean;
  assert.equal(isCleanDaemonEnvironment(withoutPath), false);
  for (const name of hostileNames)
    assert.equal(isCleanDaemonEnvironment({ ...clean, [name]: 'x' }), false, name);
});

test('what was made clean counts as clean: the daemon re-executes itself at most once', () => {
  const names = fc.constantFrom(
    'PATH',
    'HOME',
    'NODE_OPTIONS',
    'LC_ALL',
    'A',
    'constructor',
    '__proto__',
    'SSL_X',
  );
  fc.assert(
    fc.property(fc.dictionary(names, fc.string()), (env) => isCleanDaemonEnvironment(daemonEnvironment(env))),
  );
});

test('an agent gets the usual variables and what `pass` names; what holds a credential never passes', () => {
  const env = {
    ...caller,
    MY_A: '1',
    MY_B: '2',
    my_c: '3',
    XDG_STATE_HOME: '/s',
    SHELL: '/bin/zsh',
    LANGUAGE: 'de',
  };
  const agent = agentEnvironment(env, {
    pass: ['MY_*', 'GITHUB_*'],
    removeNames: ['GITHUB_TOKEN', 'MY_B', 'SHELL'],
  });
  assert.deepEqual(agent, {
    HOME: '/home/alice',
    USER: 'alice',
    LOGNAME: 'alice',
    LANG: 'C.UTF-8',
    LC_TIME: 'de_DE.UTF-8',
    LANGUAGE: 'de',
    TZ: 'UTC',
    TERM: 'xterm',
    TMPDIR: '/tmp/evil',
    PATH: '/tmp/evil:/usr/bin',
    XDG_CONFIG_HOME: '/home/alice/.config',
    XDG_RUNTIME_DIR: '/run/user/1000',
    XDG_STATE_HOME: '/s',
    MY_A: '1',
  });
});

test('a pass-all glob still removes credentials', () => {
  const agent = agentEnvironment(caller, { pass: ['*'], removeNames: ['GITHUB_TOKEN'] });
  assert.equal(Object.hasOwn(agent, 'GITHUB_TOKEN'), false);
  assert.equal(Object.keys(agent).length, Object.keys(caller).length - 1);
});

test('spawn adds nothing: no coverage directory, no inherited property', () => {
  const sealed = sealedForSpawn({ A: '1' });
  assert.equal(Object.getPrototypeOf(sealed), null);
  assert.deepEqual(Object.entries(sealed), [
    ['NODE_V8_COVERAGE', undefined],
    ['A', '1'],
  ]);
});
