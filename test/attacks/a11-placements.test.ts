/** Secrets in files and descriptors of a child: where they can be read, by whom, for how long, and that answers keep them. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { canBecome, run } from '../os/support.ts';
import { callTool, handshake, LineClient } from '../support/client.ts';
import {
  eventually,
  type Home,
  makeHome,
  socketOf,
  startDaemon,
  type TestDaemon,
} from '../support/daemon.ts';
import { type Canary, canary, scanForLeaks } from '../support/leaks.ts';
import { fixtureServer } from '../support/servers.ts';
import { stranger } from '../support/users.ts';

const skip = process.platform !== 'linux' && 'needs /proc';

interface Facts {
  readonly pid: number;
  readonly names: string[];
  readonly path: string;
  readonly file: string;
  readonly fileMode: number;
  readonly directoryMode: number;
  readonly number: string;
  readonly pipe: string;
  readonly again: number;
}

interface Placed {
  readonly daemon: TestDaemon;
  readonly client: LineClient;
  readonly facts: Facts;
  readonly canaries: readonly [file: Canary, pipe: Canary];
}

const digest = (bytes: string | Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** `canary…\0…\xff`: what no variable can hold. */
const binaryTail = Buffer.from([0, 0xff, 0x0a, 0xc0, 0x80]);

async function placed(t: TestContext): Promise<Placed> {
  const canaries = [canary('file'), canary('pipe')] as const;
  const home = makeHome();
  const source = join(home.directory, 'h', 'binary');
  writeFileSync(source, Buffer.concat([Buffer.from(canaries[0].value), binaryTail]), { mode: 0o600 });
  const daemon = await startDaemon(t, {
    home,
    secrets: { pipe: canaries[1].value },
    config: {
      upstreams: {
        placed: {
          ...fixtureServer('placed'),
          files: { IN_FILE: `file:${source}` },
          fds: { IN_PIPE: 'vault:pipe' },
        },
      },
    },
  });
  const session = await daemon.newSession();
  const client = await LineClient.upgrade(socketOf(session), '/mcp/placed');
  t.after(() => client.close());
  await handshake(client);
  const facts = JSON.parse(await callTool(client, 'facts')) as Facts;
  return { daemon, client, facts, canaries };
}

/** Files below the runtime directory in which the child's secrets could be. */
function secretFiles({ runtime }: Home): string[] {
  return readdirSync(runtime, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.parentPath.includes('/work/'))
    .map((entry) => join(entry.parentPath, entry.name));
}

describe('files and descriptors of a child', { skip, concurrency: 2 }, () => {
  test('A11 A1 A5 hold the secret, and nothing else does: no argument, no environment, no other file', async (t) => {
    const { daemon, client, facts, canaries } = await placed(t);
    const [file, pipe] = canaries;
    assert.equal(
      facts.file,
      digest(Buffer.concat([Buffer.from(file.value), binaryTail])),
      'binary, to the byte',
    );
    assert.equal(facts.pipe, digest(pipe.value));
    assert.equal(facts.again, 0, 'a pipe is read once');
    assert.equal(facts.number, '3');
    assert.equal(facts.fileMode, 0o600);
    assert.equal(facts.directoryMode, 0o700);
    assert.doesNotMatch(facts.path, /IN_FILE|binary|placed\/secrets/, 'its name says nothing');
    // The control: the scan finds it where it is.
    const control = scanForLeaks(canaries, { files: [facts.path] });
    assert.deepEqual(control, [{ canary: 'file', form: 'raw', place: facts.path }]);
    const leaks = scanForLeaks(canaries, { files: [daemon.home.runtime], pids: [daemon.pid] });
    assert.deepEqual(leaks, control);
    for (const name of ['status', 'log'] as const) {
      const text = name === 'log' ? daemon.log() : JSON.stringify(await daemon.control.status());
      assert.deepEqual(scanForLeaks(canaries, { texts: [text] }), []);
    }
    // The pipe was read: what the child starts from now on inherits an empty one.
    const inherited = JSON.parse(await callTool(client, 'offspring')) as string[];
    assert.deepEqual(
      inherited.filter((link) => !/^(?:pipe|anon_inode|socket|\/proc|\/dev)/.test(link)),
      [],
    );
  });

  test('I1 they add their two variables to its environment, and nothing else', async (t) => {
    const { facts } = await placed(t);
    const allowed = ['HOME', 'USER', 'LOGNAME', 'LANG', 'TZ', 'PATH', 'TERM', 'TMPDIR', 'IN_FILE', 'IN_PIPE'];
    assert.deepEqual(
      facts.names.filter((name) => !allowed.includes(name) && !name.startsWith('LC_')),
      [],
    );
    assert.ok(facts.names.includes('IN_FILE') && facts.names.includes('IN_PIPE'));
  });

  test('D1 D2 what comes out of them is redacted like any other secret', async (t) => {
    const { client, canaries, daemon } = await placed(t);
    await client.request('tools/call', { name: 'leak', arguments: {} });
    const received = Buffer.concat(client.lines.map(({ raw }) => raw));
    assert.deepEqual(scanForLeaks(canaries, { texts: [received] }), []);
    assert.match(received.toString(), /\[redacted file:.*\[redacted vault:pipe\]/);
    const started = daemon.audit().find(({ event }) => event === 'upstream.started');
    assert.equal((started as { credentials?: string[] } | undefined)?.credentials?.length, 2);
  });

  test('A11 they are gone with the child, however it ends, and each child has its own', async (t) => {
    const { daemon, client, facts } = await placed(t);
    const session = await daemon.newSession();
    const other = await LineClient.upgrade(socketOf(session), '/mcp/placed');
    t.after(() => other.close());
    await handshake(other);
    const second = JSON.parse(await callTool(other, 'facts')) as Facts;
    assert.notEqual(dirname(second.path), dirname(facts.path));
    await client.request('tools/call', { name: 'crash', arguments: {} });
    await eventually('the file is gone', () => !existsSync(facts.path));
    assert.ok(existsSync(second.path), 'the other child keeps its own');
    await other.close();
    await eventually('that is gone too', () => !existsSync(dirname(dirname(second.path))));
    assert.deepEqual(secretFiles(daemon.home), []);
  });

  test('A11 F5 they are gone when the daemon is killed, and swept at its next start', async (t) => {
    const { daemon, facts } = await placed(t);
    daemon.kill('SIGKILL');
    await daemon.exited;
    await eventually('the watchdog removed it', () => !existsSync(facts.path));
    const directory = dirname(dirname(facts.path));
    assert.ok(existsSync(directory), 'the rest is left to the next start');
    await startDaemon(t, { home: daemon.home });
    assert.ok(!existsSync(directory));
  });

  test('A17 another user reads neither', async (t) => {
    if (!canBecome(t, stranger)) return;
    const { facts } = await placed(t);
    const control = join(mkdtempSync(join(tmpdir(), 'o-')), 'control');
    t.after(() => rmSync(dirname(control), { recursive: true }));
    chmodSync(dirname(control), 0o755);
    writeFileSync(control, 'x', { mode: 0o644 });
    const paths = [control, facts.path, `/proc/${facts.pid}/fd/3`, `/proc/${facts.pid}/environ`];
    const other = run(
      t,
      `for (const path of JSON.parse(env.PATHS)) {
         try { fs.readFileSync(path); say('read'); } catch (error) { say(error.code); }
       }`,
      { uid: stranger, env: { PATHS: JSON.stringify(paths) } },
    );
    const said: string[] = [];
    for (const _path of paths) said.push(await other.line());
    assert.deepEqual(said, ['read', 'EACCES', 'EACCES', 'EACCES']);
  });
});
