/** Upstreams that die, hang or are too many: what clients hear, what is started, and how it mends. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { limits } from '../../src/limits.ts';
import { type Message, textOf } from '../support/mcp.ts';
import { until } from './children.ts';
import { type Talk, World } from './talk.ts';

/** `[code, message]` of a refusal. */
function refusal({ error }: Message): [unknown, string] {
  return [(error?.data as { ostiary?: string } | undefined)?.ostiary, String(error?.message)];
}

async function pidOf(talk: Talk): Promise<number> {
  return Number(textOf(await talk.call('pid')));
}

describe('an upstream that dies at start', () => {
  test('F5: says so, then is left alone, then is tried by one and works when it was mended', async (t) => {
    const world = new World(t);
    world.mode('start');
    for (let i = 0; i < limits.upstreamFailures; i++)
      assert.deepEqual(refusal(await world.open().initialize()), [
        'upstream_exited',
        'ostiary: upstream it exited with code 3',
      ]);
    assert.equal(world.status.starts, 3);
    assert.deepEqual(
      [world.status.state, world.status.failures, world.status.retryAfterSeconds],
      ['open', 3, 5],
    );

    const talk = world.open();
    world.now += 1500;
    const { error } = await talk.initialize();
    assert.equal(
      error?.message,
      'ostiary: upstream it failed 3 times in a row, and last exited with code 3; retry in 4 s',
    );
    assert.deepEqual(error?.data, { ostiary: 'upstream_unavailable', retryAfterSeconds: 4 });
    assert.equal(world.status.starts, 3, 'nothing was started');

    world.now += 3500;
    assert.equal(world.status.state, 'half-open');
    assert.deepEqual(refusal(await talk.initialize())[0], 'upstream_exited');
    assert.deepEqual([world.status.starts, world.status.retryAfterSeconds], [4, 10]);

    world.mode('work');
    assert.equal(refusal(await talk.initialize())[0], 'upstream_unavailable', 'mended, and not yet tried');
    world.now += 10_000;
    assert.notEqual((await talk.initialize()).result, undefined);
    assert.equal(world.status.state, 'closed');
    assert.ok((await pidOf(await world.talk())) > 0, 'others may start theirs now');
    world.now += limits.upstreamHealthyMs;
    assert.equal(world.status.failures, 0);
    assert.deepEqual(world.circuit, ['open 3', 'open 4', 'closed 4']);
  });

  test('while one tries, others are told to wait', async (t) => {
    const world = new World(t);
    world.mode('start');
    for (let i = 0; i < limits.upstreamFailures; i++) await world.open().initialize();
    world.mode('work');
    world.now += limits.upstreamWaitMs;
    const answers = await Promise.all([1, 2, 3, 4].map(() => world.open().initialize()));
    assert.equal(answers.filter(({ result }) => result !== undefined).length, 1);
    for (const answer of answers.filter(({ error }) => error !== undefined))
      assert.match(refusal(answer).join(), /^upstream_unavailable,.*retry in 1 s$/);
    assert.equal(world.status.starts, 4);
  });

  test('an answer to initialize alone is no health: what dies right after it is left alone as well', async (t) => {
    const world = new World(t);
    world.mode('initialized');
    for (let i = 1; i <= limits.upstreamFailures; i++) {
      assert.notEqual((await world.open().initialize()).result, undefined);
      await until(() => world.status.failures === i, 'it died');
    }
    assert.equal(world.status.state, 'open');
    assert.equal(refusal(await world.open().initialize())[0], 'upstream_unavailable');
    assert.match(world.status.lastExit ?? '', /exited with code 4/);
  });

  test('one that answers nothing has failed when its time is over', async (t) => {
    const world = new World(t, { startTimeoutMs: 200 });
    world.mode('mute');
    for (let i = 0; i < limits.upstreamFailures; i++) {
      const answer = world.open().initialize();
      await until(() => world.status.starts === i + 1, 'started');
      world.now += 200;
      assert.equal(refusal(await answer)[0], 'upstream_timeout');
    }
    assert.equal(world.status.state, 'open');
  });

  test('clients that leave before an answer, and those that come and go, are no failures', async (t) => {
    const world = new World(t);
    world.mode('mute');
    for (let i = 0; i < 2 * limits.upstreamFailures; i++) {
      const talk = world.open();
      const answer = talk.initialize();
      await until(() => world.status.starts === i + 1, 'started');
      await talk.close();
      assert.equal(refusal(await answer)[0], 'shutting_down');
    }
    world.mode('work');
    for (let i = 0; i < 2 * limits.upstreamFailures; i++) await (await world.talk()).close();
    assert.deepEqual([world.status.state, world.status.failures], ['closed', 0]);
  });
});

describe('an upstream that dies at work', () => {
  test('F5: calls in flight fail at once, and the same conversation goes on with the next child', async (t) => {
    const world = new World(t);
    const [talk, other] = [await world.talk(), await world.talk()];
    const [first, bystander] = [await pidOf(talk), await pidOf(other)];
    const hanging = [talk.call('hang'), talk.call('hang')];
    await pidOf(talk);
    process.kill(first, 'SIGKILL');
    for (const answer of await Promise.all(hanging))
      assert.deepEqual(refusal(answer), ['upstream_exited', 'ostiary: upstream it was ended by SIGKILL']);
    const second = await pidOf(talk);
    assert.ok(second > 0 && second !== first);
    assert.equal(await pidOf(other), bystander, 'others keep theirs');
    assert.equal(world.status.starts, 3);
    assert.equal(world.status.failures, 1, 'it died young');
  });

  test('a conversation survives the time in which nothing is started', async (t) => {
    const world = new World(t);
    const talk = await world.talk();
    for (let i = 0; i < limits.upstreamFailures; i++)
      assert.deepEqual(refusal(await talk.call('die')), [
        'upstream_exited',
        'ostiary: upstream it exited with code 5',
      ]);
    assert.equal(refusal(await talk.call('pid'))[0], 'upstream_unavailable');
    world.now += limits.upstreamWaitMs;
    assert.ok((await pidOf(talk)) > 0);
  });

  test('one that lived long before it died is started again without a count', async (t) => {
    const world = new World(t);
    const talk = await world.talk();
    for (let i = 0; i < 2 * limits.upstreamFailures; i++) {
      await pidOf(talk);
      world.now += limits.upstreamHealthyMs;
      await talk.call('die');
    }
    assert.deepEqual([world.status.state, world.status.failures], ['closed', 0]);
  });
});

test('a tool has its own time, and the others theirs', async (t) => {
  const world = new World(t, { toolTimeouts: [{ glob: 'h*', ms: 100 }] });
  const talk = await world.talk();
  const startedAt = performance.now();
  assert.equal(refusal(await talk.call('hang'))[0], 'upstream_timeout');
  assert.ok(performance.now() - startedAt < 30_000);
  assert.ok((await pidOf(talk)) > 0, 'the child goes on');
});

test('B9 no more children than max_children; a place is free when one ends', async (t) => {
  const world = new World(t, { maxChildren: 2 });
  const first = await world.talk();
  await world.talk();
  assert.deepEqual(refusal(await world.open().initialize()), [
    'limit_reached',
    'ostiary: upstream it runs 2 children already',
  ]);
  assert.equal(world.status.starts, 2);
  await first.close();
  await world.talk();
  assert.equal(world.status.running.length, 2);
});

test('a message beyond message_size fails its own call alone', async (t) => {
  const world = new World(t, { messageBytes: 300 });
  const talk = await world.talk();
  assert.deepEqual(refusal(await talk.request('tools/list')), [
    'answer_too_large',
    'ostiary: the answer exceeds 300 bytes',
  ]);
  assert.ok((await pidOf(talk)) > 0);
});
