/**
 * A view as Landlock can have it: it knows only what is allowed, and for directories with all below them. Around what is
 * to be hidden, each neighbour is allowed by itself.
 */
import { join } from 'node:path';
import type { FileRule } from '../../os/landlock.ts';
import { isWithin, type PathRule, type View } from './view.ts';

/** Names in a directory that are directories or files, no links: what they lead to is judged by its own path. */
export type List = (directory: string) => readonly string[];

/** Terminals and what every program reads or writes; of `/dev` nothing else, such as the disks of an agent that is root. */
const devices = ['null', 'zero', 'full', 'random', 'urandom', 'tty', 'ptmx', 'pts'].map((name) =>
  join('/dev', name),
);

const strength = { hidden: 0, private: 0, read: 1, write: 2 } as const;

function* allow(
  path: string,
  access: 'read' | 'write',
  rules: readonly PathRule[],
  list: List,
): Generator<FileRule> {
  const weaker = rules.filter(
    (rule) => isWithin(rule.path, path) && rule.path !== path && strength[rule.access] < strength[access],
  );
  if (weaker.length === 0) {
    yield { path, access };
    return;
  }
  for (const name of list(path)) {
    const child = join(path, name);
    const exception = weaker.find((rule) => rule.path === child);
    if (exception === undefined) yield* allow(child, access, weaker, list);
  }
}

/**
 * Names can be listed everywhere, contents not. In a directory above something hidden or ours nothing can be created or
 * renamed, for that right would reach below.
 * @param view what is `private` in it is hidden here
 */
export function fileRules(view: View, list: List): FileRule[] {
  const root = { path: '/', access: 'read', kind: 'directory', source: 'default' } as const;
  const dev = { path: '/dev', access: 'hidden', kind: 'directory', source: 'ostiary' } as const;
  const rules = [...(view.rules.some(({ path }) => path === '/') ? [] : [root]), dev, ...view.rules];
  const allowed = rules.flatMap(({ path, access }) =>
    access === 'read' || access === 'write' ? [...allow(path, access, rules, list)] : [],
  );
  return [
    { path: '/', access: 'list' },
    ...allowed,
    ...devices.map((path): FileRule => ({ path, access: 'write' })),
  ];
}
