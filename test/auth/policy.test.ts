import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Decision, evaluate, type Policy, type Rule, type Target } from '../../src/auth/policy.ts';
import type { Caller } from '../../src/auth/session.ts';
import { processorMs } from '../support/processor.ts';

const callerIn = (profile: string) => ({ session: { profile } }) as unknown as Caller;

/** A little language: rules in, then what they allow and deny. */
function policy(...rules: Rule[]) {
  const known: Policy = new Map([['p', rules]]);
  const decide = (upstream: string, target: Target): Decision =>
    evaluate(known, callerIn('p'), { upstream, method: 'm', target });
  const parse = (what: string): [string, Target] => {
    const [upstream = '', kind = '', ...name] = what.split(' ');
    if (kind === 'protocol' || kind === 'unknown') return [upstream, { kind }];
    return [upstream, { kind: kind as 'tool', name: name.join(' ') }];
  };
  return {
    allow(...whats: string[]) {
      for (const what of whats) assert.equal(decide(...parse(what)).effect, 'allow', what);
      return this;
    },
    deny(rule: string, ...whats: string[]) {
      for (const what of whats) {
        const decision = decide(...parse(what));
        assert.deepEqual([decision.effect, decision.rule], ['deny', rule], what);
      }
      return this;
    },
  };
}

const allow = (upstream: string, more: Partial<Rule> = {}): Rule => ({ effect: 'allow', upstream, ...more });
const deny = (upstream: string, more: Partial<Rule> = {}): Rule => ({ effect: 'deny', upstream, ...more });

test('no rules allow nothing', () => {
  policy().deny('p/no match', 'u protocol', 'u tool t', 'u unknown');
});

test('a rule without names covers all of its upstreams', () => {
  policy(allow('u'))
    .allow('u protocol', 'u tool t', 'u prompt p', 'u resource x://y', 'u unknown')
    .deny('p/no match', 'v tool t', 'v protocol', 'uu tool t', ' tool t');
  policy(allow('u*')).allow('u tool t', 'uv tool t').deny('p/no match', 'vu tool t');
});

test('a rule with names covers those, and the plumbing that they need', () => {
  policy(allow('u', { tools: ['read*'] }))
    .allow('u protocol', 'u tool read', 'u tool read_all')
    .deny(
      'p/no match',
      'u tool write',
      'u tool Read',
      'u tool xread',
      'u prompt read',
      'u resource read',
      'u unknown',
      'v protocol',
    );
});

test('deny beats allow in either order', () => {
  for (const rules of [
    [allow('u'), deny('u', { tools: ['*delete*'] })],
    [deny('u', { tools: ['*delete*'] }), allow('u')],
  ]) {
    const at = rules[0]?.effect === 'deny' ? 1 : 2;
    policy(...rules)
      .allow('u protocol', 'u tool read', 'u prompt delete', 'u unknown')
      .deny(`p/rule ${at}`, 'u tool delete', 'u tool x_delete_y');
  }
});

test('a deny of a whole upstream closes its plumbing too', () => {
  policy(allow('*'), deny('secret'))
    .allow('u tool t')
    .deny('p/rule 2', 'secret protocol', 'secret tool t', 'secret unknown');
});

test('a deny of all tools leaves the rest', () => {
  policy(allow('u'), deny('*', { tools: ['*'] }))
    .allow('u protocol', 'u prompt p')
    .deny('p/rule 2', 'u tool t', 'u tool ');
});

test('G1: names are compared as they are: no case, no Unicode form, no trimming', () => {
  policy(allow('u', { tools: ['caf\u00e9'] }))
    .allow('u tool caf\u00e9')
    .deny(
      'p/no match',
      'u tool cafe\u0301',
      'u tool CAF\u00c9',
      'u tool caf\u00e9 ',
      'u tool caf\u00e9\0',
      'u tool  caf\u00e9',
    );
});

test('G5: a profile that does not exist, or has a name of Object.prototype, allows nothing', () => {
  const known: Policy = new Map([['p', [allow('*')]]]);
  for (const profile of ['q', '', 'P', '__proto__', 'constructor', 'toString']) {
    const decision = evaluate(known, callerIn(profile), {
      upstream: 'u',
      method: 'm',
      target: { kind: 'protocol' },
    });
    assert.deepEqual([decision.effect, decision.rule], ['deny', `${profile}/unknown`]);
  }
});

test('G4: a glob of many stars does not explode', () => {
  const before = processorMs();
  policy(allow('u', { tools: [`${'*a'.repeat(200)}*b`] })).deny('p/no match', `u tool ${'a'.repeat(20_000)}`);
  assert.ok(processorMs() - before < 2_000);
});

test('G1: a glob over resources does not reach through dot segments', () => {
  const there = ['file:///docs/a', 'file:///docs/a..b/c', 'file:///docs/.hidden', 'file:///docs/a/b.'];
  const through = [
    'file:///docs/../etc/passwd',
    'file:///docs/./a',
    'file:///docs/%2e%2E/etc/passwd',
    'file:///docs/.%2e/etc',
    'file:///docs%2f..%2fetc',
    'file:///docs/..\\etc',
    'file:///docs/..',
    'file:///docs/..?x',
  ];
  policy(allow('u', { resources: ['file:///docs*'] }))
    .allow(...there.map((uri) => `u resource ${uri}`))
    .deny('p/no match', ...through.map((uri) => `u resource ${uri}`));
  policy(allow('u'), deny('u', { resources: ['file:///etc/*'] }))
    .allow(...there.map((uri) => `u resource ${uri}`))
    .deny('p/rule 2', ...through.map((uri) => `u resource ${uri}`));
});
