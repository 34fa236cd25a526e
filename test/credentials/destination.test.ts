/** What makes two destinations the same one, and what a program's digest looks at. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { type DestinationSpec, destinationOf } from '../../src/credentials/destination.ts';
import { programDigest } from '../../src/credentials/program.ts';
import type { CredentialRef } from '../../src/credentials/ref.ts';
import { bindingFor, sameBinding } from '../../src/credentials/vault-binding.ts';
import { directory } from './support.ts';

const token: CredentialRef = { source: 'vault', name: 'token' };
const other: CredentialRef = { source: 'file', path: '/tmp/other' };

const stdio: Extract<DestinationSpec, { transport: 'stdio' }> = {
  transport: 'stdio',
  command: '/bin/cat',
  args: ['-u'],
  env: { B: '2', A: '1' },
  secrets: { TOKEN: token },
};

async function same(a: DestinationSpec, b: DestinationSpec): Promise<boolean> {
  const [first, second] = await Promise.all([a, b].map((spec) => bindingFor('x', destinationOf(spec))));
  assert.ok(first && second);
  return sameBinding(first, second);
}

describe('a destination', () => {
  test('is command, arguments, variables and every way in which a secret gets there', async () => {
    assert.ok(
      await same(stdio, { ...stdio, env: { A: '1', B: '2' } }),
      'the order of variables means nothing',
    );
    const changes: readonly Partial<typeof stdio>[] = [
      { command: '/bin/echo' },
      { args: ['-u', ''] },
      { args: [] },
      { env: { ...stdio.env, LD_PRELOAD: '/tmp/x.so' } },
      { env: { A: '1' } },
      { secrets: { TOKEN: token, LD_PRELOAD: other } },
      { secrets: { OTHER: token } },
      { secrets: { TOKEN: other } },
      { files: { LD_PRELOAD: other } },
      { fds: { EXTRA: other } },
      { secrets: {}, files: { TOKEN: token } },
    ];
    for (const change of changes)
      assert.ok(!(await same(stdio, { ...stdio, ...change })), JSON.stringify(Object.keys(change)));
  });

  test('is an origin, whatever the path', async () => {
    const at = (url: string): DestinationSpec => ({ transport: 'http', url });
    assert.ok(await same(at('https://example.com/mcp'), at('https://EXAMPLE.com:443/other?x=1')));
    for (const url of ['https://example.com:444/mcp', 'http://example.com/mcp', 'https://a.example.com/mcp'])
      assert.ok(!(await same(at('https://example.com/mcp'), at(url))), url);
    assert.ok(!(await same(at('https://example.com/mcp'), stdio)));
  });
});

describe('the digest of a program', () => {
  /** Whether the digest differs after the change. */
  async function differs(command: string, args: readonly string[], change: () => void): Promise<boolean> {
    const before = await programDigest(command, args);
    assert.equal(await programDigest(command, args), before);
    change();
    return (await programDigest(command, args)) !== before;
  }

  function write(path: string, text = 'x', mode = 0o600): string {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeFileSync(path, text, { mode });
    return path;
  }

  const node = process.execPath;

  test('follows the executable, through links, also when size and time of change stay', async (t) => {
    const path = write(join(directory(t), 'server'), 'one', 0o700);
    const link = join(dirname(path), 'link');
    symlinkSync(path, link);
    const old = new Date(1e9);
    utimesSync(path, old, old);
    const change = (): void => {
      writeFileSync(path, 'two');
      utimesSync(path, old, old);
    };
    assert.ok(await differs(link, [], change));
    assert.ok(await differs(link, [], () => chmodSync(path, 0o755)));
  });

  test('an executable that Node runs is its whole package', async (t) => {
    const root = directory(t);
    write(join(root, 'package.json'), '{}');
    const bin = write(join(root, 'bin', 'cli'), '#!/usr/bin/env node\n', 0o700);
    assert.ok(await differs(bin, [], () => write(join(root, 'lib', 'deep', 'x.js'))));
  });

  const withScript = (t: TestContext): { root: string; script: string } => {
    const root = directory(t);
    return { root, script: write(join(root, 'server.mjs')) };
  };

  test('a script in no package: itself, the code beside it, and what could make it one', async (t) => {
    const { root, script } = withScript(t);
    const data = write(join(root, 'notes.db'));
    assert.ok(!(await differs(node, [script], () => write(data, 'changed'))), 'data');
    assert.ok(await differs(node, [script], () => write(join(root, 'helper.js'))), 'code beside it');
    assert.ok(await differs(node, [script], () => write(join(root, 'package.json'), '{}')), 'a manifest');
  });

  test('arguments before the script are code, those after it are data', async (t) => {
    const { root, script } = withScript(t);
    const hook = write(join(root, 'hooks', 'hook.mjs'));
    const data = write(join(root, 'data', 'file'));
    for (const args of [
      ['--import', hook, script, data],
      [`--import=${hook}`, script, data],
      ['-r', hook, '--enable-source-maps', script, data],
    ]) {
      const change = (path: string) => () => write(path, `${Math.random()}`);
      assert.ok(await differs(node, args, change(hook)), args[0]);
      assert.ok(await differs(node, args, change(script)), args[0]);
      assert.ok(!(await differs(node, args, change(data))), args[0]);
    }
  });

  test('a script that Node finds without its extension, or in a directory', async (t) => {
    const { root } = withScript(t);
    const module = write(join(root, 'my.app.js'));
    assert.ok(await differs(node, [join(root, 'my.app')], () => write(module, 'changed')));
    write(join(root, 'whole', 'package.json'), '{"main":"main.js"}');
    const main = write(join(root, 'whole', 'main.js'));
    assert.ok(await differs(node, [join(root, 'whole')], () => write(main, 'changed')));
  });

  test('scripts of other interpreters: the script alone', async (t) => {
    const { root } = withScript(t);
    const script = write(join(root, 'server.py'));
    const python = '/usr/bin/python3';
    assert.ok(await differs(python, ['-u', script], () => write(script, 'changed')));
    const data = join(root, 'data');
    assert.ok(
      !(await differs(python, ['-m', 'server', data], () => write(data))),
      'what a module is given is data',
    );
  });

  test('one that appears is another; packages that depend on each other come to an end', async (t) => {
    const { root } = withScript(t);
    const script = join(root, 'node_modules', 'a', 'index.mjs');
    assert.ok(await differs(node, [script], () => write(script)));
    write(join(root, 'node_modules', 'a', 'package.json'), '{"dependencies":{"b":"1"}}');
    write(
      join(root, 'node_modules', 'b', 'package.json'),
      '{"dependencies":{"a":"1"},"optionalDependencies":{"c":"1"}}',
    );
    const inB = write(join(root, 'node_modules', 'b', 'index.js'));
    assert.ok(await differs(node, [script], () => write(inB, 'changed')));
    assert.ok(await differs(node, [script], () => write(join(root, 'node_modules', 'c', 'index.js'))));
    assert.ok(
      await differs(node, [script], () => write(join(root, 'node_modules', 'c', 'index.js'), 'changed')),
    );
  });
});
