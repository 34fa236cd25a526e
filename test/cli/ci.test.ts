/** The parts of `run --ci`: what it reads, what it looks at and what it leaves out. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { after, describe, type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { Budget, filesBelow, type Looking } from '../../src/cli/ci/files.ts';
import { credentialIn, gitFiles, gitFindings } from '../../src/cli/ci/git.ts';
import { Skipped } from '../../src/cli/ci/item.ts';
import { consumed, readSecrets, type SecretOptions } from '../../src/cli/ci/secrets.ts';
import { parseSecrets } from '../../src/cli/ci/secrets-text.ts';
import { packSecrets, unpackSecrets } from '../../src/cli/handover.ts';
import { GivenSecrets } from '../../src/credentials/given.ts';
import { parseCredentialRef } from '../../src/credentials/ref.ts';
import { Failure } from '../../src/errors.ts';
import { limits } from '../../src/limits.ts';
import { filledPipe } from '../../src/os/index.ts';
import { frame, type Text, textKinds, unframe } from '../../src/proxy/frames.ts';
import { Home } from '../e2e/home.ts';
import { sharedDaemon } from '../support/daemon.ts';
import { canary } from '../support/leaks.ts';
import { fixtureServer } from '../support/servers.ts';

function directory(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'ostiary-ci-test-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

function write(...[path, text]: [string, string]): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  return path;
}

const texts = (values: ReadonlyMap<string, Buffer>): object =>
  Object.fromEntries([...values].map(([name, value]) => [name, value.toString()]));

/** A usage error or a missing credential, whose words hold nothing of what was given. */
function refuses(kind: 'usage' | 'credential', message: RegExp, given: string) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof Failure, String(error));
    assert.equal(error.kind, kind);
    assert.match(error.message, message);
    assert.ok(!`${error.stack} ${error.hint}`.includes(given));
    return true;
  };
}

describe('secrets of a job', () => {
  test('lines: the value as it is; JSON for values of many lines', () => {
    const lines = 'A=canary=1 "x" \r\n\n  \nb.c=é\nLAST=no line end';
    assert.deepEqual(texts(parseSecrets(Buffer.from(lines))), {
      A: 'canary=1 "x" ',
      'b.c': 'é',
      LAST: 'no line end',
    });
    assert.deepEqual(texts(parseSecrets(Buffer.from('\n {"A": "one\\ntwo"}'))), { A: 'one\ntwo' });
  });

  test('what is neither is refused by its line, and not repeated', () => {
    for (const [text, message] of [
      ['A=1\ncanary-x', /line 2 is no NAME=VALUE/],
      ['=canary-x', /line 1 is no NAME=VALUE/],
      ['A=canary-x\nA=2', /line 2 gives a name again/],
      ['{"A": 1, "canary-x"', /not a JSON object of texts/],
      ['{"A": ["canary-x"]}', /not a JSON object of texts/],
      ['\n \n', /there is no secret/],
    ] as const)
      assert.throws(() => parseSecrets(Buffer.from(text)), refuses('usage', message, 'canary-x'), text);
  });

  const none: SecretOptions = { secret: [], secretEnv: [] };

  test('files and variables; files go when they are consumed', async (t) => {
    const path = write(join(directory(t), 'token'), 'canary-file\n');
    const env = { TOKEN: 'canary-env', EMPTY: '' };
    const options = { secret: [`a=file:${path}`, 'b=env:TOKEN'], secretEnv: ['TOKEN'] };
    await assert.rejects(
      readSecrets({ ...options, secretEnv: ['EMPTY'] }, env),
      refuses('credential', /^variable EMPTY is not set, or empty/, 'canary'),
    );
    const read = await readSecrets(options, env);
    assert.deepEqual(texts(read.values), { a: 'canary-file', b: 'canary-env', TOKEN: 'canary-env' });
    assert.deepEqual([read.variables, read.files], [['TOKEN', 'TOKEN'], [path]]);
    assert.deepEqual(consumed(read).files, []);
    await assert.rejects(
      readSecrets(options, env),
      refuses('credential', /^the file of a secret cannot be read: ENOENT/, 'canary'),
    );
  });

  test('a value in the place of a source is refused, and not repeated', async () => {
    for (const secret of ['canary-x', 'a=canary-x', 'a=file:', '=file:canary-x'])
      await assert.rejects(
        readSecrets({ ...none, secret: [secret] }, {}),
        refuses('usage', /^--secret: expected NAME=file:PATH/, 'canary-x'),
      );
    await assert.rejects(
      readSecrets({ ...none, secret: ['a=env:T', 'a=env:T'] }, { T: 'canary-x' }),
      refuses('usage', /^a is given twice/, 'canary-x'),
    );
  });

  test('they stand for vault: and env:, whatever bytes they are; short ones and other names are refused', () => {
    const bytes = Buffer.from([0, 255, 10, 1, 2, 3, 4, 5]);
    const given = unpackSecrets(String(filledPipe(packSecrets(new Map([['a', bytes]])))));
    assert.ok(bytes.every((byte) => byte === 0));
    for (const label of ['vault:a', 'env:a']) {
      const ref = parseCredentialRef(label);
      assert.ok(ref?.source === 'vault' || ref?.source === 'env');
      assert.equal(given.get(ref)?.label, label);
      assert.deepEqual(
        given.all([ref]).map((secret) => secret.label),
        [label],
      );
    }
    const secrets = new GivenSecrets();
    assert.throws(
      () => secrets.add('a', Buffer.from('canary')),
      refuses('credential', /^a is shorter/, 'canary'),
    );
    assert.throws(() => secrets.add('a b', Buffer.alloc(9)), refuses('usage', /^expected the name/, 'a b'));
  });
});

describe('git’s configuration', () => {
  test('lines that give a credential away, and lines that do not', () => {
    for (const line of [
      'extraheader = AUTHORIZATION: basic abc',
      '[http "https://github.com/"] extraheader = "Authorization: Bearer abc"',
      'url = https://gitlab-ci-token:abc@gitlab.com/a/b.git',
      'url = https://ghs_0123456789abcdefghij@github.com/a/b',
    ])
      assert.notEqual(credentialIn(line), null, line);
    for (const line of [
      'url = https://github.com/a/b',
      'url = git@github.com:a/b.git',
      'url = ssh://git@github.com:22/a/b',
      'url = https://oauth2@gitlab.com/a/b',
      '# url = https://a:b@c',
      'extraheader = X-Team: a',
    ])
      assert.equal(credentialIn(line), null, line);
  });

  test('included files, whatever the condition; worktrees; the files of the credential store', (t) => {
    const home = directory(t);
    const work = join(home, 'w', 'sub');
    mkdirSync(work, { recursive: true });
    write(join(home, 'w', '.git', 'HEAD'), 'ref: x');
    const config = write(
      join(home, 'w', '.git', 'config'),
      '[includeIf "gitdir:/github/workspace/.git"]\n\tpath = /nowhere\n\tpath = ../../creds\n[core]\npath = x\n',
    );
    const included = write(join(home, 'creds'), '[http]\n\textraheader = AUTHORIZATION: basic abc\n');
    const global = write(
      join(home, '.gitconfig'),
      '[include] path = "~/more"\n[credential]\n\thelper = store --file=~/kept\n',
    );
    const more = write(join(home, 'more'), '[include]\n\tpath = more\n');
    const kept = write(join(home, 'kept'), 'https://a:b@c\n');
    const files = gitFiles(work, { HOME: home }).filter((path) => path.startsWith(home));
    assert.deepEqual(files, [global, config, more, kept, included]);
    assert.deepEqual(
      gitFindings(files, home).map(({ place, label }) => `${place} ${label}`),
      ['kept:1 a URL with a password', 'creds:2 an Authorization header'],
    );
    write(join(home, 'tree', '.git'), `gitdir: ${join(home, 'w', '.git', 'worktrees', 't')}\n`);
    write(join(home, 'w', '.git', 'worktrees', 't', 'commondir'), '../..\n');
    assert.ok(gitFiles(join(home, 'tree'), { HOME: home }).includes(config));
  });
});

describe('files that are looked at', () => {
  const looking = (base: string, now: () => number = () => 0): Looking => ({
    base,
    budget: new Budget(now),
    skipped: new Skipped(),
    hintFor: () => '',
    sees: () => true,
  });

  test('every one, packages last; what is left out is said', (t) => {
    const root = directory(t);
    for (const name of ['node_modules/p/i.js', 'a/b/c.txt', '.git/config', '.git/objects/00/1', 'z'])
      write(join(root, name), name);
    truncateSync(write(join(root, 'big'), ''), limits.lookedAtBytes + 1);
    symlinkSync('/etc/passwd', join(root, 'link'));
    const all = looking(root);
    const items = [...filesBelow(root, all)];
    const files = items.filter(({ kind }) => kind === 'file').map(({ place }) => place);
    assert.deepEqual(new Set(files), new Set(['z', '.git/config', 'a/b/c.txt', 'node_modules/p/i.js']));
    assert.equal(files.at(-1), 'node_modules/p/i.js');
    assert.ok(items.at(-1)?.lines?.includes('the name of node_modules/p/i.js'));
    assert.deepEqual(all.skipped.counts(), {
      'directories of git objects': 1,
      'files over 16 MiB': 1,
      'symbolic links': 1,
    });
    assert.match(all.skipped.describe(), /1 files over 16 MiB \(big\)/);
  });

  test('when the time is over the rest is left out, and that is said', (t) => {
    const root = directory(t);
    for (const name of ['a/1', 'b/2']) write(join(root, name), name);
    let time = 0;
    const late = looking(root, () => time);
    time = limits.lookMs;
    assert.deepEqual([...filesBelow(root, late)], []);
    assert.deepEqual(late.skipped.counts(), { 'directories that were too many': 1 });
  });
});

describe('texts on their way to be compared', () => {
  test('arrive as they were sent, in whatever pieces', async () => {
    const text = fc
      .tuple(fc.constantFrom(...textKinds), fc.uint8Array())
      .map(([kind, bytes]) => ({ kind, bytes: Buffer.from(bytes) }));
    await fc.assert(
      fc.asyncProperty(fc.array(text), fc.integer({ min: 1, max: 9 }), async (sent: Text[], size) => {
        const bytes = Buffer.concat(sent.flatMap(frame));
        const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
          bytes.subarray(index * size, (index + 1) * size),
        );
        const received: Text[] = [];
        for await (const one of unframe(Readable.from(pieces))) received.push(one);
        assert.deepEqual(received, sent);
      }),
      { numRuns: 50 },
    );
  });

  test('half a text and a wrong kind are refused', async () => {
    const whole = Buffer.concat(frame({ kind: 'file', bytes: Buffer.from('abc') }));
    for (const bytes of [whole.subarray(0, -1), whole.subarray(0, 3), Buffer.from([9, 0, 0, 0, 0])])
      await assert.rejects(async () => {
        for await (const _ of unframe(Readable.from([bytes])));
      }, Failure);
  });

  const secret = canary('look');
  const daemon = sharedDaemon({
    config: { upstreams: { placed: { ...fixtureServer('placed'), secrets: { A: 'vault:look' } } } },
    secrets: { look: secret.value },
  });

  test('are compared by the daemon, which answers with places alone and states only what it saw', async () => {
    const { control } = daemon();
    const { id } = await daemon().newSession({ label: 'x' });
    const facts = { isolation: 'level L0', skipped: {} };
    const look = (...sent: string[]) =>
      control.lookAt(
        id,
        Readable.from(sent.flatMap((one) => frame({ kind: 'file', bytes: Buffer.from(one) }))),
      );
    await assert.rejects(control.stateCleared(id, facts), /not found to be clean/);
    assert.deepEqual(await look('a', `b\nc ${secret.value} ${secret.value}\n`), {
      exposed: [{ text: 1, line: 2, label: 'vault:look' }],
      tooShort: [],
    });
    await assert.rejects(control.stateCleared(id, facts), /not found to be clean/);
    assert.deepEqual((await look('a', 'b')).exposed, []);
    const { key } = await control.stateCleared(id, facts);
    assert.match(key, /^ed25519:[\w-]{43}$/);
    const cleared = await daemon().audited(({ event }) => event === 'agent.cleared');
    assert.ok(cleared.event === 'agent.cleared' && cleared.looked.files === 2);
    await assert.rejects(control.stateCleared(id, facts), /not found to be clean/, 'once');
    await assert.rejects(control.lookAt('nobody', Readable.from([])), /no such session/);
  });
});

describe('what is asked for in vain', { concurrency: 3 }, () => {
  const home = new Home({ after });
  home.configure({ placed: { ...fixtureServer('placed'), secrets: { A: 'vault:a', B: 'env:B_TOKEN' } } });

  for (const [args, code, message] of [
    [['--secret-env', 'A'], 2, /need --ci\n/],
    [['--ci', '--secret-env', 'MISSING'], 5, /^ostiary: variable MISSING is not set, or empty\n/],
    [['--ci'], 5, /^ostiary: not given to this job: a, B_TOKEN\n {2}try: --secret a=file:PATH/],
    [['--ci', '--audit-out', '.'], 2, /--audit-out: expected a new or empty directory\n/],
    [['--ci', '--secret', 'a b=env:HOME', '--secret-env', 'HOME'], 2, /expected names of secrets/],
  ] as const)
    test(args.join(' '), async () => {
      const result = await home.ostiary(['run', ...args, '--', 'true']);
      assert.deepEqual([result.code, result.stdout], [code, ''], result.stderr);
      assert.match(result.stderr, message);
      assert.deepEqual(home.remains(), []);
    });
});
