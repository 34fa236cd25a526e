/** The daemon, and the upstreams that it starts. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { utimesSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { daemon } from '../../../src/cli/doctor/checks/daemon.ts';
import { lookUpResident } from '../../../src/cli/doctor/context.ts';
import type { Finding } from '../../../src/cli/doctor/finding.ts';
import type { StatusReport } from '../../../src/cli/lifecycle.ts';
import { version } from '../../../src/paths.ts';
import { Home } from '../../e2e/home.ts';
import { canary } from '../../support/leaks.ts';
import { fixtureServer } from '../../support/servers.ts';
import { assertCodes, codesOf, directory, doctor, listening, run } from './support.ts';

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
      login: { url: 'https://login.invalid/mcp', oauth: true },
      unreachable: { url: `http://127.0.0.1:${port}/mcp?key=x` },
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
      'upstream.failed',
      'upstream.not-allowed',
    ],
    /^upstream\./,
  );
  const said = (name: string): Finding | undefined =>
    found.findings.find(({ code, message }) => code.startsWith('upstream.') && message.includes(name));
  assert.match(said('dies')?.message ?? '', /exited with code 3/);
  assert.equal(said('dies')?.next, `grep '"upstream":"dies"' ${join(home.state, 'daemon.log')} | tail`);
  assert.match(said('needy')?.message ?? '', /vault:absent/);
  assert.equal(said('needy')?.next, 'ostiary secret set NAME');
  assert.equal(said('login')?.next, 'ostiary auth login login');
  assert.match(said('unreachable')?.message ?? '', /ECONNREFUSED/);
  assert.match(said('unreachable')?.next ?? '', /curl .*\/mcp$/);
  assertCodes(found, ['secret.ok', 'secret.short', 'secret.unchecked', 'secret.unchecked'], /^secret\./);
  assertCodes(found, ['login.needed'], /^login\./);
  assertCodes(found, ['vault.missing'], /^vault\./);
  assert.equal(found.code, 1);
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
