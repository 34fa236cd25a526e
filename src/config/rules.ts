/**
 * What the schema cannot say: rules between parts of the file, and errors that deserve a better hint than a pattern.
 * Runs on values of any shape, so that these problems appear together with those of shape.
 */
import { type HelperFormat, helperFields } from '../credentials/helper-format.ts';
import { parseCredentialRef } from '../credentials/ref.ts';
import { matchGlob } from '../glob.ts';
import { parseDuration } from './duration.ts';
import { describe, type Finding } from './finding.ts';
import { judgeGitUrl, judgeHeader, judgeUrl } from './http.ts';
import { judgeLiteral, type Literal, type Names } from './literals.ts';
import { providers, upstreamOAuth } from './oauth-rules.ts';
import { judgeReference } from './references.ts';
import { parseSize } from './size.ts';
import { type Pointer, pointerTo } from './source.ts';
import { didYouMean } from './suggest.ts';

interface Entry {
  readonly key: string;
  readonly value: unknown;
  readonly pointer: Pointer;
}

/** The entries of a map or list; none of anything else. */
function entries(parent: unknown, pointer: Pointer): Entry[] {
  if (typeof parent !== 'object' || parent === null) return [];
  return Object.entries(parent).map(([key, value]) => ({ key, value, pointer: pointerTo(pointer, key) }));
}

function isMap(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function member({ value, pointer }: { value: unknown; pointer: Pointer }, key: string): Entry {
  const found =
    typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined;
  return { key, value: found, pointer: pointerTo(pointer, key) };
}

function children(parent: { value: unknown; pointer: Pointer }, key: string): Entry[] {
  const found = member(parent, key);
  return entries(found.value, found.pointer);
}

/** A relative command is looked up in PATH, which whoever starts us may have changed (A14, E9). */
function* executable({ value, pointer }: Entry, expected: string): Generator<Finding> {
  if (typeof value !== 'string' || value.startsWith('/')) return;
  const word = /^[A-Za-z][A-Za-z0-9._+-]{0,23}$/.test(value) ? value : 'NAME';
  const message = `expected ${expected}, got ${describe(value, pointer)}; use the output of \`command -v ${word}\``;
  yield { pointer, at: 'value', message };
}

const NO_NAMES: Names = { secret: new Set(), pointing: new Set() };

/** Literals go out as they are: a reference among them would send its own text, or a secret into argv (A5). */
function* literals(values: readonly Entry[], place: Literal, names: Names = NO_NAMES): Generator<Finding> {
  for (const { value, pointer } of values) {
    const message = typeof value === 'string' ? judgeLiteral(value, place, names) : null;
    if (message !== null) yield { pointer, at: 'value', message };
  }
}

function* duration({ value, pointer }: Entry, orElse = ''): Generator<Finding> {
  if (typeof value === 'string' && parseDuration(value) === null) {
    const message = `expected a duration such as 500ms, 30s, 10m or 1h, at most 24h${orElse}, got ${describe(value, pointer)}`;
    yield { pointer, at: 'value', message };
  }
}

/** What a helper's program is told of, by the format that tells it. */
const PURPOSES: Readonly<Record<string, { readonly format: HelperFormat; readonly required: boolean }>> = {
  registry: { format: 'docker', required: true },
  url: { format: 'git', required: true },
  server: { format: 'exec-credential', required: false },
};

function formatOf(entry: Entry): HelperFormat | null {
  const { value = 'raw' } = member(entry, 'format');
  return typeof value === 'string' && Object.hasOwn(helperFields, value) ? (value as HelperFormat) : null;
}

function* purpose(entry: Entry): Generator<Finding> {
  const given = formatOf(entry);
  if (given === null) return;
  for (const [key, { format, required }] of Object.entries(PURPOSES)) {
    const { value, pointer } = member(entry, key);
    if (value !== undefined && format !== given)
      yield { pointer, at: 'key', message: `expected a key of format ${given}, got one of format ${format}` };
    if (value === undefined && format === given && required) {
      const message = `expected what format ${given} tells the helper, got nothing`;
      yield { pointer: entry.pointer, at: 'key', child: key, message };
    }
  }
  const { value, pointer } = member(entry, 'url');
  const message = typeof value === 'string' ? judgeGitUrl(value) : null;
  if (message !== null) yield { pointer, at: 'value', message };
}

function* helper(entry: Entry): Generator<Finding> {
  const [command, ...args] = children(entry, 'command');
  if (command) yield* executable(command, 'the absolute path of an executable');
  yield* literals([...args, ...children(entry, 'env')], 'helper');
  yield* duration(member(entry, 'timeout'));
  yield* duration(member(entry, 'ttl'));
  yield* purpose(entry);
}

function* size({ value, pointer }: Entry): Generator<Finding> {
  if (typeof value === 'string' && parseSize(value) === null) {
    const message = `expected a size such as 512KiB or 16MiB, from 64KiB to 64MiB, got ${describe(value, pointer)}`;
    yield { pointer, at: 'value', message };
  }
}

/** What only a server of the other kind has: it would be read by nobody. */
const FOREIGN = {
  stdio: {
    keys: ['transport', 'headers', 'bearer', 'basic', 'oauth'],
    message: 'expected a key of an upstream with command',
  },
  http: {
    keys: ['package', 'bin', 'args', 'env', 'files', 'fds', 'hardening', 'run_as'],
    message: 'expected a key of an upstream with url',
  },
} as const;

function* foreignKeys(entry: Entry, kind: 'stdio' | 'http'): Generator<Finding> {
  const { keys, message } = FOREIGN[kind];
  for (const key of keys) {
    const { value, pointer } = member(entry, key);
    if (value !== undefined)
      yield {
        pointer,
        at: 'key',
        message: `${message}, got one of an upstream with ${kind === 'http' ? 'command' : 'url'}`,
      };
  }
}

/** What references may name. */
interface Known {
  readonly helpers: ReadonlyMap<string, HelperFormat | null>;
  readonly logins: readonly string[];
}

function* secretValue({ value, pointer }: Entry, { helpers, logins }: Known): Generator<Finding> {
  const message = typeof value === 'string' ? judgeReference(value, helpers, logins) : null;
  if (message !== null) yield { pointer, at: 'value', message };
}

/** Everything of an upstream that is to be a credential reference, wherever it stands. */
function referenceEntries(entry: Entry): Entry[] {
  const secrets = children(entry, 'secrets').map((each) => (isMap(each.value) ? member(each, 'from') : each));
  return [
    ...secrets,
    ...children(entry, 'files'),
    ...children(entry, 'fds'),
    member(entry, 'bearer'),
    member(member(entry, 'basic'), 'password'),
    member(member(entry, 'basic'), 'key'),
  ];
}

/** A package says which program runs, and a tag or range would say it anew each time. */
function* packaged(entry: Entry): Generator<Finding> {
  const [command, pack, bin] = [member(entry, 'command'), member(entry, 'package'), member(entry, 'bin')];
  if (command.value !== undefined && pack.value !== undefined)
    yield {
      pointer: pack.pointer,
      at: 'key',
      message: 'expected either command (a program) or package (one of npm), got both',
    };
  if (bin.value !== undefined && pack.value === undefined)
    yield { pointer: bin.pointer, at: 'key', message: 'expected a package beside bin, got none' };
  const exact = typeof pack.value === 'string' && /^.+@\d+\.\d+\.\d+/.test(pack.value);
  if (typeof pack.value === 'string' && !exact)
    yield {
      pointer: pack.pointer,
      at: 'value',
      message: `expected NAME@VERSION with an exact version such as 1.2.3, got ${describe(pack.value, pack.pointer)}; use the output of \`npm view NAME version\``,
    };
}

function* stdio(entry: Entry): Generator<Finding> {
  yield* foreignKeys(entry, 'stdio');
  yield* packaged(entry);
  const command = member(entry, 'command');
  if (command.value !== 'node') yield* executable(command, 'an absolute path, or the word node');
  const keys = (...maps: string[]): string[] =>
    maps.flatMap((map) => children(entry, map)).map(({ key }) => key);
  const names = { secret: new Set(keys('secrets')), pointing: new Set(keys('files', 'fds')) };
  yield* literals([command], 'command', names);
  yield* literals(children(entry, 'args'), 'argument', names);
  yield* literals(children(entry, 'env'), 'variable', names);
  const taken = new Map<string, string>();
  for (const map of ['env', 'secrets', 'files', 'fds'])
    for (const { key, pointer } of children(entry, map)) {
      const other = taken.get(key);
      taken.set(key, map);
      if (other !== undefined && other !== map)
        yield {
          pointer,
          at: 'key',
          message: `expected a variable in either ${other} or ${map}, got it in both`,
        };
    }
}

/** Names of headers are compared without case: `X-Key` twice is one header with two values. */
function* headers(entry: Entry): Generator<Finding> {
  const seen = new Set<string>();
  const [bearer, basic] = [member(entry, 'bearer'), member(entry, 'basic')];
  if (bearer.value !== undefined && basic.value !== undefined)
    yield { pointer: basic.pointer, at: 'key', message: 'expected either bearer or basic, got both' };
  if (bearer.value !== undefined || basic.value !== undefined) seen.add('authorization');
  for (const under of ['headers', 'secrets'] as const)
    for (const { key, pointer } of children(entry, under)) {
      const name = key.toLowerCase();
      const twice =
        name === 'authorization'
          ? `expected either ${basic.value === undefined ? 'bearer' : 'basic'} or an Authorization header, got both`
          : 'expected each header once, in whatever case, got it again';
      const message = judgeHeader(key, under) ?? (seen.has(name) ? twice : null);
      if (message !== null) yield { pointer, at: 'key', message };
      seen.add(name);
    }
}

function* basicKeys(basic: Entry): Generator<Finding> {
  if (!isMap(basic.value)) return;
  const has = (key: string): boolean => member(basic, key).value !== undefined;
  const choice = 'expected either username and password, or key';
  for (const key of ['username', 'password'])
    if (has('key') && has(key))
      yield { pointer: member(basic, key).pointer, at: 'key', message: `${choice}, got both` };
    else if (!has('key') && !has(key))
      yield { pointer: basic.pointer, at: 'key', child: key, message: `${choice}, got no ${key}` };
}

function* http(entry: Entry): Generator<Finding> {
  const url = member(entry, 'url');
  const { value, pointer } = url;
  const message = typeof value === 'string' ? judgeUrl(value) : null;
  if (message !== null) yield { pointer, at: 'value', message };
  yield* literals([url], 'url');
  yield* foreignKeys(entry, 'http');
  yield* literals(children(entry, 'headers'), 'header');
  for (const each of children(entry, 'secrets')) yield* literals([member(each, 'template')], 'header');
  yield* literals([member(member(entry, 'basic'), 'username')], 'header');
  yield* basicKeys(member(entry, 'basic'));
  yield* headers(entry);
  yield* upstreamOAuth(entry.value, entry.pointer);
}

function* upstream(entry: Entry, known: Known): Generator<Finding> {
  const has = (key: string): boolean => member(entry, key).value !== undefined;
  const choice = 'expected either command (a program) or url (an HTTP server)';
  if (has('command') && has('url'))
    yield { pointer: member(entry, 'command').pointer, at: 'key', message: `${choice}, got both` };
  else if (!has('command') && !has('package') && !has('url') && isMap(entry.value))
    yield { pointer: entry.pointer, at: 'key', child: 'command', message: `${choice}, got neither` };
  if (has('url')) yield* http(entry);
  else yield* stdio(entry);
  for (const each of referenceEntries(entry)) yield* secretValue(each, known);
  for (const key of ['client_secret', 'client_key'])
    yield* secretValue(member(member(entry, 'oauth'), key), known);
  yield* duration(member(entry, 'start_timeout'));
  yield* duration(member(entry, 'call_timeout'));
  for (const each of children(entry, 'tool_timeouts')) yield* duration(each);
  const idle = member(entry, 'idle_timeout');
  if (idle.value !== 'never') yield* duration(idle, ', or the word never');
}

/** A rule that names no upstream is a slip: a `deny` of it would protect nothing. `*` alone cannot be one. */
function* rule(entry: Entry, upstreams: readonly string[]): Generator<Finding> {
  for (const effect of ['allow', 'deny']) {
    const { value: glob, pointer } = member(entry, effect);
    if (typeof glob !== 'string' || /^\**$/.test(glob) || upstreams.some((name) => matchGlob(glob, name)))
      continue;
    const hint = didYouMean(glob, upstreams);
    const message = `expected a name or glob of a configured upstream, got ${describe(glob, pointer)}${hint}`;
    yield { pointer, at: 'value', message };
  }
}

/**
 * `run` never hands the agent a variable from which an upstream takes its secret (A18). A glob that happens to match one
 * just does not reach it; a name says something that cannot be had.
 */
function* agentVariable({ value: name, pointer }: Entry, secret: ReadonlySet<string>): Generator<Finding> {
  if (typeof name !== 'string' || !secret.has(name)) return;
  const message = `expected a variable that holds no upstream's secret, got one that env:${name} refers to`;
  yield { pointer, at: 'value', message };
}

/** Sockets that nobody else may open let nobody else in; and a name that is let in nowhere is a slip. */
function* guests(root: Entry): Generator<Finding> {
  const listen = member(root, 'listen');
  const allowed = children(listen, 'allow_uids');
  const group = member(listen, 'socket_group');
  if (allowed.length > 0 && group.value === undefined)
    yield {
      pointer: member(listen, 'allow_uids').pointer,
      at: 'key',
      message: 'expected socket_group beside it, got none: these users could not reach their sockets',
    };
  const known = new Set(allowed.map(({ value }) => String(value)));
  for (const profile of children(root, 'profiles'))
    for (const { value, pointer } of children(profile, 'users'))
      if (['string', 'number'].includes(typeof value) && !known.has(String(value)))
        yield {
          pointer,
          at: 'value',
          message: `expected a user of listen.allow_uids, spelled the same, got ${describe(value, pointer)}`,
        };
}

/** Everything in which `value` breaks a rule of ours. */
export function* checkRules(value: unknown): Generator<Finding> {
  const root = { key: '', value, pointer: '' };
  const helpers = children(root, 'helpers');
  const upstreams = children(root, 'upstreams');
  const formats = new Map(helpers.map((each) => [each.key, formatOf(each)]));
  const own = upstreams.filter((each) => member(each, 'oauth').value !== undefined).map(({ key }) => key);
  const known = { helpers: formats, logins: [...own, ...children(root, 'oauth').map(({ key }) => key)] };
  const names = upstreams.map(({ key }) => key);
  const secret = new Set<string>();
  for (const each of upstreams)
    for (const { value: text } of referenceEntries(each)) {
      const ref = typeof text === 'string' ? parseCredentialRef(text) : null;
      if (ref?.source === 'env') secret.add(ref.name);
    }

  yield* guests(root);
  yield* size(member(member(root, 'limits'), 'message_size'));
  for (const each of helpers) yield* helper(each);
  for (const each of upstreams) yield* upstream(each, known);
  yield* providers(member(root, 'oauth').value, '/oauth', own);
  for (const each of children(root, 'oauth'))
    for (const key of ['client_secret', 'client_key']) yield* secretValue(member(each, key), known);
  for (const profile of children(root, 'profiles'))
    for (const each of children(profile, 'rules')) yield* rule(each, names);
  for (const each of children(member(root, 'agent'), 'env')) yield* agentVariable(each, secret);
}
