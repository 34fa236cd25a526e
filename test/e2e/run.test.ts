/** `ostiary run -- AGENT`: what it gives to the agent, what it keeps from it, and how it ends. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { mainFile } from '../../src/cli/main-file.ts';
import { canary, scanForLeaks } from '../support/leaks.ts';
import { fixtureServer } from '../support/servers.ts';
import { hostileNames } from '../upstreams/hostile.ts';
import { DrivenAgent, Refused, textOf } from './agent.ts';
import { finished, Home, isGone, type Options, type Result, until } from './home.ts';

function homeWithChatty(t: TestContext, more: Record<string, unknown> = {}): Home {
  const home = new Home(t);
  home.configure({ chatty: fixtureServer('chatty') }, more);
  return home;
}

/** `ostiary run FLAGS -- /bin/sh -c SCRIPT ARGS`. */
function runShell(
  home: Home,
  script: string,
  flags: string[] = [],
  args: string[] = [],
  options: Options = {},
): Promise<Result> {
  return home.ostiary(['run', ...flags, '--', '/bin/sh', '-c', script, 'sh', ...args], options);
}

describe('how it ends', { concurrency: 2 }, () => {
  test('as its agent: exit codes', async (t) => {
    const home = homeWithChatty(t);
    const alone = await runShell(home, 'exit 7');
    assert.deepEqual([alone.code, alone.stdout], [7, ''], alone.stderr);
    assert.match(alone.stderr, /^ostiary: [^\n]+\n$/, 'one line, about isolation');
    assert.deepEqual(home.remains(), []);
    await home.up();
    for (const code of [0, 255]) assert.equal((await runShell(home, `exit ${code}`, ['--quiet'])).code, code);
    assert.deepEqual(home.remains(), ['control.sock']);
  });

  for (const [name, number] of [
    ['TERM', 15],
    ['KILL', 9],
  ] as const)
    test(`as its agent: SIG${name}, after it has cleaned up`, async (t) => {
      const home = homeWithChatty(t);
      const out = join(home.scratch, 'mcp.json');
      const shell = [
        '"$@"; echo "code $?"',
        'sh',
        process.execPath,
        mainFile,
        'run',
        '--config-out',
        out,
        '--',
      ];
      const agent = ['/bin/sh', '-c', `test -s "$OSTIARY_MCP_CONFIG" && kill -${name} $$`];
      const { stdout } = await finished(
        spawn('/bin/sh', ['-c', ...shell, ...agent], { env: { ...home.env } }),
      );
      assert.equal(stdout, `code ${128 + number}\n`);
      assert.equal(existsSync(out), false);
      assert.deepEqual(home.remains(), []);
      assert.deepEqual(home.pids('serve'), []);
    });

  for (const signal of ['SIGTERM', 'SIGHUP', 'SIGINT'] as const)
    test(`${signal} goes on to the agent, who decides`, async (t) => {
      const home = homeWithChatty(t);
      const script = `trap 'echo heard; exit 42' ${signal.slice(3)}; echo ready; while :; do sleep 0.05; done`;
      const run = home.start(['run', '--', '/bin/sh', '-c', script]);
      run.stdout?.on('data', (chunk: Buffer) => {
        if (chunk.includes('ready')) run.kill(signal);
      });
      const ended = await finished(run);
      assert.deepEqual([ended.code, ended.stdout], [42, 'ready\nheard\n'], ended.stderr);
      assert.deepEqual(home.remains(), []);
    });

  test('an agent that is not there', async (t) => {
    const home = homeWithChatty(t);
    const ended = await home.ostiary(['run', '--quiet', '--', 'no-such-agent']);
    assert.equal(ended.code, 127);
    assert.equal(
      ended.stderr,
      'ostiary: cannot start no-such-agent: ENOENT\n  try: command -v no-such-agent: is it on your PATH?\n',
    );
    assert.deepEqual(home.remains(), []);
  });
});

/** Why there is no terminal to be had. */
const noTerminal =
  process.platform !== 'linux' || spawnSync('script', ['--version']).status !== 0
    ? 'skipped: no script(1) of util-linux'
    : false;

describe('what the agent gets', { concurrency: 2 }, () => {
  test('its configuration by placeholder, by variable, and where --config-out says', async (t) => {
    const home = homeWithChatty(t);
    const show = 'echo "$1"; echo "$OSTIARY_MCP_CONFIG"; echo "$2"; cat "$1"';
    const plain = (await runShell(home, show, [], ['{mcp-config}', '--x={mcp-config}:{mcp-config}'])).stdout;
    const [path = '', variable, inside, ...text] = plain.split('\n');
    assert.ok(path.startsWith(home.runtime), path);
    assert.deepEqual([variable, inside], [path, `--x=${path}:${path}`]);
    assert.equal(existsSync(path), false);
    const { mcpServers } = JSON.parse(text.join('\n')) as {
      mcpServers: Record<string, { command: string; args: string[] }>;
    };
    assert.deepEqual(Object.keys(mcpServers), ['chatty']);
    assert.equal(mcpServers.chatty?.command, process.execPath);
    assert.deepEqual(mcpServers.chatty?.args.slice(0, 3), [mainFile, 'connect', '--socket']);

    const named = await runShell(home, show, ['--config-out', 'tmp/my.json'], ['{mcp-config}']);
    assert.equal(named.stdout.split('\n')[0], join(home.scratch, 'my.json'), named.stderr);
    assert.equal(existsSync(join(home.scratch, 'my.json')), false);
  });

  test('one server for all with --merged', async (t) => {
    const { stdout } = await runShell(homeWithChatty(t), 'cat "$1"', ['--merged'], ['{mcp-config}']);
    const { mcpServers } = JSON.parse(stdout) as { mcpServers: Record<string, { args: string[] }> };
    assert.deepEqual(Object.keys(mcpServers), ['ostiary']);
    assert.equal(mcpServers.ostiary?.args.length, 4);
  });

  test('its session by variable: connect and headers need no option', async (t) => {
    const home = homeWithChatty(t);
    const ping =
      '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}';
    const show = `printf '%s\\n' '${ping}' | '${process.execPath}' '${mainFile}' connect chatty; '${process.execPath}' '${mainFile}' headers`;
    const { stdout, stderr } = await runShell(home, show);
    const [answer = '', headers = ''] = stdout.split('\n');
    assert.equal((JSON.parse(answer) as { id: number }).id, 1, stderr);
    assert.match(headers, /^\{"Authorization":"Bearer [A-Za-z0-9_-]{43}"\}$/);
  });

  test('a file that is there already is not replaced by --config-out, nor removed', async (t) => {
    const home = homeWithChatty(t);
    const mine = join(home.scratch, 'mine.json');
    writeFileSync(mine, 'mine');
    const ended = await runShell(home, 'echo started', ['--config-out', mine]);
    assert.deepEqual([ended.code, ended.stdout], [2, '']);
    assert.match(ended.stderr, /mine\.json: file exists already/);
    assert.equal(readFileSync(mine, 'utf8'), 'mine');
  });

  test('servers by HTTP with --http, their token from the headers helper and nowhere else', async (t) => {
    const home = homeWithChatty(t);
    const agent = DrivenAgent.start(home, ['--http']);
    const { text, env } = await agent.view();
    const server = (JSON.parse(text) as { mcpServers: { chatty: Record<string, string> } }).mcpServers.chatty;
    assert.deepEqual(Object.keys(server).sort(), ['headersHelper', 'type', 'url']);
    assert.match(server.url ?? '', /^http:\/\/127\.0\.0\.1:\d+\/mcp\/chatty$/);
    assert.equal((await agent.open('chatty')).shim, null);
    assert.equal(textOf(await agent.call('chatty', 'echo', { text: 'by http' })), 'by http');
    assert.equal(/[Bb]earer|[Tt]oken/.test(text + JSON.stringify(env)), false);
    assert.equal((await agent.exit()).code, 0);
    assert.deepEqual(home.remains(), []);
  });

  const view = 'process.stdout.write(JSON.stringify(process.env))';

  async function environment(home: Home, flags: string[], options: Options): Promise<Record<string, string>> {
    const { code, stdout, stderr } = await home.ostiary(
      ['run', ...flags, '--', process.execPath, '-e', view],
      options,
    );
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout) as Record<string, string>;
  }

  test('I1 of the environment only what the allow-list names', async (t) => {
    const home = homeWithChatty(t, { agent: { env: ['MY_*'] } });
    // Those that steer a Node would have an effect on `run` itself; they are for test/cli/start-up.test.ts.
    const names = hostileNames.filter((name) => !/^(NODE|LD|GLIBC|OPENSSL|SSL|SHELLOPTS)/.test(name));
    const hostile = Object.fromEntries(names.map((name) => [name, '/nonexistent']));
    const env = {
      ...hostile,
      AWS_SECRET_ACCESS_KEY: 'x',
      MY_OWN: '1',
      ONE: '2',
      TWO: '3',
      TERM: 'xterm',
      LANG: 'C.UTF-8',
    };
    const seen = await environment(home, ['--env', 'ONE'], { env });
    const expected = [
      ...Object.keys(home.env),
      'LANG',
      'TERM',
      'MY_OWN',
      'ONE',
      'OSTIARY_MCP_CONFIG',
      'OSTIARY_SOCKET',
    ];
    assert.deepEqual(
      Object.keys(seen)
        .filter((name) => name !== 'LANGUAGE')
        .sort(),
      expected.sort(),
    );
  });

  test('no variable that holds a secret, by name or by value, whatever --env and agent.env say', async (t) => {
    const home = new Home(t);
    const [vaulted, given] = [canary('vaulted'), canary('given')];
    home.configure(
      { chatty: { ...fixtureServer('chatty'), secrets: { API_KEY: 'vault:key', OTHER_KEY: 'env:GIVEN' } } },
      { agent: { env: ['COPY_*', 'A*'] } },
    );
    await home.secret('key', vaulted);
    const env = {
      API_KEY: 'the name is enough',
      GIVEN: given.value,
      COPY_RAW: vaulted.value,
      COPY_GIVEN: `Bearer ${given.value}`,
      COPY_BASE64: Buffer.from(`user:${vaulted.value}`).toString('base64'),
      EDITOR: `vi ${vaulted.value}`,
      COPY_HARMLESS: 'harmless',
    };
    const seen = await environment(home, ['--env', 'GIVE?', '--env', 'API_KEY'], { env });
    for (const name of Object.keys(env)) assert.equal(name in seen, name === 'COPY_HARMLESS', name);
    assert.deepEqual(
      scanForLeaks([vaulted, given], { texts: [JSON.stringify(seen)], files: [home.directory] }),
      [],
    );
    assert.equal(seen.COPY_HARMLESS, 'harmless');
  });

  test('the upstream has the secret of an env: reference all the same', async (t) => {
    const home = new Home(t);
    const given = canary('given');
    home.configure({ chatty: { ...fixtureServer('chatty'), secrets: { API_KEY: 'env:GIVEN' } } });
    const agent = DrivenAgent.start(home, [], { env: { GIVEN: given.value } });
    await agent.open('chatty');
    const env = JSON.parse(textOf(await agent.call('chatty', 'environment'))) as Record<string, string>;
    assert.match(env.API_KEY ?? '', /redacted env:GIVEN/i);
    assert.equal('GIVEN' in env, false);
    await agent.exit();
    assert.deepEqual(scanForLeaks([given], { texts: [agent.printed], files: [home.directory] }), []);
  });

  for (const where of ['a terminal', 'pipes'])
    test(`its standard streams are ${where}, as they were`, {
      skip: where === 'pipes' ? false : noTerminal,
    }, async (t) => {
      const home = homeWithChatty(t);
      const script = 'test -t 0 && test -t 1 && test -t 2 && echo terminal || echo pipes';
      if (where === 'pipes') return assert.equal((await runShell(home, script)).stdout, 'pipes\n');
      const { stdout, code } = await onTerminal(home, script);
      assert.match(stdout, /terminal\r\n/);
      assert.equal(code, 0);
    });
});

/** Under script(1), which gives it a terminal and passes its exit code on. */
async function onTerminal(
  home: Home,
  script: string,
  onOutput?: (text: string, type: (keys: string) => void) => void,
): Promise<Result> {
  // Without `exec` a shell in between would report the signal that it got too.
  const quoted = [process.execPath, mainFile, 'run', '--quiet', '--', '/bin/sh', '-c', script]
    .map((word) => `'${word.replaceAll("'", "'\\''")}'`)
    .join(' ');
  const child = spawn('script', ['-qec', `exec ${quoted}`, '/dev/null'], {
    env: { ...home.env, SHELL: '/bin/sh' },
  });
  child.stdout.on('data', (chunk: Buffer) => onOutput?.(chunk.toString(), (keys) => child.stdin.write(keys)));
  return finished(child);
}

describe('Ctrl-C', () => {
  for (const [what, trap, code] of [
    ['catches', "trap 'echo caught; exit 5' INT; ", 5],
    ['dies of', '', 130],
  ] as const)
    test(`an agent that ${what} it: once, and then all is gone`, { skip: noTerminal }, async (t) => {
      const home = homeWithChatty(t);
      const script = `${trap}echo ready; while :; do sleep 0.05; done`;
      const ended = await onTerminal(home, script, (text, type) => {
        if (text.includes('ready')) type('\x03');
      });
      assert.equal(ended.code, code, ended.stdout);
      assert.equal(ended.stdout.split('caught').length - 1, code === 5 ? 1 : 0);
      assert.deepEqual(home.remains(), []);
      await until(() => home.processes().length === 0, 'nothing of it runs');
    });
});

describe('what cannot work is said', { concurrency: 2 }, () => {
  test('a profile that does not exist', async (t) => {
    const home = homeWithChatty(t, { profiles: { work: { rules: [{ allow: 'chatty' }] } } });
    const ended = await runShell(home, 'echo started', ['--profile', 'play']);
    assert.notEqual(ended.code, 0);
    assert.equal(ended.stdout, '');
    assert.match(ended.stderr, /^ostiary: no profile play; there are: work\n/);
    assert.deepEqual(home.remains(), []);
  });

  test('no upstreams', async (t) => {
    const home = new Home(t);
    const ended = await runShell(home, 'echo started');
    assert.equal(ended.code, 3);
    assert.match(ended.stderr, /^ostiary: no upstreams are configured\n {2}try: ostiary config example/);
  });

  test('a runtime directory whose path leaves no room for a socket', async (t) => {
    const home = homeWithChatty(t);
    const deep = join(home.scratch, 'x'.repeat(60));
    mkdirSync(deep, { mode: 0o700 });
    const ended = await runShell(home, 'echo started', [], [], { env: { XDG_RUNTIME_DIR: deep } });
    assert.equal(ended.code, 4);
    assert.match(
      ended.stderr,
      /^ostiary: socket path is longer than \d+ bytes: .*\n {2}try: set XDG_RUNTIME_DIR/,
    );
  });

  test('a secret that is missing: the call fails and names it, and so do log and audit', async (t) => {
    const home = new Home(t);
    home.configure({ chatty: { ...fixtureServer('chatty'), secrets: { API_KEY: 'vault:absent' } } });
    await home.secret('present', canary('present'));
    const daemon = await home.up();
    const agent = DrivenAgent.start(home);
    const failure: unknown = await agent.open('chatty').catch((error: unknown) => error);
    assert.ok(failure instanceof Refused);
    assert.deepEqual([failure.error.code, failure.error.data?.ostiary], [503, 'credential_unavailable']);
    assert.match(failure.message, /upstream chatty: vault:absent: not in the vault/);
    assert.match(home.log(), /vault:absent/);
    assert.match(await home.ok(['status']), /problem: .*vault:absent/);
    // Mended while all runs.
    await home.secret('absent', canary('absent'));
    await agent.open('chatty');
    assert.equal(textOf(await agent.call('chatty', 'echo', { text: 'works' })), 'works');
    await agent.exit();
    await home.ok(['down']);
    assert.ok(isGone([daemon]));
  });
});

test('H2 two at once, each with a private daemon: both work, one chain', async (t) => {
  const home = homeWithChatty(t);
  const agents = [DrivenAgent.start(home), DrivenAgent.start(home)];
  const answers = await Promise.all(
    agents.map(async (agent, index) => {
      await agent.open('chatty');
      const texts = [];
      for (let i = 0; i < 20; i++)
        texts.push(textOf(await agent.call('chatty', 'echo', { text: `${index}-${i}` })));
      return texts;
    }),
  );
  assert.equal(home.pids('serve').length, 2);
  assert.deepEqual(
    answers,
    [0, 1].map((index) => Array.from({ length: 20 }, (_, i) => `${index}-${i}`)),
  );
  assert.deepEqual(
    (await Promise.all(agents.map((agent) => agent.exit()))).map(({ code }) => code),
    [0, 0],
  );
  const verdict = JSON.parse(await home.ok(['audit', 'verify', '--json'])) as {
    ok: boolean;
    records: number;
  };
  assert.equal(verdict.ok, true);
  assert.ok(verdict.records >= 80);
  assert.deepEqual(home.remains(), []);
});
