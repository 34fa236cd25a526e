/** What is kept of helpers' answers, for how long, and who runs them when. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { validityOf } from '../../src/credentials/expiry.ts';
import { limits } from '../../src/limits.ts';
import { jwt, Rig, ref, script, Turns } from './helpers-support.ts';
import { canary, fails, toNobody } from './support.ts';

const minute = 60;

test('the time of a refresh: within the last fifth, spread, five minutes at most', () => {
  const at = (lifetime: number, random: number, refreshAfter: number | null = null) =>
    validityOf({ expiresAt: lifetime, refreshAfter }, null, 0, random)?.refreshAt;
  assert.equal(at(1000, 1), 800);
  assert.equal(at(1000, 0), 900);
  assert.equal(at(3_600_000, 1), 3_600_000 - limits.credentialLeadMs);
  assert.equal(at(3_600_000, 0), 3_600_000 - limits.credentialLeadMs / 2);
  assert.equal(at(1000, 1, 10), 10);
  assert.equal(at(1000, 1, 990), 800, 'not later than we would');
  const stated = { expiresAt: 5000, refreshAfter: null };
  assert.equal(validityOf(stated, 1000, 100, 0)?.expiresAt, 1100, 'the earlier end');
  assert.equal(validityOf(stated, 9000, 100, 0)?.expiresAt, 5000);
  assert.equal(validityOf({ expiresAt: null, refreshAfter: null }, null, 0, 0), null);
});

describe('kept', () => {
  test('not at all without a known end', async (t) => {
    const turns = new Turns(t, ['canary-run-1', 'canary-run-2']);
    const rig = new Rig(t, { h: turns.helper });
    assert.deepEqual([await rig.text(ref('h')), await rig.text(ref('h'))], ['canary-run-1', 'canary-run-2']);
  });

  test('until shortly before ttl, expiresAt or exp', async (t) => {
    const rig = new Rig(t, {});
    const end = { expiresAt: rig.at(100) };
    const json = (value: string): string => JSON.stringify({ value, ...end });
    const cases = {
      ttl: new Turns(t, ['canary-1', 'canary-2'], { ttlMs: 100_000 }),
      json: new Turns(t, [json('canary-1'), json('canary-2')], { ask: { format: 'json' } }),
      jwt: new Turns(t, [jwt({ exp: rig.start / 1000 + 100 }), 'canary-2']),
    };
    const given = Object.fromEntries(Object.entries(cases).map(([name, turns]) => [name, turns.helper]));
    const kept = new Rig(t, given);
    for (const [name, turns] of Object.entries(cases)) {
      // The rigs may differ by a second.
      kept.seconds = (rig.start - kept.start) / 1000;
      const first = await kept.text(ref(name));
      kept.seconds += 79;
      assert.equal(await kept.text(ref(name)), first, name);
      assert.equal(turns.runs, 1);
      kept.seconds += 2;
      assert.equal(await kept.text(ref(name)), 'canary-2', name);
      assert.equal(turns.runs, 2);
    }
  });

  test('D4: the value before a refresh stays redacted, and so do fields that nobody asked for', async (t) => {
    const [old, fresh, aside] = [canary(), canary(), canary()];
    const fields = (token: string): string => JSON.stringify({ fields: { token, aside } });
    const turns = new Turns(t, [fields(old), fields(fresh)], { ask: { format: 'json' }, ttlMs: 100_000 });
    const rig = new Rig(t, { h: turns.helper });
    assert.equal(await rig.text(ref('h', 'token')), old);
    rig.seconds = 99;
    assert.equal(await rig.text(ref('h', 'token')), fresh);
    const labels = ['command:h#token', 'command:h#token', 'command:h#aside', null];
    assert.deepEqual(rig.broker.contains([old, fresh, aside, canary()]), labels);
    const [known, ...others] = rig.broker.knownLabels();
    assert.deepEqual([known?.label, known?.redactable, others], ['command:h#token', true, []]);
  });

  test('its end is known, and from when on it is asked for anew; never more', async (t) => {
    const turns = new Turns(t, ['canary-1', 'canary-2'], { ttlMs: 100_000 });
    const always = new Turns(t, ['canary-3']);
    const rig = new Rig(t, { h: turns.helper, always: always.helper });
    await rig.text(ref('h'));
    await rig.text(ref('always'));
    const at = (seconds: number): string => new Date(rig.start + 1000 * seconds).toISOString();
    const [kept, asked] = rig.broker.knownLabels();
    assert.deepEqual(asked, { label: 'command:always', redactable: true });
    assert.deepEqual(Object.keys(kept ?? {}), ['label', 'redactable', 'expiresAt', 'refreshAt']);
    const refreshAt = kept?.refreshAt ?? '';
    assert.equal(kept?.expiresAt, at(100));
    assert.ok(at(80) <= refreshAt && refreshAt <= at(90), refreshAt);
  });

  test('a name is no secret, unless it is used as one', async (t) => {
    const printed = 'username=canary-user@example.com\npassword=canary-password\n';
    const turns = new Turns(t, [printed], { ask: { format: 'git', url: 'https://git.example' } });
    const rig = new Rig(t, { h: turns.helper });
    assert.equal(await rig.text(ref('h')), 'canary-password');
    assert.deepEqual(rig.broker.contains(['canary-user@example.com']), [null]);
    assert.equal(await rig.text(ref('h', 'username')), 'canary-user@example.com');
    assert.deepEqual(rig.broker.contains(['canary-user@example.com']), ['command:h#username']);
    assert.equal(await rig.text(ref('h', 'password')), 'canary-password');
  });
});

describe('a refresh that fails', () => {
  test('leaves the value before in use while it is good, is told of, and is not repeated at once', async (t) => {
    const value = canary();
    const turns = new Turns(t, [`${value}`, 'canary-later'], { ttlMs: 10 * minute * 1000 });
    const rig = new Rig(t, { h: turns.helper });
    await rig.text(ref('h'));
    turns.act(`echo "${value}" >&2; exit 7`);
    rig.seconds = 9 * minute;
    assert.equal(await rig.text(ref('h')), value);
    assert.equal(rig.problems.length, 1);
    assert.match(
      rig.problems[0] ?? '',
      /^command:h: the helper exited with code 7; .*; the value before is used until it expires$/,
    );
    assert.ok(!rig.problems[0]?.includes(value));
    rig.seconds += 29;
    assert.equal(await rig.text(ref('h')), value);
    assert.equal(turns.runs, 2);
    rig.seconds += 2;
    assert.equal(await rig.text(ref('h')), value);
    assert.equal(turns.runs, 3);
    rig.seconds = 10 * minute;
    await fails(() => rig.broker.acquire(ref('h'), toNobody), 'credential', /exited with code 7/, [value]);
    turns.act(':');
    assert.equal(await rig.text(ref('h')), 'canary-later');
  });

  test('a first run that fails is not kept', async (t) => {
    const turns = new Turns(t, ['canary-value'], { ttlMs: 100_000 });
    turns.act('exit 1');
    const rig = new Rig(t, { h: turns.helper });
    await fails(() => rig.broker.acquire(ref('h'), toNobody), 'credential', /exited with code 1/);
    turns.act(':');
    assert.equal(await rig.text(ref('h')), 'canary-value');
  });
});

describe('refused by an upstream', () => {
  test('a kept value is dropped, and asked for anew; unchanged, not again for a while', async (t) => {
    const turns = new Turns(t, ['canary-one', 'canary-one', 'canary-two'], { ttlMs: 1000 * minute * 1000 });
    const { broker, ...rest } = new Rig(t, { h: turns.helper });
    const rig = Object.assign(rest, { broker });
    const first = await broker.acquire(ref('h'), toNobody);
    assert.equal(broker.isDue(first), false);
    assert.equal(broker.refused(first), true);
    assert.equal(await broker.acquire(ref('h'), toNobody), first, 'the same value is the same Secret');
    assert.equal(turns.runs, 2);
    assert.equal(broker.refused(first), false);
    await broker.acquire(ref('h'), toNobody);
    assert.equal(turns.runs, 2, 'still kept');
    assert.equal(rig.problems.length, 0);
  });

  test('then a failing helper is an error: the value is known to be no good', async (t) => {
    const turns = new Turns(t, ['canary-one'], { ttlMs: 1000 * minute * 1000 });
    const rig = new Rig(t, { h: turns.helper });
    const first = await rig.broker.acquire(ref('h'), toNobody);
    turns.act('exit 1');
    assert.equal(rig.broker.refused(first), true);
    await fails(() => rig.broker.acquire(ref('h'), toNobody), 'credential', /exited with code 1/);
    assert.equal(rig.broker.isDue(first), false);
  });

  test('after the pause it may be asked again, and another value is due for whoever holds the old one', async (t) => {
    const turns = new Turns(t, ['canary-one', 'canary-one', 'canary-two'], { ttlMs: 1000 * minute * 1000 });
    const rig = new Rig(t, { h: turns.helper });
    const first = await rig.broker.acquire(ref('h'), toNobody);
    rig.broker.refused(first);
    await rig.broker.acquire(ref('h'), toNobody);
    rig.seconds = limits.credentialRetryMs / 1000;
    assert.equal(rig.broker.refused(first), true);
    const second = await rig.broker.acquire(ref('h'), toNobody);
    assert.notEqual(second, first);
    assert.equal(rig.broker.isDue(first), true);
    assert.equal(rig.broker.isDue(second), false);
    rig.seconds += 990 * minute;
    assert.equal(rig.broker.isDue(second), false);
    rig.seconds += 10 * minute;
    assert.equal(rig.broker.isDue(second), true);
  });

  test('of other sources too', async (t) => {
    const env: Record<string, string> = { TOKEN: 'canary-env-one' };
    const rig = new Rig(t, {}, { env });
    const token = { source: 'env', name: 'TOKEN' } as const;
    const first = await rig.broker.acquire(token, toNobody);
    assert.equal(rig.broker.refused(first), true);
    assert.equal(await rig.broker.acquire(token, toNobody), first);
    assert.equal(rig.broker.refused(first), false);
    env.TOKEN = 'canary-env-two';
    rig.seconds = limits.credentialRetryMs / 1000;
    assert.equal(rig.broker.refused(first), true);
    assert.equal(await rig.text(token), 'canary-env-two');
  });
});

describe('at once', () => {
  test('50 callers make one run, whichever fields they ask for', async (t) => {
    const json = (n: number): string =>
      JSON.stringify({ fields: { a: `canary-a-${n}`, b: `canary-b-${n}` } });
    const turns = new Turns(t, [json(1), json(2)], { ask: { format: 'json' } });
    const rig = new Rig(t, { h: turns.helper });
    const fields = Array.from({ length: 50 }, (_, index) => (index % 2 === 0 ? 'a' : 'b'));
    const values = await Promise.all(fields.map((field) => rig.text(ref('h', field))));
    assert.deepEqual([...new Set(values)].sort(), ['canary-a-1', 'canary-b-1']);
    assert.equal(turns.runs, 1);
  });

  test('50 callers of a refresh make one run', async (t) => {
    const turns = new Turns(t, ['canary-1', 'canary-2', 'canary-3'], { ttlMs: 100_000 });
    const rig = new Rig(t, { h: turns.helper });
    await rig.text(ref('h'));
    rig.seconds = 90;
    const values = await Promise.all(Array.from({ length: 50 }, () => rig.text(ref('h'))));
    assert.deepEqual([...new Set(values)], ['canary-2']);
    assert.equal(turns.runs, 2);
  });

  test('fields that are asked for in one turn fit together, even where a refresh falls between two looks at the clock', async (t) => {
    const json = (n: number): string =>
      JSON.stringify({ fields: { id: `canary-id-${n}`, key: `canary-key-${n}` } });
    const turns = new Turns(t, [json(1), json(2)], { ask: { format: 'json' }, ttlMs: 100_000 });
    const rig = new Rig(t, { h: turns.helper });
    await rig.text(ref('h', 'id'));
    rig.seconds = 79.999;
    const id = rig.text(ref('h', 'id'));
    rig.seconds = 80.001;
    const key = rig.text(ref('h', 'key'));
    assert.deepEqual(await Promise.all([id, key]), ['canary-id-1', 'canary-key-1']);
    assert.equal(await rig.text(ref('h', 'key')), 'canary-key-2');
  });
});

test('a field that the format does not have, or that is not there, is named; no value is', async (t) => {
  const keys = { Version: 1, AccessKeyId: 'canary-id-1', SecretAccessKey: 'canary-key-1' };
  const rig = new Rig(t, {
    aws: script('printf %s "$VALUE"', { VALUE: JSON.stringify(keys) }, { ask: { format: 'aws' } }),
    gh: script('echo canary-value'),
    own: script(`printf '{"fields":{"a":"canary-field"}}'`, {}, { ask: { format: 'json' } }),
  });
  const values = ['canary'];
  assert.equal(await rig.text(ref('aws', 'SecretAccessKey')), 'canary-key-1');
  const ask = (name: string, field?: string) => () => rig.broker.acquire(ref(name, field), toNobody);
  await fails(ask('aws'), 'config', /^command:aws: expected a field of format aws, got none$/, values);
  await fails(
    ask('gh', 'token'),
    'config',
    /^command:gh: expected a field of format raw, got token$/,
    values,
  );
  await fails(
    ask('aws', 'SessionToken'),
    'credential',
    /^command:aws: the helper's output has no SessionToken$/,
    values,
  );
  await fails(ask('own'), 'credential', /^command:own: the helper's output has no value$/, values);
  await fails(ask('own', 'b'), 'credential', /^command:own: the helper's output has no b$/, values);
});
