/** The agent's process: started, told of, guarded from the first instant. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { describe, test } from 'node:test';
import { runAgent } from '../../src/agents/launch.ts';
import { Failure } from '../../src/errors.ts';
import { finished } from '../e2e/home.ts';

const shell = (script: string) => ({ command: '/bin/sh', args: ['-c', script], env: {} });

describe('runAgent', () => {
  test('tells the pid before the agent can have done anything, and how it ended', async () => {
    let told = 0;
    const exit = runAgent(shell('exit 3'), (pid) => {
      told = pid;
    });
    assert.ok(told > 0, 'in the same turn');
    assert.deepEqual(await exit, { code: 3, signal: null });
    assert.deepEqual(await runAgent(shell('kill -USR1 $$'), () => {}), { code: null, signal: 'SIGUSR1' });
  });

  test('leaves no signal handler behind, however it ended', async () => {
    const count = () =>
      ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGUSR2'].map((name) => process.listenerCount(name));
    const before = count();
    await runAgent(shell('exit 0'), () => {});
    await runAgent({ ...shell(''), command: '/nowhere/agent' }, () => {}).catch(() => {});
    assert.deepEqual(count(), before);
  });

  for (const [command, code] of [
    ['/nowhere/agent', 'ENOENT'],
    ['/etc/passwd', 'EACCES'],
  ] as const)
    test(`cannot start: ${code}`, async () => {
      await assert.rejects(
        runAgent({ command, args: [], env: {} }, () => assert.fail('told')),
        (error: unknown) => {
          assert.ok(error instanceof Failure);
          assert.equal(error.message, `cannot start ${command}: ${code}`);
          assert.doesNotMatch(error.hint ?? '', /^try/, 'the entry point says that');
          return true;
        },
      );
    });

  test('arguments that are too large are a failure, not a crash', async () => {
    const args = Array.from({ length: 40 }, () => 'x'.repeat(120_000));
    await assert.rejects(
      runAgent({ command: '/bin/sh', args, env: {} }, () => {}),
      Failure,
    );
  });

  test('a signal that comes as soon as the agent runs goes to the agent', async () => {
    const module = new URL('../../src/agents/launch.js', import.meta.url).href;
    // The agent itself sends it to its parent: no earlier moment can be hit from outside.
    const script = `const { runAgent } = await import(${JSON.stringify(module)});
      const agent = "trap 'exit 9' TERM; kill -TERM $PPID; while :; do sleep 0.01; done";
      const exit = await runAgent({ command: '/bin/sh', args: ['-c', agent], env: {} }, () => {});
      console.log(JSON.stringify(exit));`;
    for (let i = 0; i < 5; i++) {
      const ended = await finished(spawn(process.execPath, ['--input-type=module', '-e', script]));
      assert.equal(ended.stdout, '{"code":9,"signal":null}\n', ended.stderr);
    }
  });
});
