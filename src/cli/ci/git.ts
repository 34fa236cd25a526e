/**
 * Git's configuration, as a git started by the agent would read it. CI systems leave credentials in it that they made
 * themselves, so what looks like one is a finding whether its value is known to us or not: `actions/checkout` writes an
 * `http.….extraheader`, since v6 into a file that is included; GitLab before 18 a password into the remote's URL.
 */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import type { Environment } from '../../environment.ts';
import { limits } from '../../limits.ts';
import { placeOf } from './files.ts';
import type { Finding } from './item.ts';

export const gitHint =
  'actions/checkout: persist-credentials: false; GitLab: FF_GIT_URLS_WITHOUT_TOKENS: "true"; else git config --unset-all, before the agent starts';

function read(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

/** The directory of the repository that `directory` is in, a worktree's too; `null` outside of one. */
function gitDirectory(directory: string): string | null {
  for (let at = directory; ; at = dirname(at)) {
    const dotGit = join(at, '.git');
    const [, pointed] = /^gitdir: (.+)$/m.exec(read(dotGit) ?? '') ?? [];
    if (pointed !== undefined) return resolve(at, pointed.trim());
    if (read(join(dotGit, 'HEAD')) !== null) return dotGit;
    if (dirname(at) === at) return null;
  }
}

/** Whatever the condition of an `includeIf`: it may hold for the agent. */
function includedBy(path: string, text: string, home: string): string[] {
  const paths: string[] = [];
  let including = false;
  for (const line of text.split('\n')) {
    const [, section] = /^\s*\[\s*([\w.-]+)/.exec(line) ?? [];
    if (section !== undefined) including = /^include(if)?$/i.test(section);
    const [, value] = /(?:^|\])\s*path\s*=\s*"?([^"]+?)"?\s*$/i.exec(line) ?? [];
    if (!including || value === undefined) continue;
    const whole = value.startsWith('~/') ? join(home, value.slice(2)) : value;
    paths.push(isAbsolute(whole) ? whole : resolve(dirname(path), whole));
  }
  return paths;
}

/** What a line gives away; `null` for an innocent one. */
export function credentialIn(line: string): string | null {
  if (/^\s*[;#]/.test(line)) return null;
  if (/extraheader\s*=\s*"?\s*(?:proxy-)?authorization\s*:/i.test(line)) return 'an Authorization header';
  if (/[a-z][a-z0-9+.-]*:\/\/[^\s/:@"']*:[^\s/@"']+@/i.test(line)) return 'a URL with a password';
  // A token alone, in the place of the user; `git@` and the like are names.
  return /https?:\/\/[^\s/:@"']{20,}@/i.test(line) ? 'a URL with a token' : null;
}

/** The configuration files, each before those that it includes, and the files where `store` keeps credentials. */
export function gitFiles(workspace: string, env: Environment): string[] {
  const home = env.HOME ?? homedir();
  const global = env.XDG_CONFIG_HOME ?? join(home, '.config');
  const repository = gitDirectory(workspace);
  const common =
    repository === null ? null : resolve(repository, (read(join(repository, 'commondir')) ?? '.').trim());
  const found = new Set<string>();
  const queue = [
    '/etc/gitconfig',
    join(global, 'git', 'config'),
    join(home, '.gitconfig'),
    ...(common === null ? [] : [join(common, 'config')]),
    ...(repository === null ? [] : [join(repository, 'config.worktree')]),
    join(home, '.git-credentials'),
    join(global, 'git', 'credentials'),
  ];
  for (const path of queue) {
    const text = found.has(path) || found.size >= limits.gitIncludes ? null : read(path);
    if (text === null) continue;
    found.add(path);
    queue.push(...includedBy(path, text, home));
    for (const [, store] of text.matchAll(/^\s*helper\s*=\s*.*\bstore\b.*--file[= ]"?([^\s"]+)/gm))
      if (store !== undefined)
        queue.push(store.startsWith('~/') ? join(home, store.slice(2)) : resolve(store));
  }
  return [...found];
}

export function gitFindings(files: readonly string[], base: string): Finding[] {
  return files.flatMap((path) =>
    (read(path) ?? '').split('\n').flatMap((line, index) => {
      const label = credentialIn(line);
      return label === null ? [] : [{ place: `${placeOf(path, base)}:${index + 1}`, label, hint: gitHint }];
    }),
  );
}
