import assert from 'node:assert/strict';
import { constants, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { hasTool, run, start } from './support.ts';

const linux = { skip: process.platform === 'linux' ? false : 'Linux only' };
const CANARY = 'canary-exec-91c7';

/** Uses all three standard streams, as a daemon may have, then becomes `code` with a clean environment. */
function become(code: string, keep = '[]'): string {
  return `
    const { replaceProcess } = await import(env.OS);
    process.stdin.pause();
    process.stdout.write(''); process.stderr.write('');
    const kept = fs.openSync('/dev/null'); const closed = fs.openSync('/dev/null');
    say(String(process.pid) + ' ' + kept + ' ' + closed);
    replaceProcess(process.execPath, ['ostiary', '-e', ${JSON.stringify(code)}], { CLEAN: 'yes' }, ${keep});
  `;
}

test('the new program has the same pid, a clean environment, and working pipes', linux, async (t) => {
  const child = run(
    t,
    become(`
      let text = '';
      console.log(JSON.stringify([process.pid, process.env, process.argv0]));
      process.stdin.on('data', (chunk) => { text += chunk; }).on('end', () => {
        console.log(text);
        console.error('bye');
        process.exitCode = 7;
      });
    `),
    { env: { CANARY, NODE_OPTIONS: '--no-warnings' } },
  );
  assert.ok(readFileSync(`/proc/${child.pid}/environ`, 'latin1').includes(CANARY));
  const [pid] = (await child.line()).split(' ');
  assert.deepEqual(JSON.parse(await child.line()), [Number(pid), { CLEAN: 'yes' }, 'ostiary']);
  assert.equal(readFileSync(`/proc/${child.pid}/environ`, 'latin1'), 'CLEAN=yes\0');

  const long = 'x'.repeat(200_000);
  child.child.stdin.end(long);
  assert.equal(await child.line(), long);
  assert.equal(await child.ended, 7);
  assert.equal(child.stderr(), 'bye\n');
});

test('the standard streams are handed over blocking', linux, async (t) => {
  const child = run(
    t,
    `const { replaceProcess } = await import(env.OS);
    process.stdin.pause(); process.stdout.write(''); process.stderr.write('');
    const flags = () => [0, 1, 2].map((fd) => fs.readFileSync('/proc/self/fdinfo/' + fd, 'latin1')).join('');
    say(String(/^flags:.*4\\d\\d\\d$/m.test(flags())));
    replaceProcess('/bin/sh', ['sh', '-c', 'cat /proc/$$/fdinfo/[012]'], {});`,
  );
  assert.equal(await child.line(), 'true', 'libuv made them non-blocking');
  const flags: string[] = [];
  while (flags.length < 3) {
    const line = await child.line();
    if (line.startsWith('flags:')) flags.push(line);
  }
  for (const line of flags) assert.equal(Number.parseInt(line.slice(6).trim(), 8) & constants.O_NONBLOCK, 0);
});

test('only the descriptors asked for stay open', linux, async (t) => {
  const child = run(t, become(`console.log('up'); process.stdin.resume();`, '[kept]'));
  const [, kept, closed] = (await child.line()).split(' ');
  await child.line();
  const open = (fd: string | undefined) => readFileSync(`/proc/${child.pid}/fdinfo/${fd}`, 'latin1');
  assert.match(open(kept), /^flags:\t0?\d+$/m);
  assert.throws(() => open(closed), { code: 'ENOENT' });
});

test('signals arrive in the new program: none is blocked, SIGTERM ends or is handled', linux, async (t) => {
  const plain = run(t, become(`console.log('up'); process.stdin.resume();`));
  await plain.line();
  await plain.line();
  assert.match(readFileSync(`/proc/${plain.pid}/status`, 'latin1'), /^SigBlk:\t0{16}$/m);
  plain.child.kill('SIGTERM');
  assert.equal(await plain.ended, 'SIGTERM');

  const drains = run(
    t,
    become(`process.on('SIGTERM', () => { console.log('drained'); process.exit(3); });
      process.stdin.resume(); console.log('up');`),
  );
  await drains.line();
  await drains.line();
  drains.child.kill('SIGTERM');
  assert.equal(await drains.line(), 'drained');
  assert.equal(await drains.ended, 3);
});

test('a terminal stays usable', linux, async (t) => {
  if (!hasTool(t, 'script')) return;
  const code = become(`
    console.log([0, 1, 2].map((fd) => require('node:tty').isatty(fd)).join());
    process.stdin.once('data', (line) => { console.log('got ' + String(line).trim()); process.exit(5); });
    console.log('up');
  `);
  const prelude = `import fs from 'node:fs'; const env = process.env; const say = (text) => fs.writeSync(1, text + '\\n');`;
  const child = start(t, 'script', ['-qec', `"$NODE" --input-type=module -e "$CODE"`, '/dev/null'], {
    env: { NODE: process.execPath, CODE: prelude + code, SHELL: '/bin/sh' },
  });
  const seen: string[] = [];
  while (seen.at(-1) !== 'up') seen.push((await child.line()).trim());
  assert.equal(seen.at(-2), 'true,true,true');
  child.child.stdin.write('hello\n');
  while (seen.at(-1) !== 'got hello') seen.push((await child.line()).trim());
  assert.equal(await child.ended, 5);
});

test('what the kernel refuses is thrown, and the process goes on', linux, async (t) => {
  const child = run(
    t,
    `const { replaceProcess } = await import(env.OS);
    const attempt = (...args) => { try { replaceProcess(...args); } catch (error) { console.log(error.message); } };
    attempt('/nonexistent/ostiary', ['ostiary'], {});
    attempt(process.execPath, ['node'], {}, [1000000]);
    attempt(process.execPath, ['a\\0b'], {});`,
  );
  assert.equal(await child.line(), 'cannot execute /nonexistent/ostiary: ENOENT');
  assert.equal(await child.line(), 'cannot hand over descriptor 1000000: EBADF');
  assert.equal(await child.line(), 'execve: NUL in an argument or variable');
  assert.equal(await child.ended, 0);
});
