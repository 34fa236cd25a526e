import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { Broker } from '../../src/credentials/broker.ts';
import type { Helper } from '../../src/credentials/helper.ts';
import { type Keychain, keychainFor } from '../../src/credentials/keychain/keychain.ts';
import { formatCredentialRef, parseCredentialRef } from '../../src/credentials/ref.ts';
import { reveal } from '../../src/credentials/reveal.ts';
import { Scrubber } from '../../src/credentials/scrubber.ts';
import { acquire, type Sources } from '../../src/credentials/sources.ts';
import { Vault } from '../../src/credentials/vault.ts';
import { limits } from '../../src/limits.ts';
import { eventually } from '../support/daemon.ts';
import { canary, directory, fails, now, seal, toNobody } from './support.ts';

function sourcesOf(more: Partial<Sources> = {}): Sources {
  const keychain = keychainFor({});
  return {
    vault: () => assert.fail('asked for the vault'),
    keychain,
    env: {},
    helpers: new Map(),
    spawn,
    ...more,
  };
}

async function textOf(reference: string, sources: Sources): Promise<string> {
  return reveal(await secretOf(reference, sources), 'test').toString('latin1');
}

/** Living processes with this entry in their environment; Linux only. */
function processesWith(entry: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(entry);
      } catch {
        return false;
      }
    })
    .map(Number);
}

function secretOf(reference: string, sources: Sources) {
  const ref = parseCredentialRef(reference);
  assert.ok(ref !== null);
  return acquire(ref, sources, toNobody);
}

describe('keychain:', () => {
  test('names a service and an account, as they are written', () => {
    for (const text of ['keychain:ostiary/gh', 'keychain:gh:github.com/octo+cat@example.org']) {
      const ref = parseCredentialRef(text);
      assert.equal(ref?.source, 'keychain');
      assert.equal(ref && formatCredentialRef(ref), text);
    }
    const long = 'x'.repeat(129);
    for (const rest of [
      '',
      'a',
      '/',
      'a/',
      '/b',
      'a/b/c',
      'a b/c',
      'a/b\n',
      '-a/b',
      'a/é',
      `${long}/a`,
      `a/${long}`,
    ])
      assert.equal(parseCredentialRef(`keychain:${rest}`), null, rest);
  });

  const entry = { service: 'ostiary', account: 'gh' };
  const holding = (value: Buffer | null): Keychain => ({
    get: (item) => {
      assert.deepEqual({ ...entry, source: 'keychain' }, item);
      return Promise.resolve(value);
    },
    set: () => assert.fail('set'),
    delete: () => assert.fail('delete'),
  });

  test('takes its value, less one line end; none and an empty one are failures', async () => {
    const value = canary();
    const keychain = holding(Buffer.from(`${value}\n`));
    assert.equal(await textOf('keychain:ostiary/gh', sourcesOf({ keychain })), value);
    for (const [held, message] of [
      [null, /^keychain:ostiary\/gh: not in the keychain$/],
      [Buffer.from('\n'), /^keychain:ostiary\/gh: the value is empty$/],
    ] as const)
      await fails(
        () => secretOf('keychain:ostiary/gh', sourcesOf({ keychain: holding(held) })),
        'credential',
        message,
      );
  });
});

describe('env:', () => {
  test('takes the value from the environment it was given, less one line end', async () => {
    const value = canary();
    for (const text of [value, `${value}\n`, `${value}\r\n`])
      assert.equal(await textOf('env:TOKEN', sourcesOf({ env: { TOKEN: text } })), value);
    assert.equal(await textOf('env:TOKEN', sourcesOf({ env: { TOKEN: `${value}\n\n` } })), `${value}\n`);
  });

  test('a missing and an empty variable are errors; inherited ones do not count', async () => {
    const sources = sourcesOf({ env: { EMPTY: '', LINE: '\n' } });
    for (const name of ['MISSING', 'constructor', 'toString'])
      await fails(() => secretOf(`env:${name}`, sources), 'credential', /not set in the environment/);
    for (const name of ['EMPTY', 'LINE'])
      await fails(() => secretOf(`env:${name}`, sources), 'credential', /the value is empty/);
  });
});

describe('file:', () => {
  function file(t: TestContext, content: string | Buffer, mode = 0o644): string {
    const path = join(directory(t), 'token');
    writeFileSync(path, content);
    chmodSync(path, mode);
    return path;
  }

  test('takes the bytes of the file, less one line end', async (t) => {
    const value = canary();
    assert.equal(await textOf(`file:${file(t, `${value}\n`)}`, sourcesOf()), value);
    assert.equal(
      await textOf(`file:${file(t, Buffer.from([0, 0xff, 0x0a, 0x0a]))}`, sourcesOf()),
      '\0\xff\n',
    );
    const link = join(directory(t), 'link');
    symlinkSync(file(t, value), link);
    assert.equal(await textOf(`file:${link}`, sourcesOf()), value);
  });

  test('missing, empty, too long and no regular file are errors', async (t) => {
    const at = (path: string) => () => secretOf(`file:${path}`, sourcesOf());
    await fails(at('/nonexistent/token'), 'credential', /no such file/);
    await fails(at(file(t, '\n')), 'credential', /the value is empty/);
    await fails(at(file(t, Buffer.alloc(limits.secretBytes + 1, 'x'))), 'credential', /longer than/);
    assert.equal(
      (await textOf(`file:${file(t, Buffer.alloc(limits.secretBytes, 'x'))}`, sourcesOf())).length,
      limits.secretBytes,
    );
    await fails(at(directory(t)), 'config', /not a regular file/);
  });

  test('I2 a file that others can write or own is refused', async (t) => {
    const value = canary();
    await fails(
      () => secretOf(`file:${file(t, value, 0o666)}`, sourcesOf()),
      'config',
      /writable by others/,
      [value],
    );
    if (process.getuid?.() !== 0) return t.diagnostic('owner not tested: needs root');
    const path = file(t, value);
    chownSync(path, 65_533, 65_533);
    await fails(() => secretOf(`file:${path}`, sourcesOf()), 'config', /owned by uid 65533/, [value]);
  });
});

describe('vault:', () => {
  test('takes the value, and names what is missing', async (t) => {
    const value = canary();
    const vault = await Vault.create(directory(t), { kind: 'key-file' });
    await vault.set('token', seal(value), now);
    const sources = sourcesOf({ vault: () => Promise.resolve(vault) });
    assert.equal(await textOf('vault:token', sources), value);
    await fails(() => secretOf('vault:other', sources), 'credential', /vault:other: not in the vault/);
  });
});

describe('command:', () => {
  /** A helper that runs `script` with sh; the value reaches it in its declared environment, never in argv. */
  function helper(script: string, env: Record<string, string> = {}, timeoutMs = 20_000): Helper {
    return { command: ['/bin/sh', '-c', script], env, timeoutMs };
  }

  function run(given: Helper, env: Record<string, string> = {}) {
    return secretOf('command:h', sourcesOf({ helpers: new Map([['h', given]]), env }));
  }

  const print = `printf '%s\\n' "$VALUE"`;

  test('takes what it printed, less one line end', async () => {
    const value = canary();
    const secret = await run(helper(print, { VALUE: value }));
    assert.equal(reveal(secret, 'test').toString(), value);
    assert.equal(secret.label, 'command:h');
  });

  test('I1 its environment is ours and its own, its directory is /, its stdin is empty', async (t) => {
    const seen = join(directory(t), 'seen');
    const foreign = {
      NODE_OPTIONS: '--x',
      LD_PRELOAD: '/x',
      PATH: '/evil',
      BASH_ENV: '/x',
      SECRET: canary(),
    };
    const given = helper('/usr/bin/env > "$SEEN"; pwd >> "$SEEN"; cat >> "$SEEN"; printf canary', {
      SEEN: seen,
    });
    const saved = process.env.NODE_V8_COVERAGE;
    process.env.NODE_V8_COVERAGE = directory(t);
    t.after(() => {
      if (saved === undefined) delete process.env.NODE_V8_COVERAGE;
      else process.env.NODE_V8_COVERAGE = saved;
    });
    await run(given, { ...foreign, HOME: '/h', USER: 'u', LOGNAME: 'l', LANG: 'C', TZ: 'UTC' });
    // sh itself adds the last three.
    const lines = readFileSync(seen, 'utf8')
      .trimEnd()
      .split('\n')
      .filter((line) => !/^(PWD|OLDPWD|SHLVL|_)=/.test(line));
    assert.deepEqual(
      lines.sort(),
      [
        '/',
        'HOME=/h',
        'LANG=C',
        'LOGNAME=l',
        'PATH=/usr/local/bin:/usr/bin:/bin',
        `SEEN=${seen}`,
        'TZ=UTC',
        'USER=u',
      ].sort(),
    );
  });

  test('E9 a relative helper is refused before PATH is searched', async (t) => {
    const path = directory(t);
    writeFileSync(join(path, 'hijacked'), '#!/bin/sh\nprintf canary-hijacked\n', { mode: 0o755 });
    for (const file of ['hijacked', './hijacked', ''])
      await fails(
        () => run({ command: [file], env: { PATH: path }, timeoutMs: 1000 }, { PATH: path }),
        'config',
        /not an absolute path/,
      );
    await fails(() => run({ command: [], env: {}, timeoutMs: 1000 }), 'config', /not an absolute path/);
  });

  test('E9 arguments are no shell text', async () => {
    const text = 'canary-$(id);`id`|&';
    const secret = await run({ command: ['/bin/echo', text], env: {}, timeoutMs: 20_000 });
    assert.equal(reveal(secret, 'test').toString(), text);
  });

  test('E9 a non-zero exit is an error even with a value; stderr is counted, not shown', async () => {
    const value = canary();
    await fails(
      () => run(helper(`${print}; ${print} >&2; exit 3`, { VALUE: value })),
      'credential',
      new RegExp(`^command:h: the helper exited with code 3; it printed ${value.length + 1} bytes to stderr`),
      [value],
    );
    await fails(() => run(helper('kill -9 $$')), 'credential', /was ended by SIGKILL$/);
  });

  test('E9 nothing printed is an error', async () => {
    await fails(() => run(helper(':')), 'credential', /^command:h: the helper printed nothing$/);
    await fails(() => run(helper('echo')), 'credential', /^command:h: the value is empty$/);
    await fails(
      () => run(helper('echo why >&2')),
      'credential',
      /printed nothing; it printed 4 bytes to stderr/,
    );
  });

  test('E9 an executable that is not there, or none, is an error', async (t) => {
    await fails(() => run({ command: ['/nonexistent/h'], env: {}, timeoutMs: 1000 }), 'credential', /ENOENT/);
    const plain = join(directory(t), 'plain');
    writeFileSync(plain, 'x', { mode: 0o644 });
    await fails(() => run({ command: [plain], env: {}, timeoutMs: 1000 }), 'credential', /EACCES/);
    await fails(() => secretOf('command:other', sourcesOf()), 'config', /no helper of this name/);
  });

  test('E9 a flood is cut off', async () => {
    await fails(() => run(helper('exec cat /dev/zero')), 'credential', /printed more than 65536 bytes$/);
    await fails(
      () => run(helper('exec cat /dev/zero >&2', {}, 300)),
      'credential',
      /no answer within 300 ms/,
    );
  });

  test('E9 one that hangs is killed with all that it started, even if it ignores SIGTERM', async (t) => {
    const marker = join(directory(t), 'started');
    const began = performance.now();
    const script = `trap '' TERM; (trap '' TERM; while :; do /bin/sleep 100; done) & : > "$MARKER"; while :; do /bin/sleep 100; done`;
    await fails(
      () => run(helper(script, { MARKER: marker }, 1000)),
      'credential',
      /gave no answer within 1000 ms$/,
    );
    assert.ok(existsSync(marker), 'the helper had not started');
    assert.ok(performance.now() - began < 1000 + limits.upstreamGraceMs + 5000);
    // SIGKILL has been sent; the kernel takes a moment to be done with it.
    await eventually('all of it gone', () => processesWith(`MARKER=${marker}`).length === 0 || undefined);
  });

  test('E9 one whose grandchild left its process group does not hang us', async (t) => {
    const setsid = '/usr/bin/setsid';
    if (!existsSync(setsid)) return t.skip('no setsid here');
    const marker = join(directory(t), 'left');
    const given = helper(`${setsid} /bin/sleep 60 & printf canary-early; wait`, { MARKER: marker }, 300);
    await fails(() => run(given), 'credential', /gave no answer within 300 ms$/);
    for (const pid of processesWith(`MARKER=${marker}`)) process.kill(pid, 'SIGKILL');
  });
});

describe('broker', () => {
  const ref = { source: 'command', helper: 'h' } as const;

  test('one acquisition in flight per credential, a new one afterwards; the scrubber knows each value', async (t) => {
    const count = join(directory(t), 'count');
    const h: Helper = {
      command: ['/bin/sh', '-c', 'echo x >> "$COUNT"; printf "canary-run-"; wc -l < "$COUNT" | tr -d " "'],
      env: { COUNT: count },
      timeoutMs: 20_000,
    };
    const scrubber = new Scrubber();
    const broker = new Broker({ ...sourcesOf({ helpers: new Map([['h', h]]) }), scrubber });
    const secrets = await Promise.all(Array.from({ length: 20 }, () => broker.acquire(ref, toNobody)));
    assert.equal(new Set(secrets).size, 1);
    assert.equal(readFileSync(count, 'utf8'), 'x\n');
    assert.equal(reveal(await broker.acquire(ref, toNobody), 'test').toString(), 'canary-run-2');
    // D4: the value before stays known.
    assert.deepEqual(broker.contains(['a canary-run-1', 'canary-run-2', 'canary-run-3']), [
      'command:h',
      'command:h',
      null,
    ]);
    assert.deepEqual(broker.knownLabels(), [{ label: 'command:h', redactable: true }]);
  });

  test('a failure is shared, and not kept', async () => {
    const env: Record<string, string> = {};
    const broker = new Broker({ ...sourcesOf({ env }), scrubber: new Scrubber() });
    const token = { source: 'env', name: 'TOKEN' } as const;
    await fails(() => broker.acquire(token, toNobody), 'credential', /env:TOKEN: not set/);
    assert.deepEqual(broker.knownLabels(), []);
    env.TOKEN = 'canary7';
    await broker.acquire(token, toNobody);
    assert.deepEqual(broker.knownLabels(), [{ label: 'env:TOKEN', redactable: false }]);
  });

  test('the vault is opened once; a failure to open it is not kept', async (t) => {
    const path = directory(t);
    let opened = 0;
    const vault = () => {
      opened++;
      return Vault.open(path, {});
    };
    const broker = new Broker({ ...sourcesOf({ vault }), scrubber: new Scrubber() });
    const token = { source: 'vault', name: 'token' } as const;
    await fails(() => broker.acquire(token, toNobody), 'credential', /there is no vault/);
    await (await Vault.create(path, { kind: 'key-file' })).set('token', seal(canary()), now);
    await broker.acquire(token, toNobody);
    await broker.acquire(token, toNobody);
    assert.equal(opened, 2);
  });
});
