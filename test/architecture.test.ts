/**
 * The house rules that a compiler does not know. Each arrow has its reason, each door its one keeper, and a rule that
 * nothing needs any more fails too.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { test } from 'node:test';
import { packageRoot } from '../src/paths.ts';

const source = join(packageRoot, 'src');

const files = readdirSync(source, { recursive: true })
  .map((name) => String(name))
  .filter((name) => /\.c?ts$/.test(name))
  .map((name) => ({ name, text: readFileSync(join(source, name), 'utf8') }));

interface Import {
  readonly from: string;
  readonly to: string;
  readonly typeOnly: boolean;
}

/** Static and dynamic imports and re-exports; the text is searched, so that `await import()` cannot hide. */
function importsOf(text: string): { specifier: string; typeOnly: boolean }[] {
  const found = [...text.matchAll(/\b(?:import|export)\s+(type\s+)?(?:[^'";]*?\sfrom\s+)?'([^']+)'/g)].map(
    ([, typeOnly, specifier]) => ({ specifier: specifier as string, typeOnly: typeOnly !== undefined }),
  );
  const dynamic = [...text.matchAll(/\bimport\(\s*'([^']+)'\s*\)/g)].map(([, specifier]) => ({
    specifier: specifier as string,
    typeOnly: false,
  }));
  return [...found, ...dynamic];
}

const edges: Import[] = files.flatMap(({ name, text }) =>
  importsOf(text)
    .filter(({ specifier }) => specifier.startsWith('.'))
    .map(({ specifier, typeOnly }) => ({
      from: name,
      to: relative(source, resolve(source, dirname(name), specifier)),
      typeOnly,
    })),
);

/** A room is a directory; `main.cts` and `daemon.ts` compose the rooms, every other file at the top is a leaf. */
function roomOf(file: string): string {
  if (file === 'main.cts' || file === 'daemon.ts') return 'composition';
  return file.includes('/') ? (file.split('/')[0] as string) : 'leaf';
}

/** What a room may import besides itself and the leaves; whatever is not listed is refused. */
const arrows: Readonly<Record<string, string>> = {
  'credentials → os':
    'the vault is locked between processes; who asks the keychain hardens itself and knows its bus’ owner',
  'upstreams → credentials': 'secrets are acquired and injected where a call leaves',
  'upstreams → os': 'a pipe carries a secret into a child',
  'agents → config': 'what the configuration names is protected from the agent',
  'agents → os': 'the agent’s side gives up rights before it starts an agent',
  'proxy → auth': 'the front desk asks who and whether',
  'proxy → upstreams': 'the front desk routes a grant',
  'cli → agents': 'a command may run the agent’s side',
  'cli → composition': 'serve builds the daemon; the others ask where its sockets are',
  'cli → config': 'commands read the configuration',
  'cli → credentials': 'secret and vault keep the vault',
  'cli → os': 'serve hardens itself, run guards its agent',
  'cli → auth': 'a probe needs a grant like everybody',
  'cli → upstreams': 'a probe starts an upstream without a daemon',
  'cli → proxy': 'audit reads the log; the control client knows the control plane’s shapes',
  'composition → auth': 'the daemon builds the rooms',
  'composition → cli': 'main loads the commands',
  'composition → config': 'the daemon builds the rooms',
  'composition → credentials': 'the daemon builds the rooms',
  'composition → os': 'the daemon builds the rooms',
  'composition → proxy': 'the daemon builds the rooms',
  'composition → upstreams': 'the daemon builds the rooms',
};

/** Single files where an arrow between rooms would be too wide. */
const narrowArrows: Readonly<Record<string, string>> = {
  'config → credentials/ref.ts': 'config holds references, never values',
  'config → credentials/oauth/spec.ts': 'config says how to log in, in names and references',
  'config → credentials/helper-format.ts': 'a reference to a helper’s output names a field that it has',
  'proxy/audit/file.ts → os/index.ts': 'several daemons append to one log under flock',
  'proxy/audit/verify.ts → os/index.ts': 'a log is verified while nobody is in the middle of a line',
};

/** Types alone: they make no code run, and say what a step needs. */
const typeArrows: Readonly<Record<string, string>> = {
  'auth → os': 'a session is bound to processes that the kernel tells apart',
  'proxy → os': 'and is handed what it is bound to',
  'upstreams → auth': 'an upstream takes a Grant, which it cannot make',
};

/** What must never be, and why; said here so that the refusal of an arrow explains itself. */
const refusals: Readonly<Record<string, string>> = {
  'proxy → credentials': 'the front desk handles names, never secrets',
  'auth → credentials': 'deciding needs the name, never the value',
  'credentials → auth': 'a store must not know who asks',
  'credentials → proxy': 'a store must not know who asks',
  'credentials → upstreams': 'a store must not know who asks',
  'config → credentials': 'config holds references, never values',
  'agents → credentials': 'the agent’s side never holds a Secret',
  'agents → upstreams': 'the agent’s side never holds a Secret',
  'upstreams → proxy': 'an upstream may not decide',
  'leaf → auth': 'leaves import no room',
  'leaf → credentials': 'leaves import no room',
};

function ruleFor(edge: Import): string | null {
  const [from, to] = [roomOf(edge.from), roomOf(edge.to)];
  const candidates = [
    [arrows, `${from} → ${to}`],
    [narrowArrows, `${from} → ${edge.to}`],
    [narrowArrows, `${edge.from} → ${edge.to}`],
    ...(edge.typeOnly ? ([[typeArrows, `${from} → ${to}`]] as const) : []),
  ] as const;
  for (const [rules, rule] of candidates) if (rule in rules) return rule;
  return null;
}

const crossing = edges.filter(({ from, to }) => roomOf(to) !== 'leaf' && roomOf(from) !== roomOf(to));

test('rooms import along the arrows only', () => {
  const wrong = crossing
    .filter((edge) => ruleFor(edge) === null)
    .map(
      ({ from, to }) => `${from} → ${to}: ${refusals[`${roomOf(from)} → ${roomOf(to)}`] ?? 'no such arrow'}`,
    );
  assert.deepEqual(wrong, []);
});

test('no arrow is stale', () => {
  const used = new Set(crossing.map(ruleFor));
  const all = [...Object.keys(arrows), ...Object.keys(narrowArrows), ...Object.keys(typeArrows)];
  assert.deepEqual(
    all.filter((rule) => !used.has(rule)),
    [],
  );
});

test('the composition is imported by the commands alone, the entries by main', () => {
  assert.deepEqual(
    edges.filter(({ from, to }) => to.startsWith('cli/entry/') && !/^(?:cli\/entry\/|main\.cts)/.test(from)),
    [],
  );
});

/** The files that may name the boundary's door. A new one has to be argued for in review. */
const revealers: Readonly<Record<string, string>> = {
  'credentials/keychain/secrets.ts': 'hands values to the keychain',
  'credentials/oauth/open.ts': 'hands a client secret to the issuer that it is for',
  'credentials/reveal.ts': 'the door itself',
  'credentials/scrubber.ts': 'has to know a value to find it',
  'credentials/secret.ts': 'keeps the values and says, in a comment, who opens them',
  'credentials/vault.ts': 'encrypts values',
  'upstreams/inject.ts': 'puts values into one child’s environment, or the headers of requests to one origin',
  'upstreams/stdio/descriptors.ts': 'puts values into pipes that one child inherits',
  'upstreams/stdio/private-files.ts': 'puts values into files of one child',
};

function filesNaming(pattern: RegExp): string[] {
  return files
    .filter(({ text }) => pattern.test(text))
    .map(({ name }) => name)
    .sort();
}

test('exactly these files name reveal', () => {
  assert.deepEqual(filesNaming(/reveal\.ts|\breveal\(/), Object.keys(revealers).sort());
  assert.deepEqual(filesNaming(/\bopenSealed\b/), ['credentials/reveal.ts', 'credentials/secret.ts']);
});

test('a Caller, a Grant and a Redacted are made in one place each', () => {
  assert.deepEqual(filesNaming(/\bas Caller\b/), ['auth/session.ts']);
  assert.deepEqual(filesNaming(/\bas Grant\b/), ['auth/grant.ts']);
  assert.deepEqual(filesNaming(/\bas Redacted\b/), ['upstreams/answer.ts']);
  assert.deepEqual(filesNaming(/\bas (?:any|never)\b|@ts-(?:ignore|expect-error|nocheck)/), []);
});

/** One package, one door. */
const doors: Readonly<Record<string, (file: string) => boolean>> = {
  '@napi-rs/keyring': (file) => file === 'credentials/keychain/package.ts',
  ajv: (file) => file === 'schema.ts',
  commander: (file) => file.startsWith('cli/'),
  hono: (file) => file === 'proxy/routes.ts',
  jose: (file) => file === 'credentials/jwe.ts',
  koffi: (file) => file === 'os/native.ts',
  'openid-client': (file) => file === 'credentials/oauth/library.ts',
  pino: (file) => file === 'log.ts',
  read: (file) => file === 'cli/prompt.ts',
  yaml: (file) => file === 'config/source.ts',
};

test('each package is imported through its door', () => {
  const manifest = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
    devDependencies: Record<string, string>;
  };
  for (const name of Object.keys(manifest.dependencies)) assert(name in doors, name);
  for (const name of Object.keys(doors))
    assert(name in { ...manifest.dependencies, ...manifest.devDependencies }, name);
  const wrong: string[] = [];
  const seen = new Set<string>();
  for (const { name, text } of files) {
    const required = [...text.matchAll(/\brequire\(\s*'([^']+)'\s*\)/g)].map(
      ([, specifier]) => specifier as string,
    );
    for (const specifier of [...importsOf(text).map((one) => one.specifier), ...required]) {
      if (specifier.startsWith('.') || specifier.startsWith('node:')) continue;
      const [scope, rest] = specifier.split('/');
      const pack = specifier.startsWith('@') ? `${scope}/${rest}` : (scope as string);
      seen.add(pack);
      if (doors[pack]?.(name) !== true) wrong.push(`${name} imports ${specifier}`);
    }
  }
  assert.deepEqual(wrong, []);
  assert.deepEqual([...seen].sort(), Object.keys(doors).sort());
});

test('what a daemon may never need is loaded when it does', () => {
  const eager = files.filter(({ text }) => /^import (?!type\b)[^'"]*'(?:jose|openid-client)'/m.test(text));
  assert.deepEqual(
    eager.map(({ name }) => name),
    [],
  );
});

test('the shim loads no package and no room but its own', () => {
  const reached = new Set<string>();
  const visit = (file: string): void => {
    if (reached.has(file)) return;
    reached.add(file);
    const { text } = files.find(({ name }) => name === file) as { text: string };
    for (const { specifier } of importsOf(text))
      assert.ok(/^(?:\.|node:)/.test(specifier), `${file} imports ${specifier}`);
    for (const { from, to, typeOnly } of edges) if (from === file && !typeOnly) visit(to);
  };
  visit('cli/entry/shim.ts');
  const others = [...reached].filter((file) => !file.startsWith('cli/entry/'));
  assert.deepEqual([...new Set(others.map(roomOf))].sort(), ['agents', 'leaf']);
});

test('nothing is evaluated, and no child gets a shell', () => {
  assert.deepEqual(filesNaming(/\beval\(|new Function\(|shell: true|\bexecSync\(|\bexec\(\s*[`'"]/), []);
});

test('Node adds nothing to the environment of a child: every spawn is sealed', () => {
  const unsealed = files
    .filter(({ text }) => /\bspawn\(|Spawn\)\(/.test(text) && /from 'node:child_process'/.test(text))
    .filter(({ text }) => !text.includes('sealedForSpawn'))
    .map(({ name }) => name);
  // The demo hands its caller's environment to `ostiary run` on purpose: cleaning it is what `run` shows.
  assert.deepEqual(unsealed, ['cli/demo.ts']);
});
