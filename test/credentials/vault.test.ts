import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  readdirSync,
  readFileSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { reveal } from '../../src/credentials/reveal.ts';
import { Vault } from '../../src/credentials/vault.ts';
import { canary, directory, fails, now, seal, toNobody } from './support.ts';

const later = new Date('2027-01-01T00:00:00.000Z');

async function textOf(vault: Vault, name: string): Promise<string | null> {
  const secret = await vault.get(name, toNobody);
  return secret === null ? null : reveal(secret, 'test').toString();
}

async function filled(t: TestContext, value: string): Promise<{ path: string; vault: Vault; file: string }> {
  const path = directory(t);
  const vault = await Vault.create(path, { kind: 'key-file' });
  await vault.set('token', seal(value), now);
  return { path, vault, file: join(path, 'vault.json') };
}

/** As an attacker writes it, who can make the digest fit. */
function vaultText({ wrap, payload }: { wrap: unknown; payload: string }): string {
  const format = 'ostiary-vault/2';
  const digest = createHash('sha256')
    .update(JSON.stringify([format, wrap, payload]))
    .digest('base64url');
  return `${JSON.stringify({ format, wrap, payload, digest }, null, 2)}\n`;
}

const damage = /vault (?:is truncated|was altered)/;

describe('vault', () => {
  test('keeps, lists, rotates and removes', async (t) => {
    const [first, second] = [canary(), canary()];
    const { path, vault } = await filled(t, first);
    assert.equal(await textOf(vault, 'token'), first);
    assert.equal((await vault.get('token', toNobody))?.label, 'vault:token');
    await vault.rotate('token', seal(second), later);
    await vault.set('constructor', seal(Buffer.from([0, 255, 10])), now);
    const again = await Vault.open(path, {});
    assert.equal(await textOf(again, 'token'), second);
    assert.deepEqual(await again.list(), [
      { name: 'constructor', created: now.toISOString(), updated: now.toISOString(), bindings: [] },
      { name: 'token', created: now.toISOString(), updated: later.toISOString(), bindings: [] },
    ]);
    await again.remove('token', now);
    assert.equal(await vault.get('token', toNobody), null);
    assert.equal(await vault.get('toString', toNobody), null);
    assert.equal(await vault.has('constructor'), true);
  });

  test('refuses to add twice, and to replace or remove what is not there', async (t) => {
    const value = canary();
    const { path, vault } = await filled(t, value);
    await fails(() => vault.set('token', seal(value), now), 'credential', /exists already/, [value]);
    await fails(() => vault.rotate('other', seal(value), now), 'credential', /not in the vault/, [value]);
    await fails(() => vault.remove('other', now), 'credential', /not in the vault/);
    await fails(() => Vault.create(path, { kind: 'key-file' }), 'credential', /exists already/);
    await fails(() => Vault.open(directory(t), {}), 'credential', /there is no vault/);
  });

  test('A11 files are 0600 and hold no value in the clear', async (t) => {
    const value = canary();
    const { path } = await filled(t, value);
    assert.deepEqual(readdirSync(path).sort(), ['vault.json', 'vault.key', 'vault.lock']);
    for (const name of readdirSync(path)) {
      assert.equal(statSync(join(path, name)).mode & 0o777, 0o600, name);
      const text = readFileSync(join(path, name)).toString('latin1');
      assert.ok(!text.includes(value) && !text.includes(Buffer.from(value).toString('base64')));
    }
  });

  test('a running process sees a change, and that the vault was replaced or is gone', async (t) => {
    const [value, fresh] = [canary(), canary()];
    const { path, vault, file } = await filled(t, value);
    await (await Vault.open(path, {})).rotate('token', seal(fresh), later);
    assert.equal(await textOf(vault, 'token'), fresh);
    unlinkSync(file);
    await fails(() => vault.get('token', toNobody), 'credential', /the vault is gone/);
    unlinkSync(join(path, 'vault.key'));
    await Vault.create(path, { kind: 'key-file' });
    await fails(() => vault.get('token', toNobody), 'credential', /replaced by another/);
  });

  test('a crash before the rename leaves the old vault; before the vault, a usable key', async (t) => {
    const value = canary();
    const { path, vault, file } = await filled(t, value);
    const stale = '.vault.json.0123456789abcdef.tmp';
    writeFileSync(join(path, stale), '{"format":"ostiary-vault/2","wr', { mode: 0o600 });
    assert.equal(await textOf(await Vault.open(path, {}), 'token'), value);
    await vault.set('second', seal(value), now);
    assert.ok(!readdirSync(path).includes(stale), 'what a killed writer left is gone with the next write');

    const key = readFileSync(join(path, 'vault.key'));
    unlinkSync(file);
    await (await Vault.create(path, { kind: 'key-file' })).set('third', seal(value), now);
    assert.ok(readFileSync(join(path, 'vault.key')).equals(key));
  });

  test('of two that open or create at once, one creates and both see the same vault', async (t) => {
    const path = directory(t);
    const both = await Promise.all([0, 1].map(() => Vault.openOrCreate(path, { kind: 'key-file' }, {})));
    assert.deepEqual(both.map(({ created }) => created).sort(), [false, true]);
    await both[0]?.vault.set('token', seal(canary()), now);
    assert.equal(await both[1]?.vault.has('token'), true);
  });

  test('two processes that write at once both succeed', async (t) => {
    const { path, vault } = await filled(t, canary());
    const count = 25;
    const script = `
      const [{ Vault }, { Secret }] = await Promise.all([import(process.env.VAULT), import(process.env.SECRET)]);
      const vault = await Vault.open(process.env.STATE, {});
      process.stdout.write('ready');
      await new Promise((resolve) => process.stdin.once('data', resolve));
      for (let i = 0; i < ${count}; i++)
        await vault.set(process.env.NAME + i, Secret.seal('x', Buffer.from('canary-' + i)), new Date(0));
      process.exit(0);`;
    const children = ['a', 'b'].map((name) =>
      spawn(process.execPath, ['--input-type=module', '-e', script], {
        stdio: ['pipe', 'pipe', 'inherit'],
        env: {
          STATE: path,
          NAME: name,
          VAULT: new URL('../../src/credentials/vault.js', import.meta.url).href,
          SECRET: new URL('../../src/credentials/secret.js', import.meta.url).href,
        },
      }),
    );
    await Promise.all(children.map((child) => once(child.stdout, 'data')));
    const ended = children.map((child) => once(child, 'exit'));
    for (const child of children) child.stdin.write('go');
    assert.deepEqual(await Promise.all(ended), [
      [0, null],
      [0, null],
    ]);
    assert.equal((await vault.list()).length, 1 + 2 * count);
  });
});

describe('vault that was tampered with', () => {
  test('no single changed byte gives another content, and each is called altered', async (t) => {
    const value = canary();
    const { path, file } = await filled(t, value);
    const original = readFileSync(file);
    let refused = 0;
    for (let at = 0; at < original.length; at++) {
      const changed = Buffer.from(original);
      changed[at] = (original[at] as number) ^ 1;
      writeFileSync(file, changed);
      try {
        // White space may change without meaning anything.
        assert.equal(await textOf(await Vault.open(path, {}), 'token'), value);
      } catch (error) {
        refused++;
        const closing = at >= original.length - 3;
        const expected = closing ? damage : /vault was altered|unknown vault format/;
        await fails(() => Promise.reject(error), 'credential', expected, [value]);
      }
    }
    assert.ok(refused > original.length - 20, `${refused} of ${original.length}`);
  });

  test('a file that ends early is called truncated, wherever it was cut', async (t) => {
    const { path, file } = await filled(t, canary());
    const original = readFileSync(file);
    for (let length = 0; length < original.length - 2; length++) {
      writeFileSync(file, original.subarray(0, length));
      await fails(() => Vault.open(path, {}), 'credential', /vault is truncated: it ends after \d+ bytes/);
    }
  });

  test('each part is authenticated, whoever makes the digest fit again', async (t) => {
    const { path, file } = await filled(t, canary());
    const { wrap, payload } = JSON.parse(readFileSync(file, 'utf8'));
    const parts: string[] = payload.split('.');
    const write = (changes: object) => writeFileSync(file, vaultText({ wrap, payload, ...changes }));
    for (const index of [0, 2, 3, 4]) {
      const part = parts[index] as string;
      const other = part.startsWith('A') ? 'B' : 'A';
      write({ payload: parts.with(index, other + part.slice(1)).join('.') });
      await fails(() => Vault.open(path, {}), 'credential', /vault was altered/);
    }
    for (const wrong of [null, { kind: 'none' }, { kind: 'key-file' }, { ...wrap, keyId: 'AAAAAAAAAAA' }]) {
      write({ wrap: wrong });
      await fails(() => Vault.open(path, {}), 'credential', /vault was altered: the way its key is kept/);
    }
    for (const text of ['null', '{}', '[]']) {
      writeFileSync(file, text);
      await fails(() => Vault.open(path, {}), 'credential', /vault was altered/);
    }
    writeFileSync(file, JSON.stringify({ format: 'ostiary-vault/3', wrap, payload }));
    await fails(
      () => Vault.open(path, {}),
      'credential',
      /unknown vault format: expected ostiary-vault\/2 vs got "ostiary-vault\/3"/,
    );
    // As the older format, which knew no digest and no bindings.
    writeFileSync(file, JSON.stringify({ format: 'ostiary-vault/1', wrap, payload }));
    await fails(() => Vault.open(path, {}), 'credential', /the payload does not authenticate/);
  });

  test('a payload of another vault under the same wrap is refused', async (t) => {
    const [one, two] = [await filled(t, canary()), await filled(t, canary())];
    const [first, second] = [one, two].map(({ file }) => JSON.parse(readFileSync(file, 'utf8')));
    writeFileSync(one.file, vaultText({ wrap: first.wrap, payload: second.payload }));
    await fails(() => Vault.open(one.path, {}), 'credential', damage);
    writeFileSync(one.file, JSON.stringify(second));
    await fails(() => Vault.open(one.path, {}), 'credential', /key file belongs to another vault/);
  });

  test('a missing and a damaged key file are told apart', async (t) => {
    const { path } = await filled(t, canary());
    const key = join(path, 'vault.key');
    writeFileSync(key, 'AAAA\n');
    await fails(() => Vault.open(path, {}), 'credential', /key file is damaged/);
    unlinkSync(key);
    await fails(() => Vault.open(path, {}), 'credential', /key file is missing/);
  });

  test('I2 a vault or key that others can read is refused', async (t) => {
    for (const name of ['vault.json', 'vault.key']) {
      const { path } = await filled(t, canary());
      chmodSync(join(path, name), 0o644);
      await fails(() => Vault.open(path, {}), 'config', /readable by others: mode 0644/);
    }
  });

  const root = process.getuid?.() === 0 ? false : 'needs root to give a file away';
  test('I2 a vault or key of another user is refused', { skip: root }, async (t) => {
    for (const name of ['vault.json', 'vault.key', '']) {
      const { path, vault } = await filled(t, canary());
      chownSync(join(path, name), 65_533, 65_533);
      await fails(() => Vault.open(path, {}), 'config', /owned by uid 65533/);
      if (name !== 'vault.key')
        await fails(() => vault.set('more', seal(canary()), now), 'config', /owned by uid 65533/);
    }
  });
});

describe('vault under a passphrase', () => {
  test('opens with it, and says when it is wrong, not available or altered', async (t) => {
    const [path, value, passphrase] = [directory(t), canary(), canary()];
    const typed = Buffer.from(passphrase);
    const vault = await Vault.create(path, { kind: 'passphrase', passphrase: typed });
    assert.ok(typed.every((byte) => byte === 0));
    await vault.set('token', seal(value), now);
    assert.deepEqual(readdirSync(path).sort(), ['vault.json', 'vault.lock']);
    assert.equal(Vault.kind(path), 'passphrase');

    const unlock = (text: string) => ({ passphrase: () => Promise.resolve(Buffer.from(text)) });
    assert.equal(await textOf(await Vault.open(path, unlock(passphrase)), 'token'), value);
    const wrong = /^wrong passphrase$/;
    await fails(() => Vault.open(path, unlock(`${passphrase} `)), 'credential', wrong, [passphrase]);
    await fails(() => Vault.open(path, {}), 'credential', /locked by a passphrase/);

    const file = join(path, 'vault.json');
    const { wrap, payload } = JSON.parse(readFileSync(file, 'utf8'));
    const never = { passphrase: () => assert.fail('asked for a passphrase') };
    for (const change of [
      { scryptLogN: 16 },
      { scryptLogN: 30 },
      { salt: 'AAAAAAAAAAAAAAAAAAAAAA' },
      { key: '' },
    ]) {
      writeFileSync(file, vaultText({ wrap: { ...wrap, ...change }, payload }));
      await fails(() => Vault.open(path, never), 'credential', damage);
    }
  });

  test('an empty passphrase makes no vault', async (t) => {
    const path = directory(t);
    await fails(
      () => Vault.create(path, { kind: 'passphrase', passphrase: Buffer.alloc(0) }),
      'credential',
      /passphrase is empty/,
    );
    assert.equal(Vault.kind(path), null);
  });
});
