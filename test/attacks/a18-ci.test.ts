/**
 * A18: `ostiary run --ci`. Its agent, an ordinary user's process, finds no secret of the job in any environment, command
 * line or file; where it could, it is not started. Without a sandbox, so that what is above `run` counts too.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { finished, isGone, type Result } from '../e2e/home.ts';
import { canBecome } from '../os/support.ts';
import { eventually, type Home, mainFile, makeHome } from '../support/daemon.ts';
import { type Canary, canary, scanForLeaks, withDescendants } from '../support/leaks.ts';
import { fixtureServer } from '../support/servers.ts';

const skip = process.platform !== 'linux' && 'needs /proc';
const user = 2001;

/** A home of the user with a workspace, where only the job's own temporary files are. */
class Job {
  readonly home: Home = makeHome();
  readonly workspace = join(this.home.directory, 'w');
  readonly temporary = join(this.home.directory, 't');
  readonly auditOut = join(this.home.directory, 'audit');

  constructor(t: TestContext, config: object) {
    for (const path of [this.workspace, this.temporary, dirname(this.home.configFile)])
      mkdirSync(path, { recursive: true, mode: 0o700 });
    writeFileSync(this.home.configFile, JSON.stringify({ version: 1, ...config }), { mode: 0o600 });
    t.after(() => rmSync(this.home.directory, { recursive: true, force: true }));
  }

  /** Below the workspace, or absolute. */
  write(name: string, text: string): string {
    const path = join(name.startsWith('/') ? '' : this.workspace, name);
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  }

  start(flags: readonly string[], agent: readonly string[], env: Record<string, string> = {}): ChildProcess {
    return this.spawn(
      process.execPath,
      [mainFile, 'run', '--isolation', 'none', ...flags, '--', ...agent],
      env,
    );
  }

  spawn(command: string, args: readonly string[], env: Record<string, string> = {}): ChildProcess {
    const below = readdirSync(this.home.directory, { recursive: true }).map((name) =>
      join(this.home.directory, String(name)),
    );
    for (const path of [this.home.directory, ...below]) if (existsSync(path)) chownSync(path, user, user);
    return spawn(command, args, {
      cwd: this.workspace,
      env: { ...this.home.env, TMPDIR: this.temporary, ...env },
      uid: user,
      gid: user,
    });
  }

  async run(
    flags: readonly string[],
    agent: readonly string[],
    { input = '', env = {} }: { input?: string; env?: Record<string, string> } = {},
  ): Promise<Result> {
    const child = this.start(flags, agent, env);
    child.stdin?.on('error', () => {});
    child.stdin?.end(input);
    return finished(child);
  }

  records(): Record<string, unknown>[] {
    const lines = readFileSync(join(this.auditOut, 'audit.jsonl'), 'utf8').trim().split('\n');
    return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  /** All that is left besides what the test wrote and the audit log. */
  remains(): string[] {
    const state = dirname(this.home.state);
    return [this.temporary, state, this.home.runtime].flatMap((path) =>
      readdirSync(path, { recursive: true }).map((name) => join(path, String(name))),
    );
  }
}

/** Calls a tool by the shim, then says what of the half-named canaries it can read, and of its standard input. */
const AGENT = `
import { spawn } from 'node:child_process';
import fs from 'node:fs';
const { command, args } = Object.values(JSON.parse(fs.readFileSync(process.env.OSTIARY_MCP_CONFIG)).mcpServers)[0];
const [tool, names, main] = process.argv.slice(1);
const shim = spawn(command ?? process.execPath, args ?? [main, 'connect', 'placed'], { stdio: ['pipe', 'pipe', 'inherit'] });
const send = (id, method, params) => shim.stdin.write(JSON.stringify({ jsonrpc: '2.0', id, method, params }) + '\\n');
let text = '';
const answer = (id) => new Promise((resolve) => {
  const look = () => {
    const line = text.split('\\n').find((one) => one.includes('"id":' + id + ','));
    if (line === undefined) return;
    shim.stdout.off('data', look);
    resolve(JSON.parse(line));
  };
  shim.stdout.on('data', look);
});
shim.stdout.on('data', (chunk) => { text += chunk; });
send(1, 'initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'a', version: '0' } });
await answer(1);
send(2, 'tools/call', { name: tool, arguments: {} });
const called = await answer(2);
const needle = 'canary-' + names;
const found = [];
for (const pid of fs.readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name)))
  for (const file of ['environ', 'cmdline'])
    try {
      if (fs.readFileSync('/proc/' + pid + '/' + file).includes(needle)) found.push(Number(pid));
    } catch {}
console.log(JSON.stringify({ found, text: called.result?.content?.[0]?.text ?? JSON.stringify(called), env: Object.keys(process.env), stdin: fs.readFileSync(0, 'utf8'), stdinIs: fs.readlinkSync('/proc/self/fd/0') }));
shim.stdin.end();
`;

/** @param names what the names of the canaries begin with */
const agent = (tool: string, names: string): string[] => [
  ...[process.execPath, '--input-type=module', '-e', AGENT],
  ...[tool, names, mainFile],
];

interface Said {
  readonly found: number[];
  readonly text: string;
  readonly env: readonly string[];
  readonly stdin: string;
  /** What is open there: a file could be read again from its beginning. */
  readonly stdinIs: string;
}

const placed = {
  ...fixtureServer('placed'),
  files: { IN_FILE: 'vault:file' },
  fds: { IN_PIPE: 'env:PIPE_TOKEN' },
};

function assertNowhere(job: Job, canaries: readonly Canary[], result: Result): void {
  const files = [job.home.directory];
  assert.deepEqual(scanForLeaks(canaries, { files, texts: [result.stdout, result.stderr] }), []);
}

describe('A18 a CI job', { skip, concurrency: 2 }, () => {
  test('A18 an agent that starts clean: from stdin, file and variable into memory; nothing is left', async (t) => {
    if (!canBecome(t, user)) return;
    const [inFile, unused, ofStdin] = ['file', 'unused', 'stdin'].map((name) => canary(`clean-${name}`)) as [
      Canary,
      Canary,
      Canary,
    ];
    const job = new Job(t, { upstreams: { placed } });
    const file = job.write('secret.txt', `${inFile.value}\n`);
    job.write('.git/HEAD', 'ref: refs/heads/main\n');
    job.write('.git/config', '[remote "origin"]\n\turl = https://github.com/a/b\n');
    job.write('.git/objects/ab/cd', unused.value);
    symlinkSync('/etc/hostname', join(job.workspace, 'link'));
    const flags = ['--ci', '--secret', `file=file:${file}`, '--consume', '--secret-env', 'UNUSED'];
    const result = await job.run(
      [...flags, '--secrets-stdin', '--audit-out', job.auditOut, '--env', 'A_*'],
      agent('facts', 'clean-'),
      { input: `PIPE_TOKEN=${ofStdin.value}\n`, env: { UNUSED: unused.value, A_B: 'c' } },
    );
    assert.equal(result.code, 0, result.stderr);
    const said = JSON.parse(result.stdout) as Said;
    assert.deepEqual([said.found, said.stdin, said.stdinIs], [[], '', '/dev/null']);
    assert.ok(said.env.includes('A_B') && !said.env.includes('UNUSED'));
    const { file: fileDigest, pipe } = JSON.parse(said.text) as { file: string; pipe: string };
    const digest = ({ value }: Canary): string => createHash('sha256').update(value).digest('hex');
    assert.deepEqual([fileDigest, pipe], [digest(inFile), digest(ofStdin)]);

    assert.equal(existsSync(file), false);
    assert.deepEqual(job.remains(), []);
    rmSync(join(job.workspace, '.git', 'objects'), { recursive: true });
    assertNowhere(job, [inFile, unused, ofStdin], result);

    const [cleared] = job.records().filter(({ event }) => event === 'agent.cleared');
    assert.deepEqual(cleared?.secrets, ['vault:file', 'vault:UNUSED', 'env:PIPE_TOKEN']);
    assert.deepEqual(cleared?.skipped, { 'symbolic links': 1, 'directories of git objects': 1 });
    const looked = cleared?.looked as Record<string, number>;
    assert.ok((looked.variables ?? 0) > 5 && (looked.files ?? 0) > 2 && (looked.processes ?? 0) > 0);
    const key = /signed by (ed25519:\S+)/.exec(result.stderr)?.[1] ?? assert.fail(result.stderr);
    const verify = await finished(
      job.spawn(process.execPath, [
        ...[mainFile, 'audit', 'verify', '--key', key],
        ...['--file', join(job.auditOut, 'audit.jsonl')],
      ]),
    );
    assert.equal(verify.code, 0, verify.stderr);
    assert.match(verify.stdout, /^stated: record 3: agent node started clean: /m);
  });

  test('A18 an agent that could read a secret is not started; every place is named, no value is', async (t) => {
    if (!canBecome(t, user)) return;
    const [token, basic] = [canary('ci-token'), canary('ci-basic')];
    const job = new Job(t, { upstreams: { placed } });
    const { HOME } = job.home.env as { HOME: string };
    const base64 = (text: string): string => Buffer.from(text).toString('base64');
    job.write('src/a.txt', `one\ntwo ${token.value}\n`);
    job.write('node_modules/x/.npmrc', `//r/:_authToken=${base64(token.value)}`);
    job.write('.git/HEAD', 'ref: refs/heads/main\n');
    job.write('.git/config', '[includeIf "gitdir:/elsewhere/.git"]\n\tpath = ../../included\n');
    job.write(
      join(job.home.directory, 'included'),
      `[http]\n\textraheader = AUTHORIZATION: basic ${base64(`x-access-token:${basic.value}`)}\n`,
    );
    job.write('.git/hooks/pre-push', encodeURIComponent(`curl ${token.value}`));
    job.write(join(HOME, '.claude.json'), JSON.stringify({ mcpServers: { a: { env: { T: token.value } } } }));
    job.write(join(HOME, '.git-credentials'), 'https://u:unknown-to-us@github.com\n');
    job.write(`named-${token.value}`, '');
    const marker = join(job.workspace, 'started');
    const result = await job.run(
      ['--ci', '--secrets-stdin', '--audit-out', job.auditOut, '--env', 'MY_*'],
      ['/usr/bin/touch', marker, `--token=${token.value}`],
      {
        input: JSON.stringify({ file: token.value, PIPE_TOKEN: basic.value }),
        env: { MY_TOKEN: `Bearer ${token.value}` },
      },
    );
    assert.equal(result.code, 9, result.stderr);
    assert.equal(existsSync(marker), false);
    const places = [...result.stderr.matchAll(/^ostiary: (.*): holds (.*)$/gm)].map(([, ...found]) => found);
    assert.deepEqual(
      new Set(places.map(([place, label]) => `${place?.replace(/\(.*\)/, '')} ${label}`)),
      new Set([
        'variable MY_TOKEN of the agent vault:file',
        'argument 2 of the agent vault:file',
        'src/a.txt:2 vault:file',
        'node_modules/x/.npmrc:1 vault:file',
        `${join(job.home.directory, 'included')}:2 env:PIPE_TOKEN`,
        `${join(job.home.directory, 'included')}:2 an Authorization header`,
        '.git/hooks/pre-push:1 vault:file',
        `${join(HOME, '.claude.json')}:1 vault:file`,
        `${join(HOME, '.git-credentials')}:1 a URL with a password`,
        ...places.flatMap(([place]) => (/^the name of /.test(place ?? '') ? [`${place} vault:file`] : [])),
        ...places.flatMap(([place]) =>
          /process \d+/.test(place ?? '') ? [`${place?.replace(/\(.*\)/, '')} vault:file`] : [],
        ),
      ]),
    );
    assert.match(result.stderr, /^ostiary: the name of named-\[redacted vault:file\]: holds vault:file$/m);
    assert.match(result.stderr, /persist-credentials: false/);
    const { stdout, stderr } = result;
    assert.deepEqual(scanForLeaks([token, basic], { files: [job.auditOut], texts: [stdout, stderr] }), []);
    const events = job.records();
    assert.deepEqual(
      events.filter(({ event }) => String(event).startsWith('agent.')).map(({ event }) => event),
      ['agent.refused'],
    );
    assert.deepEqual(job.remains(), []);
  });

  for (const isolation of ['bubblewrap', 'landlock', 'none'])
    test(`A18 a variable above run, which nobody can remove: ${isolation}`, async (t) => {
      if (!canBecome(t, user)) return;
      const secret = canary('above');
      const job = new Job(t, { upstreams: { placed: { ...placed, fds: {} } } });
      const line = [
        `printf 'file=%s\\n' "$TOKEN" |`,
        '"$0" "$1" run --ci --isolation "$2" --secrets-stdin --audit-out "$3" -- "$0" --input-type=module -e "$4" facts above "$1"; exit $?',
      ].join(' ');
      const args = ['-c', line, process.execPath, mainFile, isolation, job.auditOut, AGENT];
      const shell = job.spawn('/bin/sh', args, { TOKEN: secret.value });
      const result = await finished(shell);
      if (result.code === 8) return t.skip(result.stderr);
      assertNowhere(job, [secret], result);
      assert.deepEqual(job.remains(), []);
      const [said] = job.records().filter(({ event }) => String(event).startsWith('agent.'));
      if (isolation === 'none') {
        assert.equal(result.code, 9, result.stderr);
        assert.match(
          result.stderr,
          new RegExp(`environment of process ${shell.pid} \\(sh\\): holds vault:file\n`),
        );
        assert.equal(said?.event, 'agent.refused');
        return;
      }
      assert.equal(result.code, 0, result.stderr);
      assert.deepEqual((JSON.parse(result.stdout) as Said).found, []);
      assert.match(String(said?.isolation), /^level L1: /);
    });

  test('A18 an identity of the job is exchanged for a token, and neither is the agent’s', async (t) => {
    if (!canBecome(t, user)) return;
    const [bearer, access] = [canary('oidc-bearer'), canary('oidc-access')];
    const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const identity = `${part({ alg: 'RS256' })}.${part({ sub: 'repo:a/b', exp: 4e9 })}.c2ln`;
    const asked: string[] = [];
    const issuer = createServer(async (request, response) => {
      let body = '';
      for await (const chunk of request) body += String(chunk);
      asked.push(`${request.headers.authorization === `Bearer ${bearer.value}`} ${body.includes(identity)}`);
      const answer = request.url?.startsWith('/id')
        ? { value: identity }
        : {
            access_token: access.value,
            token_type: 'Bearer',
            expires_in: 600,
            issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
          };
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
    });
    await new Promise<void>((resolve) => issuer.listen(0, '127.0.0.1', resolve));
    t.after(() => issuer.close());
    const url = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}`;
    const job = new Job(t, {
      oauth: {
        corp: {
          issuer: url,
          endpoints: { token: `${url}/token` },
          flow: 'token_exchange',
          client_id: 'ostiary-ci',
          identity: { github: 'https://corp.example' },
        },
      },
      upstreams: { placed: { ...fixtureServer('placed'), files: { IN_FILE: 'oauth:corp' } } },
    });
    // The runner’s own variables stand above `run` on a real runner, where only a sandbox hides them.
    const env = {
      ACTIONS_ID_TOKEN_REQUEST_URL: `${url}/id?v=1`,
      ACTIONS_ID_TOKEN_REQUEST_TOKEN: bearer.value,
    };
    const result = await job.run(['--ci', '--audit-out', job.auditOut], agent('facts', 'oidc-'), { env });
    assert.equal(result.code, 0, result.stderr);
    assert.deepEqual(asked, ['true false', 'false true']);
    const said = JSON.parse(result.stdout) as Said;
    assert.deepEqual(said.found, []);
    assert.equal((JSON.parse(said.text) as { fileMode: number }).fileMode, 0o600);
    const [cleared] = job.records().filter(({ event }) => event === 'agent.cleared');
    assert.deepEqual(cleared?.secrets, ['env:ACTIONS_ID_TOKEN_REQUEST_TOKEN', 'oauth:corp']);
    assertNowhere(job, [bearer, access, { name: 'identity', value: identity }], result);
  });

  test('A18 run is killed: no process and no file of it is left but the audit log', async (t) => {
    if (!canBecome(t, user)) return;
    const secret = canary('ci-kill');
    const job = new Job(t, { upstreams: { placed: { ...placed, fds: {} } } });
    const child = job.start(
      ['--ci', '--quiet', '--secrets-stdin', '--audit-out', job.auditOut],
      ['/bin/sh', '-c', 'echo ready; exec sleep 60'],
    );
    child.stdin?.end(`file=${secret.value}\n`);
    await new Promise((resolve) => child.stdout?.once('data', resolve));
    const [daemonHome = ''] = readdirSync(job.temporary);
    assert.match(daemonHome, /^ostiary-ci-/);
    assert.equal(statSync(join(job.temporary, daemonHome)).mode & 0o777, 0o700);
    const pids = withDescendants([child.pid ?? 0]);
    assert.ok(pids.length > 2);
    child.kill('SIGKILL');
    await eventually('everything is gone', () => isGone(pids) && job.remains().length === 0);
    assert.equal(job.records().at(-1)?.event, 'daemon.stopped');
    assert.deepEqual(scanForLeaks([secret], { files: [job.home.directory] }), []);
  });
});
