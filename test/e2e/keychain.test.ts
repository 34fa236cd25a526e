/** Secrets in the system's keychain, as a user has them: a real Secret Service, real commands, a real upstream. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { mainFile } from '../../src/cli/main-file.ts';
import { limits } from '../../src/limits.ts';
import { canary, scanForLeaks } from '../support/leaks.ts';
import { noSecretService, SecretService, type ServiceOptions } from '../support/secret-service.ts';
import { fixtureServer } from '../support/servers.ts';
import { finished, Home, type Options, type Result } from './home.ts';

/** What a loaded machine may add to 3 s, the start of a command included: less than the 25 s that D-Bus itself waits. */
const slackMs = 20_000;

/** A home with one upstream that takes its secret from the keychain, and remembers what it was given. */
class Desktop {
  readonly home: Home;
  readonly service: SecretService;
  /** All that commands printed. */
  readonly printed: string[] = [];
  readonly #history: string;

  private constructor(home: Home, service: SecretService) {
    this.home = home;
    this.service = service;
    this.#history = join(service.directory, 'history');
    home.configure({
      leaky: {
        ...fixtureServer('leaky'),
        env: { LEAK_HISTORY: this.#history },
        secrets: { SECRET: 'keychain:ostiary/gh' },
      },
    });
  }

  static async start(t: TestContext, options: ServiceOptions = {}): Promise<Desktop> {
    const service = await SecretService.start(t, options);
    return new Desktop(new Home(t), service);
  }

  async ostiary(args: readonly string[], input = '', env: Options['env'] = {}): Promise<Result> {
    const result = await this.home.ostiary(args, { input, env: { ...this.service.env, ...env } });
    this.printed.push(result.stdout, result.stderr);
    return result;
  }

  async ok(...args: readonly string[]): Promise<Result> {
    const result = await this.ostiary(args);
    assert.equal(result.code, 0, `${args.join(' ')}: ${result.stderr}`);
    return result;
  }

  async store(verb: 'set' | 'rotate', value: string): Promise<Result> {
    const result = await this.ostiary(['secret', verb, 'gh', '--store', 'keychain'], `${value}\n`);
    assert.equal(result.code, 0, result.stderr);
    return result;
  }

  /** The secrets that the upstream was started with. */
  given(): string[] {
    return readFileSync(this.#history, 'utf8').trimEnd().split('\n');
  }
}

const redacted = /The secret is \[redacted keychain:ostiary\/gh\]\./;

describe('the keychain', { skip: noSecretService }, () => {
  test('D4 D5 set, used, rotated, kept through a restart of keyring, bus and daemon, and removed', async (t) => {
    const desktop = await Desktop.start(t);
    const [first, second] = [canary('keychain-first'), canary('keychain-second')];

    const set = await desktop.store('set', first.value);
    assert.deepEqual(
      [set.stdout, set.stderr],
      ['', 'ostiary: in the configuration it is keychain:ostiary/gh\n'],
    );
    const again = await desktop.ostiary(['secret', 'set', 'gh', '--store', 'keychain'], 'canary-unused');
    assert.equal(again.code, 5);
    assert.equal(
      again.stderr,
      'ostiary: keychain:ostiary/gh exists already\n  try: ostiary secret rotate gh --store keychain\n',
    );
    assert.deepEqual(JSON.parse((await desktop.ok('secret', 'list', '--json')).stdout), [
      {
        name: 'gh',
        stored: true,
        label: 'keychain:ostiary/gh',
        usedBy: [{ upstream: 'leaky', into: 'SECRET' }],
      },
    ]);

    await desktop.home.up({ env: desktop.service.env });
    assert.match((await desktop.ok('call', 'leaky', 'result')).stdout, redacted);
    assert.match(
      (await desktop.store('rotate', second.value)).stderr,
      /^ostiary: running upstreams keep the old value until they are started again: leaky\n$/,
    );
    assert.match((await desktop.ok('call', 'leaky', 'result')).stdout, redacted);
    assert.deepEqual(desktop.given(), [first.value, second.value]);

    await desktop.ok('down');
    await desktop.service.stop();
    await desktop.service.boot();
    await desktop.home.up({ env: desktop.service.env });
    assert.match((await desktop.ok('call', 'leaky', 'result')).stdout, redacted);
    assert.deepEqual(desktop.given(), [first.value, second.value, second.value]);

    await desktop.ok('status', '--json');
    const leaks = scanForLeaks([first, second], {
      files: [desktop.home.directory],
      texts: desktop.printed,
      pids: desktop.home.pids('serve'),
    });
    assert.deepEqual(leaks, []);
    assert.ok(JSON.stringify(desktop.home.audit()).includes('keychain:ostiary/gh'), 'the audit log names it');

    const kept = await desktop.ostiary(['secret', 'rm', 'gh', '--store', 'keychain']);
    assert.equal(kept.code, 5);
    assert.match(
      kept.stderr,
      /keychain:ostiary\/gh is used by leaky\.SECRET\n {2}try: ostiary secret rm gh --store keychain --force\n/,
    );
    await desktop.ok('secret', 'rm', 'gh', '--store', 'keychain', '--force');
    assert.match((await desktop.ok('secret', 'list')).stdout, /^gh +keychain:ostiary\/gh +not there +leaky/m);
    const gone = await desktop.ostiary(['secret', 'rotate', 'gh', '--store', 'keychain'], 'canary-unused');
    assert.deepEqual(
      [gone.code, gone.stderr],
      [
        5,
        'ostiary: keychain:ostiary/gh: not in the keychain\n  try: ostiary secret set gh --store keychain\n',
      ],
    );
    assert.match(
      (await desktop.ostiary(['call', 'leaky', 'result'])).stderr,
      /keychain:ostiary\/gh: not in the keychain \(try: ostiary secret set gh --store keychain\)/,
    );
  });

  test('A18 neither the value nor the way to the keychain reaches agent and upstream', async (t) => {
    const desktop = await Desktop.start(t);
    const { value } = canary('keychain-agent');
    await desktop.store('set', value);
    const run = [
      'run',
      '--quiet',
      '--env',
      'COPY',
      '--',
      '/bin/sh',
      '-c',
      'echo "$COPY|$DBUS_SESSION_BUS_ADDRESS|"',
    ];
    const agent = await desktop.ostiary(run, '', { COPY: `prefix ${value}` });
    assert.equal(agent.stdout, '||\n', agent.stderr);

    desktop.home.configure({ chatty: { ...fixtureServer('chatty'), secrets: { T: 'keychain:ostiary/gh' } } });
    const { stdout } = await desktop.ok('call', 'chatty', 'environment');
    assert.match(stdout, /\bHOME\b/);
    assert.match(stdout, /\bT\b.*\[redacted keychain:ostiary\/gh\]/);
    assert.doesNotMatch(stdout, /DBUS_SESSION_BUS_ADDRESS/);
  });

  /** Runs a command that has to say `message` within 3 s, whatever else it does then. */
  async function says(desktop: Desktop, message: string, args: readonly string[]): Promise<Result> {
    const from = performance.now();
    const child = desktop.home.start(args, { env: desktop.service.env });
    const heard = new Promise<number>((resolve) => {
      child.stderr?.on('data', (chunk: Buffer) => {
        if (chunk.includes(message)) resolve(performance.now() - from);
      });
      child.on('close', () => resolve(Number.POSITIVE_INFINITY));
    });
    child.stdin?.on('error', () => {});
    child.stdin?.end('canary-of-another');
    const [ms, result] = await Promise.all([heard, finished(child)]);
    desktop.printed.push(result.stdout, result.stderr);
    assert.ok(ms < limits.keychainMs + slackMs, `${args.join(' ')}: ${ms} ms: ${result.stderr}`);
    return result;
  }

  test('locked: every command says so within 3 s, and nothing hangs', async (t) => {
    const desktop = await Desktop.start(t, { prompter: 'silent' });
    const secret = canary('keychain-locked');
    await desktop.store('set', secret.value);
    await desktop.service.lock();
    const locked = 'keychain:ostiary/gh: the keychain is locked';
    assert.equal((await says(desktop, locked, ['secret', 'set', 'gh', '--store', 'keychain'])).code, 5);
    const { stdout } = await says(desktop, locked, ['secret', 'list']);
    assert.match(stdout, /^gh +keychain:ostiary\/gh +not known +leaky\.SECRET +anywhere$/m);
    // The daemon starts: other upstreams may need no keychain.
    assert.equal((await says(desktop, locked, ['up'])).code, 0);
    const call = await says(desktop, locked, ['call', 'leaky', 'result']);
    assert.equal(call.code, 1);
    assert.match(
      call.stderr,
      /upstream leaky: keychain:ostiary\/gh: the keychain is locked \(try: ostiary secret list/,
    );
    const places = { files: [desktop.home.directory], texts: desktop.printed };
    assert.deepEqual(scanForLeaks([secret], places), []);
  });

  test('hung: a command says so within 3 s, and ends', async (t) => {
    const desktop = await Desktop.start(t);
    await desktop.store('set', canary('keychain-hung').value);
    desktop.service.hang();
    const hung = 'keychain:ostiary/gh: the keychain gave no answer within 3 s';
    const { code, stderr } = await says(desktop, hung, ['call', 'leaky', 'result']);
    assert.equal(code, 1);
    assert.match(stderr, /upstream leaky: keychain:ostiary\/gh: the keychain gave no answer within 3 s/);
  });

  test('locked, at the terminal of a desktop: somebody is told to unlock it, and has a minute', async (t) => {
    if (spawnSync('script', ['--version']).error !== undefined)
      return t.skip('needs script(1) of util-linux');
    const desktop = await Desktop.start(t, { prompter: 'silent' });
    await desktop.store('set', canary('keychain-prompt').value);
    await desktop.service.lock();
    const from = performance.now();
    const child = spawn('script', ['-qefc', '"$NODE" "$MAIN" secret list', '/dev/null'], {
      env: {
        ...desktop.home.env,
        ...desktop.service.env,
        NODE: process.execPath,
        MAIN: mainFile,
        DISPLAY: ':no-such-display',
        SHELL: '/bin/sh',
      },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    let screen = '';
    for await (const chunk of child.stdout) {
      screen += String(chunk);
      if (screen.includes('\n')) break;
    }
    assert.match(
      screen,
      /^ostiary: the keychain is locked: unlock it in the window that it opens, within 60 s\r\n/,
    );
    assert.ok(performance.now() - from < limits.keychainMs + slackMs);
    assert.equal(child.exitCode, null, 'it waits');
    child.kill('SIGKILL');
  });
});

test('--store takes two words, and no value on the command line', async (t) => {
  const home = new Home(t);
  for (const args of [
    ['set', 'gh', '--store', 'canary-store'],
    ['set', 'gh', 'canary-value', '--store', 'keychain'],
    ['rm', 'gh', '--store=canary-store'],
  ]) {
    const { code, stdout, stderr } = await home.ostiary(['secret', ...args], { input: 'canary-unused' });
    assert.equal(code, 2, stderr);
    assert.ok(!`${stdout}${stderr}`.includes('canary'), 'what was typed is not repeated');
  }
});

test('without D-Bus the keychain says what to do instead', async (t) => {
  const home = new Home(t);
  const { code, stderr } = await home.ostiary(['secret', 'set', 'gh', '--store', 'keychain'], {
    input: 'canary-unused',
  });
  assert.equal(code, 5);
  assert.equal(
    stderr,
    'ostiary: keychain:ostiary/gh: no D-Bus session, which leads to the keychain\n' +
      '  try: start ostiary from a desktop or systemd user session, or keep the secret in the vault: ostiary secret set NAME\n',
  );
});
