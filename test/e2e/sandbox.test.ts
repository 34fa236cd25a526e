/** An agent in a sandbox is started, signalled and ended like one without; and nothing of it stays. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { mainFile } from '../../src/cli/main-file.ts';
import { DrivenAgent, textOf } from './agent.ts';
import { finished, isGone, until } from './home.ts';
import { canSandbox, mechanisms, SandboxHome } from './sandbox.ts';

/** Why there is no terminal to be had. */
const noTerminal =
  spawnSync('script', ['--version']).status === 0 ? false : 'skipped: no script(1) of util-linux';

for (const by of mechanisms)
  describe(`isolation ${by}`, { concurrency: 3 }, () => {
    test('the agent calls its upstreams, has a private TMPDIR, and ends by its own code or signal', async (t) => {
      if (!canSandbox(t, by)) return;
      const home = new SandboxHome(t, by);
      const daemon = await home.up();
      const agent = DrivenAgent.start(home, [], { cwd: home.project });
      await agent.open('chatty');
      assert.equal(textOf(await agent.call('chatty', 'echo', { text: 'through' })), 'through');
      const { env } = await agent.view();
      assert.notEqual(env.TMPDIR, home.env.TMPDIR);
      assert.notEqual(env.XDG_RUNTIME_DIR, home.env.XDG_RUNTIME_DIR);
      // What a daemon knows of no file, an agent without Unix sockets has in its environment.
      assert.equal('OSTIARY_TOKEN' in env, by === 'landlock');
      const ended = await agent.exit(7);
      assert.equal(ended.code, 7, ended.stderr);
      assert.match(ended.stderr, /^ostiary: level L1: the agent is sandboxed by [^\n]+\n$/);

      const { stdout, code } = await home.shell('trap "echo heard; exit 42" TERM; kill -TERM $$; exit 1');
      assert.deepEqual([code, stdout], [42, 'heard\n']);
      const killed = await home.shell('kill -KILL $$');
      assert.deepEqual([killed.code, killed.signal], [null, 'SIGKILL']);
      const missing = await home.shell('', ['--rw', '/nowhere/at/all']);
      assert.equal(missing.code, 2);
      assert.match(
        missing.stderr,
        /^ostiary: \/nowhere\/at\/all: --rw: no such file or directory\n {2}try: /,
      );
      process.kill(daemon, 'SIGTERM');
      await until(() => isGone([daemon]), 'the daemon has ended');
      assert.deepEqual(home.remains(), []);
    });

    test('SIGTERM goes on to the agent, who decides', async (t) => {
      if (!canSandbox(t, by)) return;
      const home = new SandboxHome(t, by);
      const script = `trap 'echo heard; exit 42' TERM; echo ready; while :; do sleep 0.05; done`;
      const run = home.start(['run', '--', '/bin/sh', '-c', script], { cwd: home.project });
      run.stdout?.on('data', (chunk: Buffer) => {
        if (chunk.includes('ready')) run.kill('SIGTERM');
      });
      const ended = await finished(run);
      assert.deepEqual([ended.code, ended.stdout], [42, 'ready\nheard\n'], ended.stderr);
      assert.deepEqual(home.remains(), []);
    });

    test('a terminal: its size, Ctrl-Z and fg, Ctrl-C', { skip: noTerminal }, async (t) => {
      if (!canSandbox(t, by)) return;
      const home = new SandboxHome(t, by);
      const script = `stty size; test -t 0 && test -t 2 && echo on a terminal; trap 'echo interrupted; exit 5' INT; trap 'echo goes on' CONT; echo ready; while :; do sleep 0.05; done`;
      const quoted = [process.execPath, mainFile, 'run', '--quiet', '--', '/bin/sh', '-c', script]
        .map((word) => `'${word.replaceAll("'", "'\\''")}'`)
        .join(' ');
      // An interactive shell is the one to stop and go on; it tells the code of what it ran.
      const child = spawn('script', ['-qec', 'exec bash --norc --noprofile -i', '/dev/null'], {
        env: { ...home.env, PS1: '% ', SHELL: '/bin/sh', TERM: 'dumb' },
        cwd: home.project,
        ...home.identity,
      });
      let shown = '';
      child.stdout.on('data', (chunk: Buffer) => {
        shown += chunk.toString();
      });
      const type = async (keys: string, expected: RegExp): Promise<void> => {
        const from = shown.length;
        child.stdin.write(keys);
        await until(
          () => expected.test(shown.slice(from)),
          `${JSON.stringify(keys)} → ${expected}: ${shown}`,
        );
      };
      await type(`stty rows 33 cols 77; clear >/dev/null; ${quoted}; echo "code:$?"\n`, /\nready/);
      assert.match(shown, /33 77\r\non a terminal/);
      await type('\x1a', /Stopped/);
      await type('fg\n', /\ngoes on/);
      await type('\x03', /interrupted/);
      await type('echo "after:$?"\n', /after:5/);
      child.stdin.write('exit\n');
      await finished(child);
      assert.deepEqual(home.remains(), []);
    });

    for (const victim of ['run', 'sandbox', 'agent', 'daemon'] as const)
      test(`F5 SIGKILL of ${victim}: nothing stays, not what left its session`, async (t) => {
        if (!canSandbox(t, by)) return;
        const home = new SandboxHome(t, by);
        // The word is for us: a sleeper says nothing of its home.
        const word = `sleeper-${process.pid}-${by}-${victim}`;
        const sleeper = `exec -a ${word} sleep 600`;
        const script = `setsid -f bash -c '${sleeper}'; (bash -c '${sleeper}' &); echo ready; read line; exit 3`;
        const run = home.start(['run', '--quiet', '--', '/bin/bash', '-c', script], { cwd: home.project });
        let said = '';
        run.stdout?.on('data', (chunk: Buffer) => {
          said += chunk.toString();
        });
        const exited = finished(run);
        const sleepers = (): number[] => home.everywhere(word);
        await until(() => said.includes('ready') && sleepers().length === 2, 'the agent and its children');
        const [daemon = 0] = home.pids('serve');
        const sandbox = home
          .children(run.pid ?? 0)
          .find(({ argv }) => argv.includes('bwrap') || argv.some((arg) => arg.endsWith('launcher.cjs')));
        const agent = home.everywhere(script).at(-1);
        const pid = { run: run.pid, sandbox: sandbox?.pid, agent, daemon }[victim];
        process.kill(pid ?? 0, 'SIGKILL');
        if (victim === 'daemon') {
          await until(() => isGone([daemon]), 'the daemon is gone');
          run.stdin?.write('\n');
        }
        const { code, signal } = await exited;
        if (victim === 'daemon') assert.equal(code, 3);
        else assert.equal(signal, 'SIGKILL');
        await until(() => sleepers().length === 0, 'what the agent started has ended');
        await until(() => isGone([daemon, sandbox?.pid ?? 0, agent ?? 0]), 'all of ours has ended');
        await until(() => home.remains().length === 0, 'its files are gone');
        const mounts = readFileSync('/proc/self/mountinfo', 'utf8');
        assert.equal(mounts.includes(home.directory), false);
      });
  });

describe('what cannot be had is refused', { concurrency: 2 }, () => {
  test('a home directory as project; --rw of what is ours; links out of the project; what is not the agent’s', async (t) => {
    if (!canSandbox(t, 'landlock')) return;
    const home = new SandboxHome(t, 'landlock');
    await home.up();
    const inHome = await home.shell('echo started', [], { cwd: home.directory });
    assert.deepEqual([inHome.code, inHome.stdout], [2, '']);
    assert.match(
      inHome.stderr,
      /expected the directory of a project, got your home directory\n {2}try: cd to /,
    );
    const ours = await home.shell('echo started', ['--ro', join(home.state, 'audit.jsonl')]);
    assert.deepEqual([ours.code, ours.stdout], [2, '']);
    assert.match(ours.stderr, /--ro: expected a path outside .+, which is ostiary's own/);
    assert.equal((await home.shell('ln -s "$HOME" out')).code, 0);
    const link = await home.shell('echo started', ['--rw', 'out']);
    assert.match(link.stderr, /--rw: expected no link that leads out of the project/);
    writeFileSync(join(home.directory, '.claude.json'), '{"mine":true}', { mode: 0o600 });
    home.own();
    const own =
      'cd "$CLAUDE_CONFIG_DIR"; cat .claude.json; echo {} > new && mv new .claude.json && cat .claude.json; echo';
    const state = await home.shell(`${own}; (: >> ~/.claude.json) || echo kept`, ['--agent', 'claude']);
    assert.equal(state.stdout, '{"mine":true}{}\n\nkept\n', state.stderr);
    const told = await home.shell('touch here && echo wrote', ['--rw', home.project]);
    assert.deepEqual([told.code, told.stdout], [0, 'wrote\n'], told.stderr);
    assert.ok(existsSync(join(home.project, 'here')));
  });
});
