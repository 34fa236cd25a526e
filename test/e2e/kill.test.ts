/** Whoever of us is killed: clear errors, no orphan, an audit chain that holds, and a next start that works. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { fixtureServer } from '../support/servers.ts';
import { DrivenAgent, Refused, type ToolResult, textOf } from './agent.ts';
import { Home, isGone, lives, until } from './home.ts';

function homeWithFixtures(t: TestContext): Home {
  const home = new Home(t);
  // Without namespaces their pids are those that they know.
  const chatty = { ...fixtureServer('chatty'), hardening: 'process' };
  const stubborn = { ...fixtureServer('stubborn'), hardening: 'process' };
  home.configure({ chatty, other: chatty, stubborn });
  return home;
}

type Stubborn = Record<'server' | 'child' | 'ownSession' | 'orphan', number>;

/** An agent with a call in flight at `chatty`, and `stubborn` with its offspring. */
async function busy(
  home: Home,
): Promise<{ agent: DrivenAgent; stuck: Promise<Refused>; pids: Stubborn; shims: number[] }> {
  const agent = DrivenAgent.start(home);
  const [chatty, stubborn] = await Promise.all([agent.open('chatty'), agent.open('stubborn')]);
  const pids = JSON.parse(textOf(await agent.call('stubborn', 'pids'))) as Stubborn;
  const stuck = refusal(agent.call('chatty', 'sleep_until_cancelled'));
  // The one before it was answered, and messages keep their order: the call is at the upstream.
  await agent.call('chatty', 'echo', { text: 'x' });
  return { agent, stuck, pids, shims: [Number(chatty.shim), Number(stubborn.shim)] };
}

async function refusal(call: Promise<ToolResult>): Promise<Refused> {
  const settled: unknown = await call.catch((error: unknown) => error);
  assert.ok(settled instanceof Refused, `expected a refusal, got ${JSON.stringify(settled)}`);
  return settled;
}

function serverOf(home: Home): number {
  const [pid, ...more] = home.pids('serve');
  assert.ok(pid !== undefined && more.length === 0, 'one daemon');
  return pid;
}

/** `setsid` leaves the process group, which is all that we can hold without a PID namespace (L0, os/watchdog.ts). */
const held = ({ server, child }: Stubborn): number[] => [server, child];

async function chainHolds(home: Home): Promise<number> {
  const verdict = JSON.parse(await home.ok(['audit', 'verify', '--json'])) as {
    ok: boolean;
    records: number;
  };
  assert.equal(verdict.ok, true);
  return verdict.records;
}

describe('kill -9', { concurrency: 3 }, () => {
  test('F5 H2 of the resident daemon: errors, no orphan, and the next one continues', async (t) => {
    const home = homeWithFixtures(t);
    const daemon = await home.up();
    const { agent, stuck, pids, shims } = await busy(home);
    const upstreams = home.pids(fixtureServer('chatty').args[0] ?? '');
    assert.equal(upstreams.length, 1);
    process.kill(daemon, 'SIGKILL');

    const { error } = await stuck;
    assert.equal(error.code, 503);
    assert.equal(error.data?.ostiary, 'shutting_down');
    assert.match(error.message, /the connection to ostiary was lost/);
    await until(() => isGone([...upstreams, ...held(pids), ...shims]), 'upstreams and shims have ended');
    const ended = await agent.exit(3);
    assert.equal(ended.code, 3);
    assert.match(ended.stderr, /ostiary: the connection to ostiary was lost: .+\n {2}try: /);

    const before = await chainHolds(home);
    assert.ok(existsSync(join(home.runtime, 'control.sock')), 'the socket outlived its daemon');
    assert.equal((await home.ostiary(['status'])).code, 4);
    await home.up();
    const answer = await home.ok(['call', 'chatty', 'echo', '{"text":"again"}']);
    assert.match(answer, /again/);
    await home.ok(['down']);
    assert.ok((await chainHolds(home)) > before);
  });

  test('F5 H2 of a private daemon: errors, no orphan, and `run` still ends as its agent does', async (t) => {
    const home = homeWithFixtures(t);
    const { agent, stuck, pids, shims } = await busy(home);
    process.kill(serverOf(home), 'SIGKILL');
    assert.equal((await stuck).error.code, 503);
    await until(() => isGone([...held(pids), ...shims]), 'upstreams and shims have ended');
    const { pid } = await agent.view();
    assert.ok(lives(pid), 'the agent is not ours to end');
    assert.equal((await agent.exit(7)).code, 7);
    await chainHolds(home);
    assert.deepEqual(home.remains(), []);
    const next = await home.ostiary(['run', '--', '/bin/sh', '-c', 'exit 0']);
    assert.equal(next.code, 0, next.stderr);
    await chainHolds(home);
  });

  test('F5 of `run`: its agent, private daemon, upstreams and files go with it', async (t) => {
    const home = homeWithFixtures(t);
    const { agent, stuck, pids, shims } = await busy(home);
    stuck.catch(() => {});
    const view = await agent.view();
    const daemon = serverOf(home);
    agent.run.kill('SIGKILL');
    assert.equal((await agent.ended).signal, 'SIGKILL');
    await until(
      () => isGone([view.pid, daemon, ...held(pids), ...shims]),
      'agent, daemon, upstreams and shims have ended',
    );
    assert.equal(existsSync(view.config), false);
    assert.deepEqual(home.remains(), []);
    await chainHolds(home);
  });

  test('F5 of `run` with a resident daemon: the session ends, the daemon stays', async (t) => {
    const home = homeWithFixtures(t);
    const daemon = await home.up();
    const { agent, stuck, pids, shims } = await busy(home);
    stuck.catch(() => {});
    const view = await agent.view();
    agent.run.kill('SIGKILL');
    await until(() => isGone([view.pid, ...held(pids), ...shims]), 'agent, upstreams and shims have ended');
    assert.ok(lives(daemon));
    await until(() => !existsSync(view.config), 'mcp-config.json is gone');
    assert.deepEqual(JSON.parse(await home.ok(['session', 'list', '--json'])), []);
    await home.ok(['down']);
    await chainHolds(home);
  });

  test('of the shim: its upstream goes, the others stay', async (t) => {
    const home = homeWithFixtures(t);
    const agent = DrivenAgent.start(home);
    const { shim } = await agent.open('chatty');
    await agent.open('other');
    const first = Number(textOf(await agent.call('chatty', 'pid')));
    const stuck = refusal(agent.call('chatty', 'sleep_until_cancelled'));
    await agent.call('chatty', 'echo', {});
    process.kill(Number(shim), 'SIGKILL');
    assert.match((await stuck).message, /Connection closed/);
    await until(() => isGone([first]), 'its upstream has ended');
    assert.equal(textOf(await agent.call('other', 'echo', { text: 'still here' })), 'still here');
    await agent.open('chatty');
    assert.equal(textOf(await agent.call('chatty', 'echo', { text: 'new' })), 'new');
    assert.equal((await agent.exit()).code, 0);
    const cancelled = home.audit().filter(({ outcome }) => outcome === 'cancelled');
    assert.equal(cancelled.length, 1, 'the call in flight is recorded as cancelled');
  });

  test('F5 of an upstream in the middle of a call: that call fails, the next one works', async (t) => {
    const home = homeWithFixtures(t);
    const agent = DrivenAgent.start(home);
    await agent.open('chatty');
    const first = Number(textOf(await agent.call('chatty', 'pid')));
    const stuck = refusal(agent.call('chatty', 'sleep_until_cancelled'));
    await agent.call('chatty', 'echo', {});
    process.kill(first, 'SIGKILL');
    const { error } = await stuck;
    assert.deepEqual([error.code, error.data?.ostiary], [502, 'upstream_exited']);
    assert.match(error.message, /upstream chatty was ended by SIGKILL/);
    const second = Number(textOf(await agent.call('chatty', 'pid')));
    assert.notEqual(second, first);
    // The new child heard what the client said to the first one at its start, and nothing else.
    const heard = textOf(await agent.call('chatty', 'notifications'));
    assert.deepEqual(JSON.parse(heard), ['notifications/initialized']);
    assert.equal((await agent.exit()).code, 0);
    assert.ok(home.audit().some(({ outcome }) => outcome === 'upstream_exited'));
    await chainHolds(home);
  });

  test('of the watchdog: the daemon gets a new one, which still does its work', async (t) => {
    const home = homeWithFixtures(t);
    const daemon = await home.up();
    const agent = DrivenAgent.start(home);
    await agent.open('stubborn');
    const pids = JSON.parse(textOf(await agent.call('stubborn', 'pids'))) as Stubborn;
    const shellOf = () => home.children(daemon).find(({ argv }) => argv[0] === '/bin/sh')?.pid;
    const first = await until(shellOf, 'the watchdog');
    process.kill(first, 'SIGKILL');
    await until(() => ![undefined, first].includes(shellOf()), 'another watchdog');
    process.kill(daemon, 'SIGKILL');
    await until(() => isGone(held(pids)), 'stubborn has ended');
    await agent.exit();
  });
});

describe('an end that was asked for', { concurrency: 3 }, () => {
  for (const how of ['down', 'SIGTERM', 'SIGINT'] as const)
    test(`F5 ${how}: everything ends and nothing remains`, async (t) => {
      const home = homeWithFixtures(t);
      const daemon = await home.up();
      const { agent, stuck, pids, shims } = await busy(home);
      if (how === 'down') await home.ok(['down']);
      else process.kill(daemon, how);
      assert.equal((await stuck).error.data?.ostiary, 'shutting_down');
      await until(() => isGone([daemon, ...held(pids), ...shims]), 'everything has ended');
      await agent.exit();
      assert.deepEqual(home.remains(), []);
      await chainHolds(home);
      assert.equal(home.audit().at(-1)?.event, 'daemon.stopped');
    });
});

test('a daemon clears what a killed one left', async (t) => {
  const home = homeWithFixtures(t);
  process.kill(await startWithSession(home), 'SIGKILL');
  await home.up();
  assert.deepEqual(home.remains(), ['control.sock']);
});

async function startWithSession(home: Home): Promise<number> {
  const daemon = await home.up();
  await home.ok(['session', 'new']);
  return daemon;
}
