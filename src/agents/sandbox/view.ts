/**
 * What the agent sees of the machine, as a list of paths. Everything is readable as far as modes allow, unless a rule
 * says otherwise; the rule of the longest path that leads to a file counts.
 */
import { dirname } from 'node:path';

/** `private`: an empty directory of the agent's own, gone with it. */
export type Access = 'read' | 'write' | 'hidden' | 'private';

/** Who wants it so, the strongest first: of two rules for one path the stronger one counts. */
export const sources = ['ostiary', '--hide', '--rw', '--ro', 'default'] as const;
export type Source = (typeof sources)[number];

/** A rule for a path that exists, by its real name: links resolved. */
export interface PathRule {
  readonly path: string;
  readonly access: Access;
  readonly kind: 'directory' | 'file';
  readonly source: Source;
}

export interface View {
  /** What has to be done, in this order: no path is named twice, and none before what lies above it. */
  readonly rules: readonly PathRule[];
}

export function isWithin(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory === '/' ? '/' : `${directory}/`);
}

function depth(path: string): number {
  return path === '/' ? 0 : path.split('/').length - 1;
}

/** The rule that counts for `path`: of the longest path above it, or its own. */
export function ruleFor(path: string, rules: readonly PathRule[]): PathRule | undefined {
  return rules
    .filter((rule) => isWithin(path, rule.path))
    .reduce<PathRule | undefined>(
      (best, rule) => (best === undefined || rule.path.length > best.path.length ? rule : best),
      undefined,
    );
}

function strongest(rules: readonly PathRule[]): PathRule[] {
  const byPath = new Map<string, PathRule>();
  for (const rule of rules) {
    const other = byPath.get(rule.path);
    if (other === undefined || sources.indexOf(rule.source) < sources.indexOf(other.source))
      byPath.set(rule.path, rule);
  }
  return [...byPath.values()];
}

/**
 * A directory between a writable one and something of ours: mounted upon itself it cannot be renamed, so nobody puts
 * another one in its place (A14).
 */
function pins(rule: PathRule, rules: readonly PathRule[]): PathRule[] {
  const pinned: PathRule[] = [];
  for (let path = dirname(rule.path); path !== dirname(path); path = dirname(path)) {
    const above = ruleFor(path, rules);
    if (above?.access !== 'write' || above.path === path) break;
    pinned.push({ path, access: 'write', kind: 'directory', source: 'ostiary' });
  }
  return pinned;
}

/** What is above says the same: nothing to do. */
function redundant(rule: PathRule, above: PathRule | undefined): boolean {
  const before = above?.access ?? 'read';
  if (rule.access === 'hidden') return before === 'hidden' || before === 'private';
  // A pin is writable in what is writable: that it is a mount is all its sense.
  return rule.access === before && !(rule.access === 'write' && rule.source === 'ostiary');
}

/** @param wanted in whatever order; `/` is readable if none is about it */
export function viewOf(wanted: readonly PathRule[]): View {
  const rules = strongest(wanted);
  const ours = rules.filter(({ source }) => source === 'ostiary');
  const all = strongest([...rules, ...ours.flatMap((rule) => pins(rule, rules))]).sort(
    (one, other) => depth(one.path) - depth(other.path) || (one.path < other.path ? -1 : 1),
  );
  return {
    rules: all.filter(
      (rule) =>
        !redundant(
          rule,
          ruleFor(
            dirname(rule.path),
            all.filter(({ path }) => path !== rule.path),
          ),
        ),
    ),
  };
}
