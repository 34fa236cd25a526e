import assert from 'node:assert/strict';
import { test } from 'node:test';
import { authorize } from '../../src/auth/grant.ts';
import type { Call, Decision } from '../../src/auth/policy.ts';
import type { Caller } from '../../src/auth/session.ts';
import { isRefusal } from '../../src/errors.ts';

const caller = {} as Caller;
const call: Call = { upstream: 'u', method: 'm', target: { kind: 'protocol' } };
const decision = (effect: Decision['effect']): Decision => ({
  effect,
  rule: 'p/rule 1',
  reason: 'because',
  caller,
  call,
});

test('a grant comes after its record, and holds what was recorded', async () => {
  const recorded: [Decision, string][] = [];
  let written = (): void => {};
  let granted = false;
  const granting = authorize(decision('allow'), 'c-1', (one, id) => {
    recorded.push([one, id]);
    return new Promise((resolve) => {
      written = resolve;
    });
  }).then((grant) => {
    granted = true;
    return grant;
  });
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual([recorded.length, granted], [1, false]);
  written();
  const grant = await granting;
  assert.ok(!isRefusal(grant));
  assert.deepEqual([grant.callId, grant.caller, grant.call], ['c-1', caller, call]);
});

test('a denial is recorded too, and names its rule', async () => {
  let records = 0;
  const refusal = await authorize(decision('deny'), 'c', async () => {
    records++;
  });
  assert.equal(records, 1);
  assert.deepEqual(refusal, { refused: 'policy_denied', reason: 'because (p/rule 1)' });
});

test('H2: what cannot be recorded is refused, in the same words, whatever was decided', async () => {
  const failing = [
    async () => Promise.reject(new Error('disk full: /secret/path')),
    () => {
      throw new Error('thrown at once');
    },
  ];
  for (const effect of ['allow', 'deny'] as const)
    for (const record of failing) {
      const refusal = await authorize(decision(effect), 'c', record);
      assert.deepEqual(refusal, {
        refused: 'audit_unavailable',
        reason: 'the audit record could not be written',
      });
    }
});
