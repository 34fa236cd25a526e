/** The keychain against a real Secret Service: gnome-keyring on a D-Bus of its own. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { type KeychainPorts, keychainFor } from '../../src/credentials/keychain/keychain.ts';
import { limits } from '../../src/limits.ts';
import { canBecome, run } from '../os/support.ts';
import { eventually } from '../support/daemon.ts';
import { noSecretService, SecretService } from '../support/secret-service.ts';
import { stranger } from '../support/users.ts';
import { canary, directory, fails } from './support.ts';

const item = { service: 'ostiary', account: 'gh' };
const keychainModule = new URL('../../src/credentials/keychain/keychain.js', import.meta.url).href;

/** How long an answer, or the news that there is none, took. */
async function timed<T>(work: () => Promise<T>): Promise<{ result: T; ms: number }> {
  const from = performance.now();
  return { result: await work(), ms: performance.now() - from };
}

/** What a loaded machine may add to a deadline: less than the 25 s that D-Bus itself waits. */
const slackMs = 20_000;

/** Remembers the processes that were started. */
function watched(): { spawn: typeof spawn; children: ChildProcess[] } {
  const children: ChildProcess[] = [];
  const watching = ((...args: Parameters<typeof spawn>) => {
    const child = spawn(...args);
    children.push(child);
    return child;
  }) as typeof spawn;
  return { spawn: watching, children };
}

/** Somebody of whom the system knows: dbus-daemon answers nobody else. */
function knownUser(): number | undefined {
  const uids = readFileSync('/etc/passwd', 'utf8').split('\n');
  return uids.map((line) => Number(line.split(':')[2])).find((uid) => uid > 0 && uid < 65534);
}

const ended = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode !== null || signalCode !== null;

describe('an unlocked keychain', { skip: noSecretService }, () => {
  let service: SecretService;
  const ends: (() => Promise<void>)[] = [];
  before(async () => {
    service = await SecretService.start({ after: (end) => void ends.push(end) });
  });
  after(async () => {
    for (const end of ends) await end();
  });

  test('makes, reads, replaces and removes an entry', async () => {
    const keychain = keychainFor(service.env);
    const [first, second] = [Buffer.from(canary()), Buffer.from(canary())];
    assert.equal(await keychain.get(item), null);
    assert.equal(await keychain.has(item), false);
    assert.equal(await keychain.delete(item), false);
    await keychain.set(item, first);
    assert.ok((await keychain.get(item))?.equals(first));
    assert.equal(await keychain.has(item), true);
    await keychain.set(item, second);
    assert.ok((await keychain.get(item))?.equals(second), 'the old value is replaced, not doubled');
    assert.equal(await keychain.get({ ...item, account: 'other' }), null);
    assert.equal(await keychain.delete(item), true);
    assert.equal(await keychain.get(item), null);
  });

  test('takes any bytes up to the largest secret, and refuses to read more', async () => {
    const keychain = keychainFor(service.env);
    const odd = { service: 'gh:github.com', account: 'a+b@example.org' };
    for (const value of [Buffer.from('\0\n{"x":1}\n\xff', 'latin1'), randomBytes(limits.secretBytes)]) {
      await keychain.set(odd, value);
      assert.ok((await keychain.get(odd))?.equals(value));
    }
    const big = run(
      { after: (end: () => Promise<void>) => ends.push(end) } as unknown as TestContext,
      `const { Entry } = (await import('node:module')).createRequire(env.MODULE)('@napi-rs/keyring');
       new Entry('ostiary', 'big', { linux: { store: 'secret-service' } }).setSecret(Buffer.alloc(100_000, 'x'));
       say('stored');`,
      { env: { ...service.env, MODULE: keychainModule } },
    );
    assert.equal(await big.line(), 'stored');
    await fails(() => keychain.get({ ...item, account: 'big' }), 'credential', /longer than 65536 bytes$/);
    assert.equal(await keychain.has({ ...item, account: 'big' }), true);
  });

  test('is asked by many at once', async () => {
    const keychain = keychainFor(service.env);
    const items = Array.from({ length: 4 }, (_, index) => ({ service: 'ostiary', account: `many-${index}` }));
    const values = items.map(() => canary());
    await Promise.all(items.map((one, index) => keychain.set(one, Buffer.from(values[index] ?? ''))));
    const read = await Promise.all(items.map((one) => keychain.get(one)));
    assert.ok(read.every((value, index) => value?.toString() === values[index]));
  });

  test('A1 A2 I1 the process that asks is hidden, and has the way to D-Bus in its environment and nothing else', async () => {
    const { spawn: watching, children } = watched();
    const options: { env?: object }[] = [];
    const seen = ((file: string, args: string[], given: { env: object }) => {
      options.push(given);
      assert.ok(![file, ...args].some((word) => /canary|gh/.test(word)), 'argv names no entry');
      return watching(file, args, given as never);
    }) as unknown as typeof spawn;
    const env = {
      ...service.env,
      HOME: '/home/alice',
      NODE_OPTIONS: '--inspect',
      LD_PRELOAD: '/x',
      A: 'canary',
    };
    assert.equal(await keychainFor(env, { spawn: seen }).get(item), null);
    assert.deepEqual(Object.entries(options[0]?.env ?? {}), [
      ['NODE_V8_COVERAGE', undefined],
      ['HOME', '/home/alice'],
      ['DBUS_SESSION_BUS_ADDRESS', service.env.DBUS_SESSION_BUS_ADDRESS],
    ]);
    const [child] = children;
    await eventually('the end of the process', () => child !== undefined && ended(child));
  });
});

describe('a keychain that gives nothing', { skip: noSecretService }, () => {
  const value = Buffer.from(canary());

  /** Each operation fails with `message`, within the deadline, and leaves no process. */
  async function allFail(service: SecretService, message: RegExp, ports: KeychainPorts = {}): Promise<void> {
    const { spawn: watching, children } = watched();
    const keychain = keychainFor(service.env, { spawn: watching, ...ports });
    const operations = [
      () => keychain.get(item),
      () => keychain.set(item, value),
      () => keychain.delete(item),
      () => keychain.has(item),
    ];
    const { ms } = await timed(() =>
      Promise.all(operations.map((each) => fails(each, 'credential', message, [value.toString()]))),
    );
    assert.ok(ms < limits.keychainMs + slackMs, `took ${ms} ms`);
    await eventually('the end of the processes', () => children.length === 4 && children.every(ended));
  }

  test('locked: says so at once and shows no prompt', async (t) => {
    const service = await SecretService.start(t, { prompter: 'silent' });
    await keychainFor(service.env).set(item, value);
    await service.lock();
    await allFail(service, /^keychain:ostiary\/gh: the keychain is locked$/);
    // Some stores hide what they hold while they are locked: what is not to be seen may be there.
    const other = { ...item, account: 'other' };
    for (const ask of [
      () => keychainFor(service.env).get(other),
      () => keychainFor(service.env).set(other, value),
    ])
      await fails(ask, 'credential', /other: the keychain is locked$/);
    const waiting = () => assert.fail('nothing is unlocked for it');
    assert.equal(await keychainFor(service.env, { waiting }).has(other), false);
  });

  test('prompt dismissed: somebody was asked, and nobody there', async (t) => {
    const service = await SecretService.start(t, { prompter: 'absent' });
    await keychainFor(service.env).set(item, value);
    await service.lock();
    let asked = 0;
    await allFail(service, /: the keychain is locked, and its prompt was dismissed$/, {
      waiting: () => asked++,
    });
    assert.equal(asked, 4);
  });

  test('prompt never answered: waits as long as a person may take, and no longer', async (t) => {
    const service = await SecretService.start(t, { prompter: 'silent' });
    await keychainFor(service.env).set(item, value);
    await service.lock();
    const { spawn: watching, children } = watched();
    let asked = 0;
    const keychain = keychainFor(service.env, {
      spawn: watching,
      waiting: () => asked++,
      promptMs: 1000,
    });
    const { ms } = await timed(() =>
      fails(() => keychain.get(item), 'credential', /is locked, and nobody unlocked it within 1 s$/),
    );
    assert.equal(asked, 1);
    assert.ok(ms > 1000 && ms < 1000 + limits.keychainMs + slackMs, `took ${ms} ms`);
    await eventually('the end of the process', () => children.every(ended));
  });

  test('F5 the process that asks dies with whoever started it', async (t) => {
    const service = await SecretService.start(t, { prompter: 'silent' });
    await keychainFor(service.env).set(item, value);
    await service.lock();
    const parent = run(
      t,
      `const { keychainFor } = await import(env.KEYCHAIN);
       const { spawn } = await import('node:child_process');
       let worker;
       const spying = (...args) => (worker = spawn(...args));
       const waiting = () => say(String(worker.pid));
       await keychainFor(env, { spawn: spying, waiting }).get({ service: 'ostiary', account: 'gh' });`,
      { env: { ...service.env, KEYCHAIN: keychainModule } },
    );
    const worker = Number(await parent.line());
    const lives = (): boolean => {
      try {
        return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${worker}/status`, 'latin1'));
      } catch {
        return false;
      }
    };
    assert.ok(worker > 1 && lives());
    process.kill(parent.pid, 'SIGKILL');
    await eventually('the end of the process', () => !lives());
  });

  test('hung: gives up in 3 s', async (t) => {
    const service = await SecretService.start(t);
    await keychainFor(service.env).set(item, value);
    service.hang();
    await allFail(service, /: the keychain gave no answer within 3 s$/, {
      waiting: () => assert.fail('asked'),
    });
  });

  test('no service, then no bus', async (t) => {
    const service = await SecretService.start(t);
    await service.stopKeyring();
    await allFail(service, /: no keychain \(Secret Service\) answers on D-Bus$/);
    await service.stop();
    await allFail(service, /: no D-Bus session, which leads to the keychain$/);
  });

  test('a restart of bus and keyring brings the entry back', async (t) => {
    const service = await SecretService.start(t);
    const keychain = keychainFor(service.env);
    await keychain.set(item, value);
    await service.stop();
    await service.boot();
    assert.ok((await keychain.get(item))?.equals(value));
  });
});

test('without a D-Bus address no process is started', async () => {
  const spawnNothing = (() => assert.fail('started a process')) as unknown as typeof spawn;
  for (const env of [
    {},
    { XDG_RUNTIME_DIR: 'relative' },
    { DBUS_SESSION_BUS_ADDRESS: 'unixexec:path=/bin/sh', XDG_RUNTIME_DIR: '/run/user/0' },
    { DBUS_SESSION_BUS_ADDRESS: 'tcp:host=127.0.0.1,port=1' },
  ])
    await fails(
      () => keychainFor(env, { spawn: spawnNothing }).get(item),
      'credential',
      /: no D-Bus session, which leads to the keychain$/,
    );
});

test('an ordinary user has a keychain of their own, and its process cannot be looked into', {
  skip: noSecretService,
}, async (t) => {
  const uid = knownUser() ?? assert.fail('no users');
  if (!canBecome(t, uid)) return;
  const service = await SecretService.start(t, { uid });
  const value = canary();
  const code = `
    const { keychainFor } = await import(env.KEYCHAIN);
    const { spawn } = await import('node:child_process');
    const item = { service: 'ostiary', account: 'gh' };
    const keychain = keychainFor(env);
    await keychain.set(item, Buffer.from(env.VALUE));
    say(String((await keychain.get(item)).equals(Buffer.from(env.VALUE))));
    let look;
    const seen = new Promise((resolve) => { look = resolve; });
    const spying = (...args) => {
      const child = spawn(...args);
      // The answer is on its way: the process has been hardened, and waits to be killed or is busy.
      child.stdout.once('data', () => {
        const pid = child.pid;
        let denied = 'readable';
        try { fs.readFileSync('/proc/' + pid + '/environ'); } catch ({ code }) { denied = code; }
        look(denied);
      });
      return child;
    };
    await keychainFor(env, { spawn: spying }).get(item);
    say(await seen);
    say(String(await keychain.delete(item)));
  `;
  const child = run(t, code, {
    uid,
    env: { ...service.env, KEYCHAIN: keychainModule, VALUE: value },
  });
  assert.equal(await child.line(), 'true', child.stderr());
  assert.match(await child.line(), /^(EACCES|EPERM|ESRCH|ENOENT)$/);
  assert.equal(await child.line(), 'true');
});

test('B8 a bus that runs as another user is told nothing', { skip: noSecretService }, async (t) => {
  if (!canBecome(t, stranger)) return;
  const path = join(directory(t), 'bus');
  // The squatter, as whom we are root: a bus of root's is trusted by everybody, one of a user's by that user alone.
  const theirs = run(
    t,
    `const server = net.createServer((socket) => {
       socket.on('data', (bytes) => say('heard ' + bytes.length));
       socket.on('close', () => say('closed'));
       socket.on('error', () => {});
     });
     server.listen({ path: '\\0' + env.NAME }, () => say('listening'));`,
    { uid: stranger, env: { NAME: path } },
  );
  assert.equal(await theirs.line(), 'listening');
  const env = { DBUS_SESSION_BUS_ADDRESS: `unix:abstract=${path}` };
  await fails(
    () => keychainFor(env).set(item, Buffer.from(canary())),
    'credential',
    /: the D-Bus session is not of this user: nothing was sent to it$/,
  );
  assert.equal(await theirs.line(), 'closed');
});

test('a bus that speaks nonsense is a failure, not a crash', async (t) => {
  const path = join(directory(t), 'bus');
  const hello = 'OK 1234\r\n';
  for (const nonsense of [
    '',
    'REJECTED EXTERNAL\r\n',
    'x'.repeat(5000),
    hello,
    `${hello}${'l\x02'.repeat(4000)}`,
  ]) {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.resume();
      socket.end(nonsense);
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    await fails(
      () => keychainFor({ DBUS_SESSION_BUS_ADDRESS: `unix:path=${path}` }).get(item),
      'credential',
      /no D-Bus session|the keychain failed/,
    );
    await new Promise((resolve) => server.close(resolve));
  }
});
