/** How programs are resolved, judged and started in a namespace; what that changes of a child, and what not. */
import assert from 'node:assert/strict';
import { appendFileSync, chmodSync, copyFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { Secret } from '../../src/credentials/secret.ts';
import { bubblewrap } from '../../src/os/index.ts';
import { readElf } from '../../src/upstreams/hardening/elf.ts';
import { commandOf, Hardener } from '../../src/upstreams/hardening/hardener.ts';
import { resolveProgram } from '../../src/upstreams/hardening/interpreters.ts';
import { unfit } from '../../src/upstreams/hardening/namespace.ts';
import { inspectorFlags } from '../../src/upstreams/hardening/node-flags.ts';
import { openDescriptors } from '../../src/upstreams/stdio/descriptors.ts';
import { emptyDirectory, lives, node, type Run, run, until } from './children.ts';

function executable(path: string, text: string): string {
  writeFileSync(path, text);
  chmodSync(path, 0o755);
  return path;
}

test('a first line leads to its interpreter, by env and through links', (t) => {
  const directory = emptyDirectory(t);
  const script = executable(join(directory, 'server'), '#!/usr/bin/env -S sh -e\n');
  const link = join(directory, 'link');
  symlinkSync(script, link);
  const [sh, env] = ['/bin/sh', '/usr/bin/env'].map((path) => realpathSync(path));
  assert.deepEqual(resolveProgram(link, '/bin'), {
    program: '/bin/sh',
    args: ['-e', link],
    binaries: [env, sh],
  });
  const plain = executable(join(directory, 'plain'), '#! /bin/sh -e -u\n');
  assert.deepEqual(resolveProgram(plain, ''), { program: '/bin/sh', args: ['-e -u', plain], binaries: [sh] });
  for (const line of [
    '#!/usr/bin/env A=b sh',
    '#!/usr/bin/env -i sh',
    "#!/usr/bin/env -S sh '-e'",
    '#!/nowhere/x',
  ])
    assert.equal(resolveProgram(executable(join(directory, 'odd'), `${line}\n`), '/bin'), null, line);
  assert.equal(resolveProgram(join(directory, 'missing'), ''), null);
});

test('programs that read their own file, and files that are no programs, are told', (t) => {
  const directory = emptyDirectory(t);
  assert.deepEqual(readElf('/bin/sh'), { readsItself: false, needsItsPlace: false });
  assert.deepEqual(readElf(process.execPath)?.readsItself, false);
  const packed = join(directory, 'packed');
  copyFileSync('/bin/sh', packed);
  appendFileSync(packed, Buffer.alloc(64 * 1024, 1));
  assert.equal(readElf(packed)?.readsItself, true);
  assert.equal(readElf(executable(join(directory, 'text'), 'echo\n')), null);
  const broken = Buffer.alloc(64, 0xff);
  Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1]).copy(broken);
  writeFileSync(join(directory, 'broken'), broken);
  assert.equal(readElf(join(directory, 'broken')), null);
});

test('the inspector is closed by a flag where Node knows it, and by a file of ours where not', () => {
  for (const version of ['v22.14.0', 'v23.7.0', 'v24.0.0', 'v26.1.0'])
    assert.deepEqual(inspectorFlags(version, []), ['--disable-sigusr1'], version);
  for (const version of ['v20.20.2', 'v22.13.1', 'v23.6.0'])
    assert.equal(inspectorFlags(version, [])[0], '--require', version);
  assert.deepEqual(inspectorFlags('v20.20.2', ['--experimental-permission', '/x.js']), []);
});

test('what cannot be told to a shell is not started in a namespace', () => {
  assert.equal(unfit(['TOKEN'], 5), null);
  assert.match(unfit([], 6) ?? '', /descriptors/);
  assert.match(unfit(['PPID'], 0) ?? '', /variable/);
});

describe('a child in a namespace', () => {
  /** As the daemon starts it. */
  async function start(
    t: TestContext,
    program: { command: string; args: string[] },
    env: Record<string, string> = {},
    descriptors: readonly number[] = [],
  ): Promise<Run | null> {
    const found = await bubblewrap();
    if ('missing' in found) {
      t.skip(found.missing);
      return null;
    }
    const state = emptyDirectory(t);
    const cwd = emptyDirectory(t);
    const hardener = new Hardener({ stateDirectory: state, otherDirectories: [] });
    const more = {
      env,
      variables: Object.keys(env),
      descriptors: descriptors.length,
      needs: [],
      foreign: false,
    };
    const plan = await hardener.plan({ ...program, hardening: 'full', ...more });
    if (plan.namespace === null) {
      t.skip(JSON.stringify(plan.measures));
      return null;
    }
    const { command, args } = commandOf(plan, cwd, cwd);
    return run(t, { command, args, env, cwd, descriptors, inNamespace: true });
  }

  test('has exactly its environment, whatever is in it, its descriptors, and its directory', async (t) => {
    const env = {
      PATH: '/usr/bin:/bin',
      QUOTES: `it's "quoted" \\ $(id) \`id\` $0 \${x}`,
      LINES: 'one\ntwo\n\n  three\ttabbed\r\n',
      LETTERS: Array.from({ length: 0x250 }, (_, index) => String.fromCodePoint(index + 1)).join(''),
      EMPTY: '',
      PWD: '/elsewhere',
    };
    const pipe = openDescriptors({ FD: Secret.seal('vault:x', Buffer.from('canary-in-a-pipe')) });
    t.after(() => pipe.close());
    const script =
      "console.log(JSON.stringify({ env: process.env, fd: require('fs').readFileSync(3, 'utf8').length, cwd: process.cwd() }))";
    const child = await start(t, node(script), env, pipe.fds);
    if (child === null) return;
    const seen = JSON.parse(await child.line(0));
    assert.deepEqual(seen.env, env);
    assert.equal(seen.fd, 'canary-in-a-pipe'.length);
    assert.deepEqual(await child.exited, { code: 0, signal: null });
  });

  test('reads and writes lines, and ends with its own code, or its signal', async (t) => {
    const child = await start(
      t,
      node(
        "process.stdin.on('data', (line) => { console.log('heard', String(line).trim()); process.exit(7); })",
      ),
    );
    if (child === null) return;
    child.child.write(Buffer.from('hello'));
    assert.equal(await child.line(0), 'heard hello');
    assert.deepEqual(await child.exited, { code: 7, signal: null });
    const killed = await start(t, node("process.kill(process.pid, 'SIGSEGV')"));
    assert.deepEqual(await killed?.exited, { code: null, signal: 'SIGSEGV' });
  });

  test('is asked by SIGTERM, has its grace, and takes everything along when it does not end', async (t) => {
    const polite = await start(
      t,
      node(
        "process.on('SIGTERM', () => { console.log('asked'); process.exit(3); }); setInterval(() => {}, 1e6); console.log('up')",
      ),
    );
    if (polite === null) return;
    await polite.line(0);
    await polite.child.stop();
    assert.equal(polite.lines[1], 'asked');
    assert.deepEqual(await polite.exited, { code: 3, signal: null });
    const deaf = await start(
      t,
      node("process.on('SIGTERM', () => {}); setInterval(() => {}, 1e6); console.log('up')"),
    );
    await deaf?.line(0);
    const pid = deaf?.child.pid ?? 0;
    await deaf?.child.stop();
    await until(() => !lives(pid), 'the end of the namespace');
    assert.equal((await deaf?.exited)?.signal, 'SIGKILL');
  });
});
