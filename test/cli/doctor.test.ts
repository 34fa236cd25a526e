/** What `ostiary doctor` finds, in states that are real where they can be had: each code is seen at least once. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext, test } from 'node:test';
import { type Check, type Examined, examineAll } from '../../src/cli/doctor/check.ts';
import { configuration } from '../../src/cli/doctor/checks/configuration.ts';
import { daemon } from '../../src/cli/doctor/checks/daemon.ts';
import { looksSecret } from '../../src/cli/doctor/checks/environment.ts';
import { judgeProgram } from '../../src/cli/doctor/checks/files.ts';
import { isolation } from '../../src/cli/doctor/checks/isolation.ts';
import { keychain } from '../../src/cli/doctor/checks/keychain.ts';
import { logins } from '../../src/cli/doctor/checks/logins.ts';
import { privilege } from '../../src/cli/doctor/checks/privilege.ts';
import {
  inRange,
  judgeInspector,
  judgeNode,
  judgeNpm,
  judgePeer,
} from '../../src/cli/doctor/checks/program.ts';
import { records } from '../../src/cli/doctor/checks/records.ts';
import { secrets } from '../../src/cli/doctor/checks/secrets.ts';
import { system } from '../../src/cli/doctor/checks/system.ts';
import { upstreams } from '../../src/cli/doctor/checks/upstreams.ts';
import { vault } from '../../src/cli/doctor/checks/vault.ts';
import { secretsIn } from '../../src/cli/doctor/client-config.ts';
import { type Code, codes, exitKindOf, type ProblemCode } from '../../src/cli/doctor/codes.ts';
import { type Context, keychainProblem, lookUpResident, openVault } from '../../src/cli/doctor/context.ts';
import { checks, exitCodeOf } from '../../src/cli/doctor/doctor.ts';
import { type Finding, problem } from '../../src/cli/doctor/finding.ts';
import type { StatusReport } from '../../src/cli/lifecycle.ts';
import { loadConfig } from '../../src/config/load.ts';
import { type LoginRecord, newRecord } from '../../src/credentials/oauth/login-store.ts';
import { Vault } from '../../src/credentials/vault.ts';
import { Failure } from '../../src/errors.ts';
import { limits } from '../../src/limits.ts';
import { packageRoot, version } from '../../src/paths.ts';
import { Home } from '../e2e/home.ts';
import { canary, scanForLeaks } from '../support/leaks.ts';
import { noSecretService, SecretService } from '../support/secret-service.ts';
import { fixtureServer } from '../support/servers.ts';
import { codesOf, config, context, machine, noted, run, seen } from './doctor-support.ts';

interface Report {
  readonly version: string;
  readonly ok: boolean;
  readonly summary: Record<string, number>;
  readonly findings: readonly (Finding & { readonly group: string })[];
}

interface Diagnosed extends Report {
  readonly code: number | null;
  readonly text: string;
  of(code: Code): readonly Finding[];
}

async function doctor(
  home: Home,
  args: readonly string[] = [],
  options: { env?: Record<string, string>; cwd?: string } = {},
): Promise<Diagnosed> {
  const { code, stdout, stderr } = await home.ostiary(['doctor', '--json', ...args], options);
  assert.equal(stderr, '');
  const report = JSON.parse(stdout) as Report;
  noted(report.findings);
  return {
    ...report,
    code,
    text: stdout,
    of: (wanted) => report.findings.filter((one) => one.code === wanted),
  };
}

/** Of each code that is not expected, its finding; so that a failure shows what was said. */
function assertCodes({ findings }: Report, expected: readonly Code[], area: RegExp): void {
  const here = findings.filter(({ code }) => area.test(code));
  assert.deepEqual(
    here.map(({ code }) => code).sort(),
    [...expected].sort(),
    here.map(({ code, message }) => `${code}: ${message}`).join('\n'),
  );
}

const secret = canary('doctor');

test('a home where all is well: each area passes, with a daemon that is gone afterwards', async (t) => {
  const home = new Home(t);
  home.configure(
    { chatty: { ...fixtureServer('chatty'), secrets: { TOKEN: 'vault:chatty' } } },
    { profiles: { default: { rules: [{ allow: 'chatty' }] } } },
  );
  await home.secret('chatty', secret);
  const found = await doctor(home);
  assert.deepEqual([found.ok, found.code, found.summary.fail], [true, 0, 0], found.text);
  assertCodes(
    found,
    [
      'config.ok',
      'files.ok',
      'vault.ok',
      'vault.key-file',
      'secret.ok',
      'daemon.none',
      'port.ok',
      'upstream.ok',
      'program.ok',
      'environment.ok',
      'clients.ok',
      'keychain.unused',
    ],
    /^(?:config|files|vault|secret|daemon|port|upstream|program|environment|clients|keychain)\./,
  );
  for (const { level, next, message } of found.findings)
    assert.equal(next !== null && next !== '', level === 'warn' || level === 'fail', message);
  assert.deepEqual(home.remains(), []);
  assert.deepEqual(scanForLeaks([secret], { texts: [found.text], files: [home.directory] }), []);
  assert.deepEqual(
    home
      .audit()
      .map(({ event }) => event)
      .filter((event) => event === 'session.opened' || event === 'upstream.started'),
    ['session.opened', 'upstream.started'],
    'recorded as an agent is',
  );
});

/** Of a daemon that is killed: its socket stays. */
async function staleSocket(path: string): Promise<void> {
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('there'))`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await once(child, 'exit');
  chmodSync(path, 0o600);
}

async function listening(t: TestContext): Promise<Server> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return server;
}

test('I2: what a crash, other users and careless hands leave behind, all at once', async (t) => {
  const home = new Home(t);
  const { port } = (await listening(t)).address() as AddressInfo;
  const plain = canary('plain');
  const writable = join(home.scratch, 'writable');
  writeFileSync(writable, '#!/bin/sh\n', { mode: 0o777 });
  chmodSync(writable, 0o777);
  home.configure(
    {
      gone: { command: '/nowhere/server' },
      loose: { command: writable, args: [`--api-token=${'x'.repeat(3)}`] },
      off: { ...fixtureServer('chatty'), lifecycle: 'disabled' },
    },
    {
      listen: { port },
      profiles: { other: { rules: [] } },
      helpers: { loose: { command: [writable] } },
    },
  );
  mkdirSync(join(home.runtime, 'sessions', 'left'), { recursive: true, mode: 0o700 });
  mkdirSync(join(home.runtime, 'run-killed'), { mode: 0o700 });
  utimesSync(join(home.runtime, 'run-killed'), 1, 1);
  await staleSocket(join(home.runtime, 'control.sock'));
  mkdirSync(home.state, { mode: 0o700 });
  writeFileSync(join(home.state, 'vault.json'), '{}', { mode: 0o600 });
  writeFileSync(join(home.state, 'audit.jsonl'), 'not a record\n', { mode: 0o600 });
  writeFileSync(join(home.state, 'daemon.log'), '', { mode: 0o644 });
  truncateSync(join(home.state, 'daemon.log'), limits.largeLogBytes + 1);
  const root = process.getuid?.() === 0;
  if (root) {
    writeFileSync(join(home.state, 'foreign'), '', { mode: 0o600 });
    chownSync(join(home.state, 'foreign'), 2001, 2001);
  } else t.diagnostic('another owner is not tried: needs root');
  writeFileSync(
    join(home.scratch, '.mcp.json'),
    JSON.stringify({ mcpServers: { jira: { command: 'x', env: { JIRA_TOKEN: plain.value } } } }, null, 2),
  );
  mkdirSync(join(home.directory, '.codex'));
  writeFileSync(
    join(home.directory, '.codex', 'config.toml'),
    `api_key = "${plain.value}"\n[mcp_servers.jira]\nbearer_token_env_var = "JIRA_API_TOKEN"\nenv = { A = "b", JIRA_TOKEN = "${plain.value}" }\n`,
  );

  const found = await doctor(home, ['--offline'], {
    cwd: home.scratch,
    env: { JIRA_API_TOKEN: plain.value, TOKEN_FILE: '/run/secrets/x', NO_TOKENS: 'true' },
  });
  assert.equal(found.code, 1, 'failures of several kinds');
  assertCodes(
    found,
    [
      'config.program-missing',
      'config.program-replaceable',
      'config.secret-literal',
      'config.no-default-profile',
      'config.unused-helper',
      'config.helper-refused',
    ],
    /^config\./,
  );
  const log = join(home.state, 'daemon.log');
  assert.deepEqual(
    found.of('files.mode').map(({ place, next }) => [place?.file, next]),
    [[log, `chmod 0600 ${log}`]],
  );
  assert.equal(found.of('files.owner').length, root ? 1 : 0);
  if (!root) seen.add('files.owner');
  assert.equal(found.of('vault.damaged').length, 1);
  assert.equal(found.of('daemon.stale-socket')[0]?.place?.file, join(home.runtime, 'control.sock'));
  assert.deepEqual(
    found.of('daemon.stale-sessions').map(({ place }) => place?.file),
    [join(home.runtime, 'sessions'), join(home.runtime, 'run-killed')],
  );
  assert.match(
    found.of('port.taken')[0]?.message ?? '',
    new RegExp(`^${port}: taken by pid ${process.pid} `),
  );
  assert.equal(found.of('audit.broken')[0]?.place?.line, 1);
  assert.equal(found.of('log.large').length, 1);
  assert.match(found.of('environment.secrets')[0]?.message ?? '', /: JIRA_API_TOKEN$/);
  assert.deepEqual(
    found.of('clients.secret').map(({ place, message }) => [place?.file, place?.line, message.split(':')[0]]),
    [
      [join(home.scratch, '.mcp.json'), 6, 'JIRA_TOKEN'],
      [join(home.directory, '.codex', 'config.toml'), 4, 'JIRA_TOKEN'],
    ],
  );
  assertCodes(found, ['upstream.disabled', 'upstream.unchecked', 'upstream.unchecked'], /^upstream\./);
  assert.deepEqual(scanForLeaks([plain], { texts: [found.text] }), [], 'D5: names only');
});

test('F4: upstreams that do not work, each with its reason, started by the daemon that runs', async (t) => {
  const home = new Home(t);
  const mode = (text: string): string => {
    const file = join(home.scratch, `mode-${text}`);
    writeFileSync(file, text);
    return file;
  };
  const failing = (text: string) => ({ ...fixtureServer('failing'), env: { MODE_FILE: mode(text) } });
  const closed = await listening(t);
  const { port } = closed.address() as AddressInfo;
  closed.close();
  const short = canary('short').value.slice(-6);
  home.configure(
    {
      works: { ...fixtureServer('chatty'), secrets: { SHORT: 'env:SHORT_SECRET', HELPED: 'command:helped' } },
      dies: failing('start'),
      mute: { ...failing('mute'), start_timeout: '400ms' },
      needy: { ...fixtureServer('chatty'), secrets: { TOKEN: 'vault:absent' } },
      unreachable: { url: `http://127.0.0.1:${port}/mcp`, oauth: true },
      hidden: fixtureServer('chatty'),
    },
    {
      helpers: { helped: { command: ['/bin/echo', 'canary-of-a-helper'] } },
      profiles: {
        default: { rules: [{ allow: '*' }, { deny: 'hidden' }, { deny: 'mute' }] },
        second: { rules: [{ allow: 'mute' }] },
      },
    },
  );
  const env = { SHORT_SECRET: short };
  await home.up({ env });
  utimesSync(home.config, new Date(), new Date(Date.now() + 60_000));
  const found = await doctor(home, [], { env });
  assertCodes(found, ['daemon.ok', 'daemon.outdated'], /^daemon\./);
  assertCodes(
    found,
    [
      'upstream.ok',
      'upstream.failed',
      'upstream.no-answer',
      'upstream.failed',
      'upstream.failed',
      'upstream.not-allowed',
    ],
    /^upstream\./,
  );
  const said = (name: string): Finding | undefined =>
    found.findings.find(({ code, message }) => code.startsWith('upstream.') && message.includes(name));
  assert.match(said('dies')?.message ?? '', /exited with code 3/);
  assert.match(said('needy')?.message ?? '', /vault:absent/);
  assert.equal(said('needy')?.next, 'ostiary secret set NAME');
  assert.equal(said('unreachable')?.next, 'ostiary auth login unreachable');
  assertCodes(found, ['secret.ok', 'secret.short', 'secret.unchecked', 'secret.unchecked'], /^secret\./);
  assertCodes(found, ['login.needed'], /^login\./);
  assertCodes(found, ['vault.missing'], /^vault\./);
  assert.equal(found.code, 1);
});

test('a configuration that is refused: every problem with its place, and exit code 3', async (t) => {
  const home = new Home(t);
  const pasted = `ghp_${canary('pasted').value.replaceAll(/[^a-z0-9]/g, '')}`;
  home.configure({
    one: { command: '/bin/cat', args: [pasted], secrets: { A: 'command:nobody', B: 'oauth:nobody' } },
    two: { command: 'relative' },
  });
  chmodSync(home.state.replace(/\/ostiary$/, ''), 0o777);
  const found = await doctor(home);
  assert.equal(found.code, 3);
  assertCodes(
    found,
    ['config.plain-secret', 'config.unknown-reference', 'config.unknown-reference', 'config.invalid'],
    /^config\./,
  );
  for (const { place } of found.findings.filter(({ code }) => code.startsWith('config.')))
    assert.ok(place?.file === home.config && (place.line ?? 0) > 1 && place.key?.startsWith('upstreams.'));
  assertCodes(found, ['files.directory'], /^files\./);
  assert.ok(!found.text.includes(pasted));

  chmodSync(home.config, 0o666);
  const { code, stdout } = await home.ostiary(['doctor', '--offline']);
  assert.equal(code, 3);
  assert.match(
    stdout,
    /^configuration\n {2}fail {2}config\.untrusted +\/.*: file is writable by others: mode 0666\n/,
  );
  assert.ok(stdout.includes(`\n        try: chmod go-w ${home.config}\n\nfiles\n`));
  const columns = [...stdout.matchAll(/^ {2}(?:pass|warn|fail|skip) {2}\S+ +/gm)].map(
    ([start]) => start.length,
  );
  assert.deepEqual([columns.length > 10, new Set(columns).size], [true, 1], 'aligned');
  assert.match(stdout, /\n\n\d+ pass, \d+ warn, 2 fail, 0 skip\n$/);
  assert.ok(!stdout.includes('\u001b['), 'no colours in a pipe');
  seen.add('config.untrusted');
});

test('a vault under a passphrase, and a daemon that cannot be started', async (t) => {
  const home = new Home(t);
  home.configure({ chatty: { ...fixtureServer('chatty'), secrets: { TOKEN: 'vault:chatty' } } });
  const passphrase = canary('passphrase');
  await Vault.create(home.state, { kind: 'passphrase', passphrase: Buffer.from(passphrase.value) });
  const configured = config({ one: { command: '/bin/cat', secrets: { A: 'vault:chatty' } } });
  const sealed = { config: configured, state: home.state, vault: () => openVault(home.state, {}, true) };
  assert.deepEqual(codesOf(await run(vault, sealed)), ['vault.sealed']);
  assert.deepEqual(codesOf(await run(secrets, sealed)), ['secret.unchecked']);
  assert.deepEqual(codesOf(await run(upstreams, sealed)), ['upstream.unchecked']);

  chmodSync(join(home.directory, 'run'), 0o777);
  const { code, stdout } = await home.ostiary(['doctor', '--json', '--passphrase-fd', '0'], {
    input: passphrase.value,
  });
  const opened = JSON.parse(stdout) as Report;
  noted(opened.findings);
  assert.equal(code, 1);
  assertCodes(
    opened,
    ['vault.ok', 'secret.unavailable', 'upstream.no-daemon'],
    /^(?:vault|secret|upstream)\./,
  );
  assertCodes(opened, ['config.ok', 'config.no-policy'], /^config\./);
  assert.deepEqual(scanForLeaks([passphrase], { texts: [stdout] }), []);
});

test('A12: a keychain that is needed, and locked', { skip: noSecretService }, async (t) => {
  const service = await SecretService.start(t);
  assert.deepEqual(codesOf(await run(keychain, { keychain: () => keychainProblem(service.env) })), [
    'keychain.ok',
  ]);
  const home = new Home(t);
  home.configure({ chatty: { ...fixtureServer('chatty'), secrets: { TOKEN: 'keychain:ostiary/chatty' } } });
  await service.lock();
  const locked = await doctor(home, [], { env: { ...service.env } });
  assertCodes(
    locked,
    ['keychain.locked', 'secret.unchecked', 'upstream.unchecked'],
    /^(?:keychain|secret|upstream)\./,
  );
  assert.equal(locked.code, 5);
});

describe('states that a machine is in or not', () => {
  const seccomp = '/proc/sys/kernel/seccomp/actions_avail';
  const apparmor = '/proc/sys/kernel/apparmor_restrict_unprivileged_userns';
  const cases: [Check, Parameters<typeof machine>[0], Code[]][] = [
    [
      isolation,
      { files: { [seccomp]: 'kill errno\n' } },
      ['isolation.bubblewrap', 'isolation.landlock', 'isolation.seccomp'],
    ],
    [
      isolation,
      { noBubblewrap: 'not installed (/usr/bin/bwrap)', abi: 0 },
      ['isolation.bubblewrap-absent', 'isolation.landlock-absent', 'isolation.seccomp-absent'],
    ],
    [
      isolation,
      { noBubblewrap: 'setting up uid map: Permission denied', abi: 3 },
      ['isolation.bubblewrap-refused', 'isolation.landlock-old', 'isolation.seccomp-absent'],
    ],
    [isolation, { platform: 'darwin' }, []],
    [system, {}, ['system.ptrace-open', 'system.core', 'system.swap']],
    [
      system,
      {
        files: {
          '/proc/sys/kernel/yama/ptrace_scope': '1\n',
          '/proc/sys/kernel/core_pattern': '|/usr/lib/systemd/systemd-coredump %P\n',
          '/proc/swaps': 'Filename Type\n/dev/zram0 partition\n/dev/sda2 partition\n',
        },
      },
      ['system.ptrace', 'system.core-piped', 'system.swap-on-disk'],
    ],
    [privilege, { uid: 0 }, ['privilege.root']],
    [privilege, {}, ['privilege.ok']],
    [privilege, { programs: ['sudo'] }, ['privilege.ok']],
    [privilege, { programs: ['sudo'], work: ['/usr/bin/sudo'] }, ['privilege.sudo']],
    [privilege, { usable: ['/run/docker.sock'] }, ['privilege.docker']],
    [
      privilege,
      { groups: [999], files: { '/etc/group': 'x:x:1:\ndocker:x:999:me\n' } },
      ['privilege.docker'],
    ],
  ];
  for (const [check, told, expected] of cases)
    it(expected.join(', ') || 'not Linux', async () => {
      const found = await run(check, { machine: machine(told) });
      assert.deepEqual(
        codesOf(found).filter((code) => code !== 'isolation.level-1'),
        expected,
      );
    });

  it('says how user namespaces are allowed again, by what forbids them', async () => {
    const noBubblewrap = 'setting up uid map: Permission denied';
    const told = { noBubblewrap, files: { [apparmor]: '1\n' } };
    const [, refused] = await run(isolation, { machine: machine(told) });
    assert.match(refused?.message ?? '', /Permission denied\): .*apparmor_restrict_unprivileged_userns=1/);
    assert.match(refused?.next ?? '', /bwrap-userns-restrict/);
    const [, off] = await run(isolation, {
      machine: machine({ noBubblewrap, files: { '/proc/sys/user/max_user_namespaces': '0\n' } }),
    });
    assert.equal(off?.next, 'sudo sysctl -w user.max_user_namespaces=15000');
  });

  it('says what run would do: without a sandbox if told so, else nothing', async () => {
    const none = async () => ({ mechanism: 'none', level: 'level L0' }) as const;
    assert.equal((await run(isolation, { sandbox: none }))[0]?.code, 'isolation.level-0');
    const refusal = new Failure('isolation', 'cannot put the agent into a sandbox');
    const [refused] = await run(isolation, { sandbox: async () => refusal });
    assert.equal(refused?.code, 'isolation.refused');
    assert.equal(exitKindOf('isolation.refused'), 'isolation');
  });

  it('of Node, npm, koffi and peers', async () => {
    const range = '^20.19.0 || ^22.12.0 || >=26.0.0';
    const inside = ['20.19.0', '20.20.2', '22.12.0', '26.0.0', '27.1.0'];
    for (const one of inside) assert.ok(inRange(one, range), one);
    for (const one of ['18.20.0', '20.18.9', '21.0.0', '22.11.0', '25.9.0'])
      assert.ok(!inRange(one, range), one);
    assert.deepEqual(codesOf(noted(judgeNode('18.0.0'))), ['program.node-unsupported']);
    assert.deepEqual(codesOf(noted(judgeNpm(null))), ['program.npm-missing']);
    const other = context({ machine: machine({ uid: 4711 }) });
    assert.deepEqual(codesOf(noted(await judgePeer(other))), ['program.peer-unknown']);
    const broken = async () => {
      throw new Failure('daemon', 'cannot load koffi');
    };
    assert.deepEqual(codesOf(noted(await judgePeer(other, broken))), ['program.koffi-missing']);
    assert.deepEqual(codesOf(noted(judgeInspector('ws://127.0.0.1:9229'))), ['program.inspector-open']);
  });
});

function failureOf(work: () => unknown): Failure {
  try {
    work();
  } catch (error) {
    if (error instanceof Failure) return error;
  }
  throw new Error('no failure');
}

/** A directory that is gone after the test. */
function directory(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'ostiary-doctor-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

test('of a configuration that is not there, is empty, or may not work', async (t) => {
  const env = { HOME: directory(t) };
  const codesFor = async (one: Context['config']) => codesOf(await run(configuration, { config: one }));
  assert.deepEqual(await codesFor(loadConfig({ env })), ['config.absent']);
  const named = failureOf(() => loadConfig({ config: join(env.HOME, 'absent.yaml'), env }));
  assert.deepEqual(await codesFor(named), ['config.absent']);
  const misnamed = failureOf(() => loadConfig({ env: { OSTIARY_CONFIG: 'relative.yaml' } }));
  assert.deepEqual(await codesFor(misnamed), ['config.invalid']);
  assert.deepEqual(await codesFor(config()), ['config.no-upstreams']);
  const relative = config({ one: { command: process.execPath, args: ['server.js'] } });
  assert.deepEqual(await codesFor(relative), ['config.ok', 'config.no-policy', 'config.warning']);
});

test('of a vault and its logins', async (t) => {
  const state = directory(t);
  const made = await Vault.create(state, { kind: 'key-file' });
  const now = Math.floor(Date.now() / 1000);
  const login = (name: string, more: object): LoginRecord =>
    newRecord(
      {
        issuer: 'https://login.example',
        resource: `https://${name}.example/mcp`,
        name,
        tokenEndpoint: 'https://login.example/token',
        revocationEndpoint: null,
        client: { id: 'ostiary', auth: 'none' },
        scopes: [],
        accessToken: canary('access').value,
        expiresAt: now + 3600,
        refreshToken: canary('refresh').value,
        obtainedAt: now,
        ...more,
      },
      [],
    );
  await made.logins.put(login('good', {}));
  await made.logins.put(login('ending', { refreshToken: null }));
  await made.logins.put({ ...login('failed', {}), problem: { at: now, message: 'the server is down' } });
  const oauth = ['good', 'ending', 'failed'].map((name) => [
    name,
    { url: `https://${name}.example/mcp`, oauth: true },
  ]);
  const configured = config({
    ...Object.fromEntries(oauth),
    job: {
      url: 'https://job.example/mcp',
      oauth: {
        flow: 'client_credentials',
        issuer: 'https://login.example',
        client_id: 'ostiary',
        client_secret: 'env:CLIENT_SECRET',
      },
    },
  });
  const look = (hidden: boolean) => ({
    config: configured,
    state,
    vault: () => openVault(state, {}, hidden),
  });
  const opened = await run(logins, look(true));
  assert.deepEqual(codesOf(opened), [
    'login.ok',
    'login.not-renewable',
    'login.problem',
    'login.ok',
    'login.automatic',
  ]);
  assert.equal(opened[1]?.next, 'ostiary auth login ending');
  assert.deepEqual(codesOf(await run(vault, look(true))), ['vault.ok', 'vault.key-file']);
  // Without koffi this process could be read: then it holds nothing.
  assert.deepEqual(codesOf(await run(vault, look(false))), ['vault.sealed']);
  assert.deepEqual(codesOf(await run(logins, look(false))).slice(0, 2), [
    'login.unchecked',
    'login.unchecked',
  ]);
  rmSync(join(state, 'vault.key'));
  const [closed] = await run(vault, look(true));
  assert.deepEqual([closed?.code, closed?.place?.file], ['vault.closed', join(state, 'vault.key')]);
  assert.deepEqual(codesOf(await run(vault)), ['vault.unused']);
});

test('of a keychain that is needed', async () => {
  const needed = config({ one: { command: '/bin/cat', secrets: { A: 'keychain:ostiary/a' } } });
  for (const [reason, code] of [
    ['no-service', 'keychain.absent'],
    ['timed-out', 'keychain.failed'],
  ] as const)
    assert.deepEqual(codesOf(await run(keychain, { config: needed, keychain: async () => ({ reason }) })), [
      code,
    ]);
});

/** Answers requests to the control socket of a runtime directory. */
async function control(t: TestContext, answer: RequestListener): Promise<string> {
  const runtime = directory(t);
  const server = createServer(answer);
  server.listen(join(runtime, 'control.sock'));
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return runtime;
}

test('of a daemon of another version, one that is silent, and one that refuses', async (t) => {
  const codesFor = async (runtime: string) =>
    codesOf(await run(daemon, { runtime, resident: () => lookUpResident(runtime, 300) }));
  const status = (more: Partial<StatusReport>) =>
    control(t, (_, response) =>
      response.end(
        JSON.stringify({ version, pid: 1, config: null, uptimeMs: 1, hardening: [], upstreams: [], ...more }),
      ),
    );
  const given = {
    name: 'one',
    state: 'open',
    failures: 3,
    lastProblem: null,
    lastExit: 'exited with code 1',
  };
  assert.deepEqual(await codesFor(await status({ version: '0.0.1' })), ['daemon.version']);
  assert.deepEqual(
    await codesFor(
      await status({
        hardening: [{ measure: 'undumpable', inForce: false }],
        upstreams: [given] as unknown as StatusReport['upstreams'],
      }),
    ),
    ['daemon.ok', 'daemon.unhardened', 'daemon.upstream-given-up'],
  );
  assert.deepEqual(await codesFor(await control(t, () => {})), ['daemon.no-answer']);
  const refusing = await control(t, (_, response) => response.writeHead(500).end('{}'));
  assert.deepEqual(await codesFor(refusing), ['daemon.unreachable']);
  const long = join(directory(t), 'x'.repeat(90));
  assert.deepEqual(await codesFor(long), ['daemon.none', 'daemon.path-too-long']);
});

test('I2: of a program that others can replace', (t) => {
  const open = directory(t);
  chmodSync(open, 0o777);
  const file = join(open, 'main.js');
  writeFileSync(file, '');
  const found = judgeProgram(file);
  assert.deepEqual(codesOf(noted(found === null ? [] : [found])), ['files.program-replaceable']);
});

test('of logs: none, a large one, one that takes too long', async (t) => {
  const state = directory(t);
  assert.deepEqual(codesOf(await run(records, { state })), ['audit.none']);
  const file = join(state, 'audit.jsonl');
  writeFileSync(file, '');
  truncateSync(file, limits.largeLogBytes + 1);
  const late = { ...machine({}), run: async () => ({ code: null, stdout: '', stderr: '' }) };
  assert.deepEqual(codesOf(await run(records, { state, machine: late })), [
    'audit.unverified',
    'audit.large',
  ]);
});

test('a check that hangs or throws is a finding of its own, and holds up no other', async () => {
  const check = (title: string, work: Check['run']): Check => ({
    group: 'files',
    title,
    deadlineMs: 50,
    run: work,
  });
  const value = canary('thrown').value;
  const examined = await examineAll(
    [
      check('hangs', () => new Promise(() => {})),
      check('throws', () => {
        throw new TypeError(value);
      }),
      check('fails', async () => {
        throw new Failure('config', 'what failed', { hint: 'what to try' });
      }),
      check('passes', () => []),
    ],
    context(),
  );
  const findings = noted(examined.flatMap((one) => one.findings));
  assert.deepEqual(
    findings.map(({ code, message }) => `${code}: ${message}`),
    [
      'check.no-answer: hangs: no answer within 0.05 s',
      'check.crashed: throws: TypeError',
      'check.crashed: fails: what failed',
    ],
  );
  assert.ok(limits.doctorUpstreamsMs + 5_000 < 30_000, 'doctor never takes longer than half a minute');
  assert.ok(checks.every(({ deadlineMs = 0 }) => deadlineMs <= limits.doctorUpstreamsMs));
});

test('exit codes: of the kind, when all failures are of one', () => {
  const examined = (...found: ProblemCode[]): Examined[] =>
    found.map((code) => ({ check: checks[0] as Check, findings: [problem(code, '', '')] }));
  assert.equal(exitCodeOf(examined()), 0);
  assert.equal(exitCodeOf(examined('vault.key-file')), 0);
  assert.equal(exitCodeOf(examined('config.invalid', 'files.mode')), 3);
  assert.equal(exitCodeOf(examined('audit.broken')), 6);
  assert.equal(exitCodeOf(examined('config.invalid', 'audit.broken')), 1);
  assert.equal(exitKindOf('program.koffi-missing'), 'failure');
});

describe('what looks like a secret', () => {
  it('in an environment', () => {
    const word = canary('word').value;
    for (const [name, value] of [
      ['JIRA_TOKEN', word],
      ['AWS_SECRET_ACCESS_KEY', word],
      ['HARMLESS', `ghp_${'canary0'.repeat(6)}`],
    ] as const)
      assert.ok(looksSecret(name, value), name);
    for (const [name, value] of [
      ['SSH_AUTH_SOCK', '/tmp/agent.1'],
      ['TOKEN_FILE', '/run/secret'],
      ['GIT_ASKPASS', '/usr/bin/x'],
      ['TOKENIZERS_PARALLELISM', 'false'],
      ['MAX_TOKENS', '1000000000'],
      ['EDITOR', word],
    ] as const)
      assert.ok(!looksSecret(name, value), name);
  });

  it('in configurations of clients, with its line; placeholders and references are none', () => {
    const word = canary('word').value;
    const found = (file: string, text: string): string[] =>
      secretsIn(file, Buffer.from(text)).map(({ line, name }) => `${line} ${name}`);
    const servers = (server: object, key = 'mcpServers'): string =>
      JSON.stringify({ history: [{ token: word }], [key]: { one: server } }, null, 1);
    assert.deepEqual(found('a.json', servers({ env: { TOKEN: word } })), ['10 TOKEN']);
    assert.deepEqual(found('a.json', servers({ headers: { Authorization: `Bearer ${word}` } }, 'servers')), [
      '10 Authorization',
    ]);
    assert.deepEqual(found('a.json', servers({ args: ['-x', `--api-key=${word}`] })), ['11 args']);
    assert.deepEqual(found('a.json', servers({ args: ['--header', `Authorization: Bearer ${word}`] })), [
      '11 args',
    ]);
    assert.deepEqual(
      found(
        'a.json',
        JSON.stringify({ projects: { '/p': { mcpServers: { one: { env: { TOKEN: word } } } } } }),
      ),
      ['1 TOKEN'],
    );
    for (const harmless of ['$' + '{TOKEN}', '{env:TOKEN}', '/run/token', 'short'])
      assert.deepEqual(found('a.json', servers({ env: { TOKEN: harmless } })), [], harmless);
    assert.deepEqual(found('a.jsonc', `{ // comment\n "mcp": { "env": { "TOKEN": "${word}" } } }`), [
      '2 TOKEN',
    ]);
    assert.deepEqual(found('a.toml', `[mcp_servers.a.env]\nTOKEN = '${word}'\n[other]\ntoken = "${word}"`), [
      '2 TOKEN',
    ]);
  });
});

/** Code and level of each row. */
function documented(): [string, string][] {
  const page = readFileSync(join(packageRoot, 'docs', 'doctor.md'), 'utf8');
  return [...page.matchAll(/^\| `([a-z]+\.[a-z0-9-]+)` \| (\w+) \| \S.* \|$/gm)].map(
    ([, code = '', level = '']) => [code, level],
  );
}

test('docs/doctor.md lists each code with its level, and no other', () => {
  assert.deepEqual(documented(), Object.entries(codes));
});

test('each code was seen', (t) => {
  // What this machine cannot have, or the environment of the test does not allow.
  if (noSecretService) for (const code of ['keychain.ok', 'keychain.locked'] as const) seen.add(code);
  t.diagnostic(`${seen.size} codes`);
  assert.deepEqual(
    Object.keys(codes).filter((code) => !seen.has(code as Code)),
    [],
  );
});
