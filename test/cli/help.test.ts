/** Every command explains itself, and a wrong command line is answered with what is wrong and nothing secret. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, describe, test } from 'node:test';
import { version } from '../../src/paths.ts';
import { finished, Home } from '../e2e/home.ts';
import { canary, scanForLeaks } from '../support/leaks.ts';

const commands = [
  ...['run', 'up', 'down', 'status', 'serve', 'list', 'call', 'doctor', 'demo', 'connect', 'headers'],
  ...['service', 'service print', 'service install', 'service uninstall'],
  ...['session', 'session new', 'session list', 'session bind', 'session end'],
  ...['secret', 'secret set', 'secret rotate', 'secret rebind', 'secret list', 'secret rm'],
  ...['vault', 'vault init', 'vault status', 'vault rewrap', 'vault export-recovery', 'vault restore'],
  ...['upstream', 'upstream probe'],
  ...['auth', 'auth login', 'auth status', 'auth logout', 'auth refresh'],
  ...['config', 'config check', 'config path', 'config schema', 'config example'],
  ...['audit', 'audit tail', 'audit verify', 'audit head'],
];

/** The help of each, printed by one process: they are many, and starting Node is slow. */
async function helps(home: Home): Promise<Map<string, string>> {
  const program = new URL('../../src/cli/program.js', import.meta.url).href;
  const every = new URL('../../src/cli/commands.js', import.meta.url).href;
  const script = `const { runProgram } = await import(${JSON.stringify(program)});
    const all = (await import(${JSON.stringify(every)})).commands;
    for (const command of ${JSON.stringify(commands)}) {
      await runProgram([...command.split(' '), '--help'], all);
      process.stdout.write('\\0');
    }`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { env: { ...home.env } });
  const { code, stdout, stderr } = await finished(child);
  assert.deepEqual([code, stderr], [0, '']);
  const texts = stdout.split('\0');
  return new Map(commands.map((command, index) => [command, texts[index] ?? '']));
}

describe('--help', () => {
  const home = new Home({ after });

  test('names every command', async () => {
    const named = [...(await home.ok(['--help'])).matchAll(/^ {2}([a-z]+) /gm)].map(([, name]) => name);
    const known = new Set(commands.map((command) => command.split(' ')[0]));
    assert.deepEqual(new Set(named), new Set([...known, 'help']), 'the list in this test is complete');
    assert.match(await home.ok(['connect', '--help']), /^Usage: ostiary connect /);
  });

  test('of each command: its usage, and a phrase about what it does', async () => {
    for (const [command, text] of await helps(home)) {
      assert.match(text, new RegExp(`^Usage: ostiary ${command}\\b[^\n]*\n\n[a-zA-Z][^.]`), command);
      assert.doesNotMatch(
        text.split('\n\n')[1] ?? '',
        /^[A-Z][a-z]|\.$/,
        `${command}: lower case, no full stop`,
      );
    }
  });

  test('--version', async () => {
    assert.equal(await home.ok(['--version']), `${version}\n`);
  });
});

describe('a wrong command line: exit code 2, what is wrong on stderr', { concurrency: 3 }, () => {
  const home = new Home({ after });
  const secret = canary('typed').value;

  const wrong: [args: string[], message: RegExp][] = [
    [['frobnicate'], /^ostiary: unknown command 'frobnicate'\n/],
    [['stauts'], /^ostiary: unknown command 'stauts'\n\(Did you mean status\?\)\n/],
    [['--frobnicate'], /^ostiary: unknown option '--frobnicate'\n/],
    [['status', `--token=${secret}`], /^ostiary: unknown option '--token=…'\n/],
    [['run', `--env-value=${secret}`, '--', 'true'], /^ostiary: unknown option '--env-value=…'\n/],
    [['call', 'a', 'b', '{}', secret], /^ostiary: too many arguments for 'call'/],
    [['up', secret], /^ostiary: too many arguments for 'up'/],
    [
      ['secret', 'set', 'name', secret],
      /^ostiary: a value on the command line is refused.*\n {2}try: ostiary secret set NAME/,
    ],
    [['secret', 'set', 'name', `--value=${secret}`], /^ostiary: a value on the command line is refused/],
    [['secret', 'rotate', 'name', secret], /^ostiary: a value on the command line is refused/],
    [['secret', 'set'], /^ostiary: missing required argument 'NAME'\n/],
    [['run'], /^ostiary: missing required argument 'agent'\n/],
    [['session', 'end'], /^ostiary: missing required argument 'id'\n/],
    [['connect', 'a'], /^ostiary: expected --socket PATH, or OSTIARY_SOCKET/],
    [['headers'], /^ostiary: expected --socket PATH, or OSTIARY_SOCKET/],
    [
      ['connect', '--socket', '/x', 'a', 'b'],
      /^ostiary: usage: ostiary connect \[--socket PATH\] \[UPSTREAM\]\n/,
    ],
    [
      ['serve', '--env-fd', secret],
      /^ostiary: --env-fd takes the number of an open file descriptor\n {2}try: /,
    ],
    [['serve', '--passphrase-fd', secret], /^ostiary: --passphrase-fd takes the number/],
    [['audit', 'tail', '-n', 'many'], /^ostiary: option '-n, --lines <n>' argument 'many' is invalid/],
  ];
  for (const [args, message] of wrong)
    test(args.map((arg) => arg.replace(secret, 'SECRET')).join(' '), async () => {
      const { code, stdout, stderr } = await home.ostiary(args);
      assert.deepEqual([code, stdout], [2, '']);
      assert.match(stderr, message);
      assert.deepEqual(scanForLeaks([{ name: 'typed', value: secret }], { texts: [stderr] }), []);
    });

  test('a group of commands without one shows its help', async () => {
    for (const args of [[], ['secret'], ['audit']]) {
      const { code, stderr } = await home.ostiary(args);
      assert.equal(code, 2);
      assert.match(stderr, /^Usage: ostiary/);
    }
  });
});
