import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { reveal } from '../../src/credentials/reveal.ts';
import { Secret } from '../../src/credentials/secret.ts';
import { Vault } from '../../src/credentials/vault.ts';
import { canary, directory, now, seal } from './support.ts';

test('D5 a Secret shows its label and nothing else, however it is looked at', () => {
  const value = canary();
  const secret = seal(value, 'vault:shown');
  const views = [
    inspect(secret, { showHidden: true, depth: null, getters: true }),
    inspect({ nested: [secret] }, { showHidden: true, depth: null }),
    JSON.stringify({ secret }),
    `${secret}`,
    String(secret),
    new Error(`failed with ${secret}`, { cause: secret }).stack ?? '',
    inspect(new Error('failed', { cause: secret })),
    inspect(structuredClone(secret)),
    inspect({ ...secret }),
    inspect(Object.getOwnPropertyDescriptors(secret)),
    Reflect.ownKeys(secret).join(),
  ];
  for (const view of views) {
    assert.ok(!view.includes(value));
    for (const encoding of ['hex', 'base64'] as const)
      assert.ok(!view.includes(Buffer.from(value).toString(encoding)));
    assert.ok(!/<Buffer/.test(view));
  }
  assert.ok(views[0]?.includes('vault:shown'));
});

test('D5 a copy of a Secret opens nothing, an empty one cannot be made', () => {
  const secret = seal(canary());
  assert.throws(() => reveal(structuredClone(secret) as Secret, 'test'), /not a sealed secret/);
  assert.throws(() => reveal({ ...secret } as Secret, 'test'), /not a sealed secret/);
  assert.throws(() => reveal(secret, ''), /say why/);
  assert.throws(() => Secret.seal('vault:none', Buffer.alloc(0)), /empty secret: vault:none/);
});

test('D5 an inspected vault shows no key', async (t) => {
  const vault = await Vault.create(directory(t), { kind: 'key-file' });
  await vault.set('token', seal(canary()), now);
  // Hidden properties shown, getters not run.
  assert.match(inspect(vault, { showHidden: true, depth: null }), /^Vault \{( \[logins\]: \[Getter\] )?\}$/);
});
