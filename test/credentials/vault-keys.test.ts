/** The ways to keep the vault's key, from one to another, and the code for when it is lost. */
import assert from 'node:assert/strict';
import { chmodSync, cpSync, readdirSync, readFileSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { type Keychain, keychainFor } from '../../src/credentials/keychain/keychain.ts';
import { reveal } from '../../src/credentials/reveal.ts';
import { Vault } from '../../src/credentials/vault.ts';
import type { Binding } from '../../src/credentials/vault-binding.ts';
import type { Unlock, WrapRequest } from '../../src/credentials/vault-key.ts';
import {
  decodeRecoveryCode,
  decodeRecoveryLine,
  recoveryCode,
} from '../../src/credentials/vault-recovery.ts';
import { packageRoot } from '../../src/paths.ts';
import { noSecretService, SecretService } from '../support/secret-service.ts';
import { canary, directory, fails, now, seal, toNobody, writeCredential } from './support.ts';

async function tokenIn(vault: Vault): Promise<string | undefined> {
  const secret = await vault.get('token', toNobody);
  return secret === null ? undefined : reveal(secret, 'test').toString();
}

async function filled(t: TestContext, request: WrapRequest): Promise<{ path: string; value: string }> {
  const [path, value] = [directory(t), canary()];
  await (await Vault.create(path, request)).set('token', seal(value), now);
  return { path, value };
}

/** A copy, as a backup has it. */
function backup(t: TestContext, path: string, ...without: string[]): string {
  const copy = directory(t);
  cpSync(path, copy, { recursive: true });
  for (const name of without) unlinkSync(join(copy, name));
  return copy;
}

const passphraseOf = (text: string): Unlock => ({ passphrase: () => Promise.resolve(Buffer.from(text)) });

describe('a vault under a systemd credential', () => {
  const request = (credentials: string): WrapRequest => ({ kind: 'systemd-credential', credentials });

  test('opens where the credential is, and says what is wrong with it', async (t) => {
    const credentials = directory(t);
    writeCredential(credentials);
    const { path, value } = await filled(t, request(credentials));
    assert.deepEqual(readdirSync(path).sort(), ['vault.json', 'vault.lock']);
    assert.equal(await tokenIn(await Vault.open(path, { credentials })), value);

    await fails(
      () => Vault.open(path, {}),
      'credential',
      /is a systemd credential, and none were handed over/,
    );
    const empty = directory(t);
    await fails(
      () => Vault.open(path, { credentials: empty }),
      'credential',
      /no systemd credential of this/,
    );
    const other = directory(t);
    writeCredential(other);
    await fails(() => Vault.open(path, { credentials: other }), 'credential', /is not that of this vault/);
    const short = directory(t);
    writeCredential(short, Buffer.from('guessable'));
    await fails(() => Vault.open(path, { credentials: short }), 'credential', /at least 32 random bytes/);
    chmodSync(credentials, 0o755);
    await fails(() => Vault.open(path, { credentials }), 'credential', /is open to others/);
  });
});

describe('a vault whose key is in the keychain', { skip: noSecretService }, () => {
  test('opens while it is unlocked; a new key takes the place of the old one', async (t) => {
    const service = await SecretService.start({ after: (end) => t.after(end) });
    const keychain: Keychain = keychainFor(service.env);
    const { path, value } = await filled(t, { kind: 'keychain', keychain });
    assert.deepEqual(readdirSync(path).sort(), ['vault.json', 'vault.lock']);
    assert.equal(await tokenIn(await Vault.open(path, { keychain })), value);
    await fails(() => Vault.open(path, {}), 'credential', /is in the keychain, which cannot be asked here/);

    const old = backup(t, path);
    const vault = await Vault.open(path, { keychain });
    const code = vault.recoveryCode().join('\n');
    await vault.rewrap({ kind: 'keychain', keychain }, { keychain });
    assert.equal(await tokenIn(await Vault.open(path, { keychain })), value);
    // The old item is gone: that copy opens with its recovery code alone.
    await fails(() => Vault.open(old, { keychain }), 'credential', /is not in the keychain/);
    await Vault.restore(old, decodeRecoveryCode(code), { kind: 'key-file' });
    assert.equal(await tokenIn(await Vault.open(old, {})), value);

    await service.lock();
    await fails(() => Vault.open(path, { keychain }), 'credential', /locked|dismissed/);
    await service.stop();
    await fails(() => Vault.open(path, { keychain }), 'credential', /./);
    assert.equal(Vault.kind(path), 'keychain');
    assert.ok(!readdirSync(path).includes('vault.key'), 'nothing fell back to a file');
  });
});

describe('a key that is changed', () => {
  test('from the file to a passphrase: what opened the old vault does not open the new one', async (t) => {
    const { path, value } = await filled(t, { kind: 'key-file' });
    const passphrase = canary();
    const [old, running] = [backup(t, path), await Vault.open(path, {})];
    await (await Vault.open(path, {})).rewrap(
      { kind: 'passphrase', passphrase: Buffer.from(passphrase) },
      {},
    );
    assert.deepEqual(readdirSync(path).sort(), ['vault.json', 'vault.lock'], 'the key file is gone');
    assert.equal(await tokenIn(await Vault.open(path, passphraseOf(passphrase))), value);
    await fails(() => running.get('token', toNobody), 'credential', /rewrapped, or replaced by another/);
    await fails(() => running.set('more', seal(value), now), 'credential', /rewrapped, or replaced/);
    assert.equal(await tokenIn(await Vault.open(old, {})), value, 'an old copy of both is still what it was');
    // The old key beside the new vault, or the old file's way of keeping it, is of no use.
    cpSync(join(old, 'vault.key'), join(path, 'vault.key'));
    await fails(() => Vault.open(path, {}), 'credential', /locked by a passphrase/);
    const { wrap } = JSON.parse(readFileSync(join(old, 'vault.json'), 'utf8'));
    const file = join(path, 'vault.json');
    writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), wrap }));
    await fails(() => Vault.open(path, {}), 'credential', /vault was altered/);
  });

  test('within the file: keys of other vaults in it stay', async (t) => {
    const { path, value } = await filled(t, { kind: 'key-file' });
    const file = join(path, 'vault.key');
    const before = readFileSync(file, 'utf8');
    const foreign = `${Buffer.alloc(32, 7).toString('base64url')}\n`;
    writeFileSync(file, `${before}${foreign}`);
    await (await Vault.open(path, {})).rewrap({ kind: 'key-file' }, {});
    const after = readFileSync(file, 'utf8');
    assert.ok(!after.includes(before.trim()) && after.includes(foreign));
    assert.equal(after.trim().split('\n').length, 2);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.equal(await tokenIn(await Vault.open(path, {})), value);
  });
});

describe('recovery', () => {
  test('opens a vault whose key file is lost, once', async (t) => {
    const { path, value } = await filled(t, { kind: 'key-file' });
    const code = (await Vault.open(path, {})).recoveryCode().join('\n');
    unlinkSync(join(path, 'vault.key'));
    await fails(() => Vault.open(path, {}), 'credential', /key file is missing/);
    await Vault.restore(path, decodeRecoveryCode(code), { kind: 'key-file' });
    assert.equal(await tokenIn(await Vault.open(path, {})), value);
    await fails(
      () => Vault.restore(path, decodeRecoveryCode(code), { kind: 'key-file' }),
      'credential',
      /does not open this vault, or the vault was altered/,
      [code],
    );
  });

  test('needs nothing of how the key was kept', async (t) => {
    const { path, value } = await filled(t, { kind: 'key-file' });
    const code = (await Vault.open(path, {})).recoveryCode().join('\n');
    const file = join(path, 'vault.json');
    writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), wrap: null }));
    await fails(() => Vault.open(path, {}), 'credential', /vault was altered/);
    await Vault.restore(path, decodeRecoveryCode(code), { kind: 'key-file' });
    assert.equal(await tokenIn(await Vault.open(path, {})), value);
  });

  test('any key comes back from its code, however it is typed', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.boolean(), (bytes, careless) => {
        const lines = recoveryCode(Buffer.from(bytes));
        for (const line of lines) assert.match(line, /^(?:[0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}$/);
        const text = lines.join('\n');
        const typed = text.toLowerCase().replaceAll('-', ' ').replaceAll('1', 'l').replaceAll('0', 'o');
        assert.ok(decodeRecoveryCode(careless ? `\n${typed}\r\n` : text).equals(bytes));
      }),
    );
  });

  test('a slip is found in its line: each wrong character, nearly each exchange, lines that are swapped', () => {
    const lines = recoveryCode(Buffer.from(Array.from({ length: 32 }, (_, index) => (index * 37) % 256)));
    let missed = 0;
    let tried = 0;
    for (const [index, line] of lines.entries())
      for (let at = 0; at < line.length; at++) {
        if (line[at] === '-') continue;
        for (const other of 'ABCDEFGH7') {
          if (other === line[at]) continue;
          tried++;
          try {
            decodeRecoveryLine(index, line.slice(0, at) + other + line.slice(at + 1));
            missed++;
          } catch {
            // Found.
          }
        }
      }
    // 15 bits of check: one in 32,768 by chance.
    assert.ok(missed <= 1, `${missed} of ${tried}`);
    const swapped = [lines[1], lines[0], lines[2], lines[3]].join('\n');
    assert.throws(() => decodeRecoveryCode(swapped), /line 1 of the recovery code: its check does not fit/);
    assert.throws(() => decodeRecoveryCode(lines.slice(1).join('\n')), /expected 4 lines, got 3/);
    assert.throws(() => decodeRecoveryLine(2, 'AAAA'), /line 3 of the recovery code: expected 16/);
  });
});

describe('a vault of format 1', () => {
  const bindings: Binding[] = [{ upstream: 'notion', kind: 'origin', origin: 'https://example.com' }];

  test('is read, goes nowhere, and is of format 2 after the next change', async (t) => {
    const path = directory(t);
    for (const name of ['vault.json', 'vault.key']) {
      cpSync(join(packageRoot, 'test', 'fixtures', 'vault-1', name), join(path, name));
      chmodSync(join(path, name), 0o600);
    }
    assert.equal(Vault.format(path), 'ostiary-vault/1');
    const vault = await Vault.open(path, {});
    assert.equal(await vault.changed(), '2026-02-03T04:05:06.000Z');
    const origin = { kind: 'origin', origin: 'https://example.com' } as const;
    await fails(() => vault.get('notion', origin), 'credential', /it is bound to no upstream yet/);

    await vault.bind('notion', bindings, now);
    assert.equal(Vault.format(path), 'ostiary-vault/2');
    const again = await Vault.open(path, {});
    const secret = await again.get('notion', origin);
    assert.equal(secret && reveal(secret, 'test').toString(), 'canary-of-format-1');
    const binary = await again.get('binary', toNobody);
    assert.ok(binary && reveal(binary, 'test').equals(Buffer.from([0, 255, 10, 99])));
    assert.deepEqual(
      (await again.list()).map(({ name, created }) => [name, created]),
      [
        ['binary', '2026-02-03T04:05:06.000Z'],
        ['notion', '2026-01-02T03:04:05.000Z'],
      ],
    );
  });
});
