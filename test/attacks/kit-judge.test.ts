/** What counts as a leak, as refused, and as neither. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Absent, attempt, need } from '../../src/agents/attack/attempt.ts';
import { sightingsIn } from '../../src/agents/attack/canaries.ts';
import { Canaries } from '../../src/cli/doctor/attack/canaries.ts';
import { judge } from '../../src/cli/doctor/attack/judge.ts';

const canaries = new Canaries();
const value = canaries.make('own');

function refusedWith(code: string): () => never {
  return () => {
    throw Object.assign(new Error(code), { code });
  };
}

async function outcomeOf(act: Parameters<typeof attempt>[1]): Promise<string> {
  return (await attempt('something', act)).outcome;
}

describe('one attempt of the attack kit', () => {
  test('leaks when a canary is in what it read, in whatever form', async () => {
    for (const text of [
      value,
      Buffer.from(`{"x":"${value}"}`).toString('base64'),
      Buffer.from(value).toString('hex'),
    ]) {
      const { outcome, sightings } = await attempt('something', () => `before ${text} after`);
      assert.equal(outcome, 'leak');
      assert.deepEqual(
        sightings.map((one) => canaries.identify(one)),
        ['own'],
      );
      assert.ok(!JSON.stringify(sightings).includes(value), 'and tells a digest of it');
    }
    for (const offset of [0, 1, 2])
      assert.equal(
        sightingsIn(Buffer.from(Buffer.from('x'.repeat(offset) + value).toString('base64url'))).length,
        1,
      );
  });

  test('leaks when it opened a door, and is denied when it read nothing of worth', async () => {
    assert.equal(await outcomeOf(() => ({ opened: 'the control plane' })), 'leak');
    assert.equal(await outcomeOf(() => 'PATH=/usr/bin'), 'denied');
    assert.equal(await outcomeOf(() => ({ refused: 'a text' })), 'denied');
  });

  test('is denied by a refusal of the kernel alone: what failed otherwise proves nothing', async () => {
    for (const code of ['EACCES', 'EPERM', 'ENOENT', 'ESRCH', 'EROFS'])
      assert.equal(await outcomeOf(refusedWith(code)), 'denied', code);
    for (const code of ['EMFILE', 'ENOSYS', 'EINVAL', 'ETIMEDOUT'])
      assert.equal(await outcomeOf(refusedWith(code)), 'unproven', code);
    assert.equal(await outcomeOf(() => JSON.parse('{') as string), 'unproven');
  });

  test('is skipped when there is nothing to attack', async () => {
    const door = { absent: 'no docker here' };
    assert.deepEqual(await attempt('docker', () => need(door)), {
      what: 'docker',
      outcome: 'skipped',
      why: 'no docker here',
      sightings: [],
    });
    assert.throws(() => need(door), Absent);
  });
});

describe('the verdict over several attempts', () => {
  const attempted = (outcome: 'leak' | 'denied' | 'skipped' | 'unproven') => ({
    what: outcome,
    outcome,
    why: '',
    sightings: [],
  });
  const verdictOf = (...outcomes: Parameters<typeof attempted>[0][]) =>
    judge([{ attack: 'A1', attempts: outcomes.map(attempted) }], canaries)[0]?.outcome;

  test('is the worst of them; what was skipped does not count', () => {
    assert.equal(verdictOf('denied', 'leak', 'unproven'), 'leak');
    assert.equal(verdictOf('denied', 'unproven'), 'unproven');
    assert.equal(verdictOf('skipped', 'denied'), 'denied');
    assert.equal(verdictOf('skipped'), 'skipped');
  });

  test('a canary of somebody else is no leak', async () => {
    const foreign = await attempt('something', () => new Canaries().make('other'));
    const [verdict] = judge([{ attack: 'A1', attempts: [foreign] }], canaries);
    assert.equal(verdict?.outcome, 'denied');
  });

  test('is one for each attack, by number', () => {
    const results = ['B7', 'A10', 'A2', 'A2'].map((attack) => ({ attack, attempts: [attempted('denied')] }));
    assert.deepEqual(
      judge(results, canaries).map(({ attack, attempts }) => [attack, attempts.length]),
      [
        ['A2', 2],
        ['A10', 1],
        ['B7', 1],
      ],
    );
  });
});
