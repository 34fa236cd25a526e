import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, chownSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { Broker } from '../../src/credentials/broker.ts';
import { Helpers } from '../../src/credentials/helpers.ts';
import { type Keychain, keychainFor } from '../../src/credentials/keychain/keychain.ts';
import { formatCredentialRef, parseCredentialRef } from '../../src/credentials/ref.ts';
import { reveal } from '../../src/credentials/reveal.ts';
import { Scrubber } from '../../src/credentials/scrubber.ts';
import { acquire, type Sources } from '../../src/credentials/sources.ts';
import { Vault } from '../../src/credentials/vault.ts';
import { limits } from '../../src/limits.ts';

import { canary, directory, fails, now, seal, toNobody } from './support.ts';

const helpers = new Helpers({
  helpers: new Map(),
  spawn,
  guard: { guardGroup: () => {}, releaseGroup: () => {} },
  env: {},
  lockDirectory: '/nonexistent',
  learn: () => {},
  problem: () => {},
  now: Date.now,
  random: Math.random,
});

function sourcesOf(more: Partial<Sources> = {}): Sources {
  return {
    vault: () => assert.fail('asked for the vault'),
    keychain: keychainFor({}),
    env: {},
    helpers,
    ...more,
  };
}

async function textOf(reference: string, sources: Sources): Promise<string> {
  return reveal(await secretOf(reference, sources), 'test').toString('latin1');
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

describe('broker', () => {
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
