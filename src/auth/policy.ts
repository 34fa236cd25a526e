/**
 * MAY they. Pure: a policy, a caller and a call in, a decision with its rule and reason out. `deny` beats `allow`, no
 * match is a deny, and every ladder ends in refusal.
 */
import { matchGlob } from '../glob.ts';
import type { Caller } from './session.ts';

/** Without `tools`, `prompts` and `resources` a rule covers everything of the upstreams that it names. */
export interface Rule {
  readonly effect: 'allow' | 'deny';
  readonly upstream: string;
  readonly tools?: readonly string[];
  readonly prompts?: readonly string[];
  readonly resources?: readonly string[];
}

/** Profile → its rules. */
export type Policy = ReadonlyMap<string, readonly Rule[]>;

/** What a message touches: something named, the plumbing of the protocol, or a method that we do not know. */
export type Target =
  | { readonly kind: 'tool' | 'prompt' | 'resource'; readonly name: string }
  | { readonly kind: 'protocol' }
  | { readonly kind: 'unknown' };

export interface Call {
  readonly upstream: string;
  readonly method: string;
  readonly target: Target;
  /** Further things that it touches; all of them have to be allowed. */
  readonly also?: readonly Target[];
}

export interface Decision {
  readonly effect: 'allow' | 'deny';
  /** `profile/rule N`, `profile/no match`: what the audit shows. */
  readonly rule: string;
  readonly reason: string;
  readonly caller: Caller;
  readonly call: Call;
}

const kinds = { tool: 'tools', prompt: 'prompts', resource: 'resources' } as const;

function coversAll(rule: Rule): boolean {
  return rule.tools === undefined && rule.prompts === undefined && rule.resources === undefined;
}

/**
 * Upstreams resolve `.` and `..` after us, also when they are percent-encoded: a glob over such a URI says nothing about
 * what will be read.
 */
function hasDotSegment(uri: string): boolean {
  const segments = uri.split(/[/\\:?#]|%2f|%5c/i);
  return segments.some((segment) => /^(?:\.|%2e){1,2}$/i.test(segment));
}

function covers(rule: Rule, call: Call): boolean {
  if (!matchGlob(rule.upstream, call.upstream)) return false;
  switch (call.target.kind) {
    case 'tool':
    case 'prompt':
    case 'resource': {
      const { kind, name } = call.target;
      if (coversAll(rule)) return true;
      const globs = rule[kinds[kind]] ?? [];
      // What cannot be judged is not allowed by a glob, and is denied by one.
      if (kind === 'resource' && globs.length > 0 && hasDotSegment(name)) return rule.effect === 'deny';
      return globs.some((glob) => matchGlob(glob, name));
    }
    case 'protocol':
      // Opening, listing and ending are part of whatever the rule allows; a deny for some tools does not close the rest.
      return rule.effect === 'allow' || coversAll(rule);
    case 'unknown':
      return coversAll(rule);
  }
}

/** Whether profiles differ in what they see of an upstream that they have: what one is shown is not for all then. */
export function isPartial(policy: Policy, upstream: string): boolean {
  for (const rules of policy.values())
    if (rules.some((rule) => !coversAll(rule) && matchGlob(rule.upstream, upstream))) return true;
  return false;
}

export function evaluate(policy: Policy, caller: Caller, call: Call): Decision {
  for (const target of call.also ?? []) {
    const decision = judge(policy, caller, { upstream: call.upstream, method: call.method, target });
    if (decision.effect !== 'allow') return decision;
  }
  return judge(policy, caller, call);
}

/** Whether the caller's profile has this upstream at all: may open it, and see what of it is allowed. */
export function hasUpstream(policy: Policy, caller: Caller, upstream: string): boolean {
  const call: Call = { upstream, method: 'initialize', target: { kind: 'protocol' } };
  return judge(policy, caller, call).effect === 'allow';
}

function judge(policy: Policy, caller: Caller, call: Call): Decision {
  const { profile } = caller.session;
  const rules = policy.get(profile);
  if (rules === undefined)
    return { effect: 'deny', rule: `${profile}/unknown`, reason: 'the profile does not exist', caller, call };
  let allowed: number | undefined;
  for (const [index, rule] of rules.entries()) {
    if (!covers(rule, call)) continue;
    if (rule.effect === 'deny')
      return {
        effect: 'deny',
        rule: `${profile}/rule ${index + 1}`,
        reason: 'denied by a rule',
        caller,
        call,
      };
    allowed ??= index;
  }
  return allowed === undefined
    ? { effect: 'deny', rule: `${profile}/no match`, reason: 'no rule allows it', caller, call }
    : { effect: 'allow', rule: `${profile}/rule ${allowed + 1}`, reason: 'allowed by a rule', caller, call };
}
