/**
 * What the tools and prompts of many upstreams are called where all are shown as one: `<upstream>__<name>`, in the
 * characters and the length that every client takes. The names of upstreams have no underscore, so nothing of one
 * upstream can pass for another's (F2); within one upstream no two names look alike.
 */
import { hash } from 'node:crypto';

/** Model APIs take `^[a-zA-Z0-9_-]{1,64}$` as the name of a tool. */
export const nameChars = 64;

const separator = '__';

/** Digits of the digest by level: none for a name that fits as it is, more when eight were not enough. */
const digits = [0, 8, 16, 29] as const;

function room(upstream: string): number {
  return nameChars - upstream.length - separator.length;
}

function fits(upstream: string, name: string): boolean {
  return /^[A-Za-z0-9_-]+$/.test(name) && name.length <= room(upstream);
}

function candidate(upstream: string, name: string, level: number): string {
  if (level === 0) return upstream + separator + name;
  const digest = hash('sha256', name, 'hex').slice(0, digits[level]);
  const readable = name.replace(/[^A-Za-z0-9_-]/gu, '_').slice(0, room(upstream) - digest.length - 1);
  return `${upstream}${separator}${readable}_${digest}`;
}

/** Equal for names that a client which folds case, or writes `_` for `-`, cannot tell apart. */
function look(name: string): string {
  return name.toLowerCase().replaceAll('-', '_');
}

/**
 * Original name → shown name, one to one. It depends on the set of names alone: all that look alike get a digest, not
 * whichever came second, so an upstream cannot take over a name by listing another first. Names that no digest tells
 * apart are left out.
 */
export function showNames(upstream: string, names: Iterable<string>): Map<string, string> {
  const levels = new Map([...names].map((name) => [name, fits(upstream, name) ? 0 : 1]));
  for (;;) {
    const alike = new Map<string, string[]>();
    for (const [name, level] of levels) {
      const key = look(candidate(upstream, name, level));
      alike.set(key, [...(alike.get(key) ?? []), name]);
    }
    const clashes = [...alike.values()].filter((group) => group.length > 1).flat();
    if (clashes.length === 0)
      return new Map([...levels].map(([name, level]) => [name, candidate(upstream, name, level)]));
    for (const name of clashes) {
      const level = (levels.get(name) as number) + 1;
      if (level < digits.length) levels.set(name, level);
      else levels.delete(name);
    }
  }
}

/** Which upstream a shown name belongs to, and what follows; `null` when it can be none of ours. */
export function splitName(shown: string): { upstream: string; rest: string } | null {
  const at = shown.indexOf(separator);
  return at < 1 ? null : { upstream: shown.slice(0, at), rest: shown.slice(at + separator.length) };
}

/** Before a URI or URI template: `<upstream>+<uri>`. */
export function uriPrefix(upstream: string): string {
  return `${upstream}+`;
}

export function splitUri(shown: string): { upstream: string; uri: string } | null {
  const at = shown.indexOf('+');
  return at < 1 ? null : { upstream: shown.slice(0, at), uri: shown.slice(at + 1) };
}
