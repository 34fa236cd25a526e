import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { limits } from '../../src/limits.ts';
import { emptyDirectory, lives, node, run, until } from './children.ts';

const stubborn = "process.on('SIGTERM', () => {}); setInterval(() => {}, 1e6);";
const echo = 'process.stdin.pipe(process.stdout)';

test('lines go in and come out; the exit code comes last', async (t) => {
  const order: string[] = [];
  const { child, exited } = run(t, node(`${echo}; process.stdin.on('end', () => { process.exitCode = 7 })`), {
    hooks: { onLine: (line) => order.push(line.toString()) },
  });
  child.write(Buffer.from('{"id":1}'));
  child.write(Buffer.from('{"id":2}'));
  await until(() => order.length === 2, 'echo');
  await child.stop();
  order.push(String((await exited).code ?? (await exited).signal));
  assert.deepEqual(order.slice(0, 2), ['{"id":1}', '{"id":2}']);
  assert.equal(order.length, 3);
});

test('all of the output arrives before onExit, even without a last newline', async (t) => {
  const { exited, lines, exits } = run(
    t,
    node("process.stdout.write('x'.repeat(3e6) + '\\n' + 'y\\n'.repeat(1e5) + 'end', () => process.exit(3))"),
  );
  assert.deepEqual(await exited, { code: 3, signal: null });
  assert.equal(lines.length, 100_002);
  assert.equal(lines[0]?.length, 3_000_000);
  assert.equal(lines.at(-1), 'end');
  assert.equal(exits.length, 1);
});

test('standard error comes line by line, long lines in pieces', async (t) => {
  const { exited, stderr, lines } = run(
    t,
    node("console.error('a\\n\\nb'); console.error('c'.repeat(40000))"),
  );
  await exited;
  assert.deepEqual(lines, []);
  assert.deepEqual(stderr.slice(0, 2), ['a', 'b']);
  assert.deepEqual(
    stderr.slice(2).map((line) => line.length),
    [limits.stderrLineBytes, limits.stderrLineBytes, 40_000 - 2 * limits.stderrLineBytes],
  );
});

test('a child that cannot be started reports so once, by name and path, never by argument or variable', async (t) => {
  const directory = emptyDirectory(t);
  const plain = join(directory, 'plain');
  writeFileSync(plain, 'text');
  chmodSync(plain, 0o644);
  const cases: Array<[Parameters<typeof run>[1], RegExp]> = [
    [{ command: join(directory, 'missing') }, /missing: no such file.*ENOENT/],
    [{ command: plain }, /plain: not executable.*EACCES/],
    [{ command: join(plain, 'below') }, /ENOTDIR/],
    [{ command: '/bin/true', args: ['canary-1'.repeat(50_000)] }, /too large.*E2BIG/],
    [{ command: '/bin/true', env: { TOKEN: 'canary-1\0' } }, /ERR_INVALID_ARG_VALUE/],
    [{ command: '/bin/true', args: ['canary-1\0'] }, /ERR_INVALID_ARG_VALUE/],
  ];
  for (const [spec, expected] of cases) {
    const { child, exited, exits, guarded } = run(t, spec);
    assert.deepEqual(exits, [], 'never before launch has returned');
    assert.equal(child.pid, null);
    assert.equal(child.write(Buffer.from('x')), true);
    await child.stop();
    const { error, code, signal } = await exited;
    assert.deepEqual([code, signal], [null, null]);
    assert.match(error?.message ?? '', expected);
    assert.match(error?.message ?? '', /^upstream test: cannot start \//);
    assert.equal(error?.cause, undefined);
    assert.doesNotMatch(`${error?.message}${error?.hint}${error?.stack}`, /canary/);
    assert.deepEqual(guarded, []);
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(exits.length, 1);
  }
});

test('a child that closed its input does not crash us, and is ended', async (t) => {
  const script = "require('fs').closeSync(0); setInterval(() => {}, 1e6); console.log('closed')";
  const { child, line, exited } = run(t, node(script));
  assert.equal(await line(0), 'closed');
  const timer = setInterval(() => child.write(Buffer.from('{}')), 5);
  t.after(() => clearInterval(timer));
  assert.equal((await exited).signal, 'SIGTERM');
});

test('a child that crashes while being written to reports its own exit code', async (t) => {
  const { child, exited } = run(t, node('process.stdin.destroy(); setTimeout(() => process.exit(9), 50)'));
  const timer = setInterval(() => child.write(Buffer.from('{}')), 1);
  t.after(() => clearInterval(timer));
  assert.deepEqual(await exited, { code: 9, signal: null });
});

test('the lines of one turn leave in one write', async (t) => {
  let writes = 0;
  const { child, lines } = run(t, node(echo), {
    spawn: (command, args, options) => {
      const process = spawn(command, args, options);
      const stdin = process.stdin as unknown as { _writev: (...args: unknown[]) => unknown };
      const writev = stdin._writev;
      stdin._writev = function (...args) {
        writes++;
        return writev.apply(this, args);
      };
      return process;
    },
  });
  for (let id = 0; id < 50; id++) child.write(Buffer.from(`{"id":${id}}`));
  await until(() => lines.length === 50, 'echo');
  assert.equal(writes, 1);
});

test('a child that does not read pushes back, and onDrain tells when it has read', async (t) => {
  let drained = 0;
  const { child, lines } = run(
    t,
    node(`process.once('SIGUSR2', () => {${echo}}); console.log('ready'); setInterval(() => {}, 1e6)`),
    {
      hooks: { onDrain: () => drained++ },
    },
  );
  await until(() => lines.length === 1, 'ready');
  const line = Buffer.alloc(65_536, 'x');
  let sent = 1;
  while (child.write(line)) sent++;
  for (; sent < 20; sent++) assert.equal(child.write(line), false);
  assert.ok(child.backlog > 65_536);
  process.kill(child.pid ?? 0, 'SIGUSR2');
  await until(() => drained > 0 && lines.length === 21, 'drain');
  assert.equal(child.backlog, 0);
});

test('F5 a child that ignores SIGTERM and the end of its input is killed; stop may be repeated', async (t) => {
  const { child, line, exited, guarded } = run(t, node(`${stubborn} console.log('up')`));
  await line(0);
  const stopped = child.stop();
  assert.equal(child.stop(), stopped);
  await stopped;
  assert.equal(lives(child.pid ?? 0), false);
  assert.deepEqual(await exited, { code: null, signal: 'SIGKILL' });
  assert.deepEqual(guarded, [`+${child.pid}`, `-${child.pid}`]);
  assert.equal(child.write(Buffer.from('late')), true);
  assert.equal(child.stop(), stopped);
});

test('stop right after launch', async (t) => {
  const { child, exited } = run(t, node(stubborn));
  await child.stop();
  assert.notEqual((await exited).signal, null);
  assert.equal(lives(child.pid ?? 0), false);
});

test('F5 offspring in the group dies when the child is stopped, and when it exits by itself', async (t) => {
  const parent = `require('child_process').spawn(process.execPath, ['-e', ${JSON.stringify(`${stubborn} console.log(process.pid)`)}], {stdio: ['ignore', 'inherit', 'ignore']});`;
  for (const way of ['stop', 'exit'] as const) {
    const released: boolean[] = [];
    let offspring = 0;
    const { child, line, exits } = run(t, node(`${parent} process.stdin.on('data', () => process.exit(4))`), {
      guard: { guardGroup: () => {}, releaseGroup: () => released.push(lives(offspring)) },
    });
    offspring = Number(await line(0));
    assert.ok(lives(offspring));
    if (way === 'stop') await child.stop();
    else child.write(Buffer.from('go'));
    await until(() => released.length === 1 && exits.length === 1, way);
    assert.deepEqual(released, [false], 'released only once the group was gone');
    if (way === 'exit') assert.deepEqual(exits, [{ code: 4, signal: null }]);
  }
});

const python = '/usr/bin/python3';

test('F5 a process that looks like a zombie, its main thread having ended, is killed with its group', {
  skip: !existsSync(python) && 'no python3',
}, async (t) => {
  const undead = `
import ctypes, os, signal, threading, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
threading.Thread(target=time.sleep, args=(60,)).start()
print(os.getpid(), flush=True)
ctypes.CDLL(None).pthread_exit(None)`;
  const { child, line } = run(t, {
    command: '/bin/sh',
    args: ['-c', '"$0" -c "$1" & read line', python, undead],
  });
  const pid = Number(await line(0));
  const threads = (): number => {
    try {
      return readdirSync(`/proc/${pid}/task`).filter((task) => lives(Number(task))).length;
    } catch {
      return 0;
    }
  };
  await until(() => !lives(pid), 'main thread ended');
  assert.equal(threads(), 1);
  await child.stop();
  await until(() => threads() === 0, 'all threads ended');
});

test('a descendant in another session that holds the pipe does not delay onExit for ever', async (t) => {
  const holder = 'setTimeout(() => {}, 30000); console.log(process.pid)';
  const script = `require('child_process').spawn(process.execPath, ['-e', ${JSON.stringify(holder)}],
    {detached: true, stdio: ['ignore', 'inherit', 'ignore']}); process.stdin.on('data', () => process.exit(5))`;
  const { child, line, exited } = run(t, node(script));
  const pid = Number(await line(0));
  t.after(() => process.kill(pid, 'SIGKILL'));
  child.write(Buffer.from('go'));
  assert.deepEqual(await exited, { code: 5, signal: null });
  assert.ok(lives(pid));
});

test('F4 endless lines are held back by pause: the child waits, our memory does not grow', async (t) => {
  let bytes = 0;
  const script =
    "const chunk = ('n'.repeat(1023) + '\\n').repeat(64); (function f() { process.stdout.write(chunk, f) })()";
  const { child } = run(t, node(script), {
    hooks: {
      onLine: (line) => {
        if (bytes === 0) child.pause();
        bytes += line.length;
      },
    },
  });
  await until(() => bytes > 0, 'first line');
  const held = bytes;
  // Long enough for a thousand more chunks, had they been read: the child must be seen blocked instead.
  const memory = process.memoryUsage().rss;
  await sleep(200);
  assert.ok(bytes - held < 1 << 20, `${bytes - held} bytes after pause`);
  assert.ok(process.memoryUsage().rss - memory < 64 << 20);
  child.resume();
  await until(() => bytes > held + (8 << 20), 'resumed');
});

test('F4 an endless line and noise on both outputs: bounded memory, other lines still arrive', async (t) => {
  const script = `
    const fs = require('fs'), chunk = Buffer.alloc(1 << 20, 'e');
    const put = (fd, data) => { for (let at = 0; at < data.length;) try { at += fs.writeSync(fd, data, at) } catch {} };
    put(1, Buffer.from('{"id":1}\\nnoise, not JSON\\n{"id":2,"result":"'));
    for (let n = 0; n < 200; n++) put(1, chunk), n % 10 || put(2, chunk);
    put(1, Buffer.from('"}\\n{"id":3}\\n'));`;
  let peak = 0;
  let stderrBytes = 0;
  const { exited, lines, heads } = run(t, node(script), {
    hooks: {
      onStderr: (line) => {
        stderrBytes += line.length;
        peak = Math.max(peak, process.memoryUsage().arrayBuffers);
      },
    },
  });
  assert.deepEqual(await exited, { code: 0, signal: null });
  assert.deepEqual(lines, ['{"id":1}', 'noise, not JSON', '{"id":3}']);
  assert.equal(heads.length, 1);
  assert.match(heads[0]?.toString('latin1', 0, 20) ?? '', /^\{"id":2,"result":"e/);
  assert.equal(stderrBytes, 20 << 20);
  assert.ok(peak < 3 * limits.answerBytes, `${peak >> 20} MiB`);
});
