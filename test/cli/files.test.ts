/** `config check`, `audit` and `demo` through the entry point; their own tests look closer. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { packageRoot } from '../../src/paths.ts';
import { finished, Home } from '../e2e/home.ts';
import { ordinary } from '../e2e/sandbox.ts';
import { canBecome } from '../os/support.ts';
import { canary, scanForLeaks } from '../support/leaks.ts';
import { fixtureServer } from '../support/servers.ts';

test('config check: places, and never the value of a misplaced secret', async (t) => {
  const home = new Home(t);
  const pasted = canary('pasted');
  home.configure({ chatty: { ...fixtureServer('chatty'), secrets: { API_KEY: pasted.value } } });
  for (const command of [['config', 'check'], ['up'], ['run', '--', 'true'], ['list'], ['serve']]) {
    const { code, stdout, stderr } = await home.ostiary(command);
    assert.equal(code, 3, command.join(' '));
    assert.match(
      stderr,
      /config\.yaml:\d+:\d+: upstreams\.chatty\.secrets\.API_KEY: expected a credential reference/,
    );
    assert.deepEqual(scanForLeaks([pasted], { texts: [stdout, stderr] }), []);
  }
  home.configure({ chatty: fixtureServer('chatty') });
  assert.match(await home.ok(['config', 'check']), /config\.yaml: ok\nupstream chatty: /);
});

test('H1 audit: tail, head and verify; an edit is found and named', async (t) => {
  const home = new Home(t);
  home.configure({ chatty: fixtureServer('chatty') });
  await home.ok(['call', 'chatty', 'echo', '{"text":"x"}']);
  const tail = await home.ok(['audit', 'tail']);
  assert.match(tail, /daemon started/);
  assert.match(tail, /chatty.*echo/);
  const head = (await home.ok(['audit', 'head'])).trim();
  assert.match(head, /^\d+:[0-9a-f]{64}$/);
  assert.match(
    await home.ok(['audit', 'verify', '--head', head]),
    /proven: reaches record \d+, unchanged, by the head in --head/,
  );

  const file = join(home.state, 'audit.jsonl');
  const text = readFileSync(file, 'utf8');
  writeFileSync(file, text.replace('"echo"', '"ecko"'));
  const broken = await home.ostiary(['audit', 'verify']);
  assert.equal(broken.code, 6);
  assert.match(broken.stderr, /^ostiary: .*audit\.jsonl:\d+:1: log is broken \([\w ]+\): .+\n {2}try: /);
  writeFileSync(file, text.split('\n').slice(0, -2).join('\n').concat('\n'));
  assert.equal(
    (await home.ostiary(['audit', 'verify', '--head', head])).code,
    6,
    'the last record was cut off',
  );
});

for (const [who, uid] of [
  ['', undefined],
  [', as an ordinary user', ordinary],
] as const)
  test(`demo: shows both sides and finds no leak, also where temporary files have long paths${who}`, async (t) => {
    if (uid !== undefined && !canBecome(t, uid)) return;
    const home = new Home(t, uid);
    const TMPDIR = join(home.scratch, 'a-long-name-as-on-a-mac', 'and-one-more');
    mkdirSync(TMPDIR, { recursive: true });
    home.own();
    const text = await home.ok(['demo'], { env: { TMPDIR } });
    assert.match(text, /WHAT THE AGENT CAN SEE +\| {2}WHAT THE API SAW/);
    assert.match(text, /the agent used the upstream and never held its token\n$/);
    assert.doesNotMatch(text, /canary-demo-/);
    assert.deepEqual(home.processes(), []);
  });

test('demo: an installed package shows it with the server that it ships', async (t) => {
  const home = new Home(t);
  const place = join(home.directory, 'installed');
  mkdirSync(place);
  const manifest = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  for (const name of ['package.json', 'config.schema.json', 'dist', 'examples'])
    cpSync(join(packageRoot, name), join(place, name), { recursive: true });
  for (const name of Object.keys(manifest.dependencies)) {
    const link = join(place, 'node_modules', name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(realpathSync(join(packageRoot, 'node_modules', name)), link);
  }
  const main = join(place, 'dist', 'main.cjs');
  const { code, stdout, stderr } = await finished(
    spawn(process.execPath, [main, 'demo'], { env: { ...home.env } }),
  );
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^upstream: the notes server that comes with ostiary/);
  assert.match(stdout, /answer +\{"content":\[\{"type":"text","text":"1: water the…/);
});
