/** Secrets from stdin to the upstream and out of the world again; no value is ever shown (A5, D5). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DrivenAgent, textOf } from '../e2e/agent.ts';
import { watchCommandLines } from '../e2e/command-lines.ts';
import { Home, type Result } from '../e2e/home.ts';
import { canary, scanForLeaks } from '../support/leaks.ts';
import { fixtureServer } from '../support/servers.ts';

test('A5 D4 D5 set, list, rotate under a running daemon, rm: nothing shows a value', async (t) => {
  const home = new Home(t);
  const [first, second] = [canary('first'), canary('second')];
  const commandLines = watchCommandLines(home.directory, [first.value, second.value]);
  t.after(() => void commandLines.stop());
  home.configure({ chatty: { ...fixtureServer('chatty'), secrets: { API_KEY: 'vault:key' } } });
  const results: Result[] = [];
  const ostiary = async (args: string[], input = ''): Promise<Result> => {
    const result = await home.ostiary(args, { input });
    results.push(result);
    return result;
  };

  assert.equal((await ostiary(['secret', 'set', 'key'], `${first.value}\n`)).code, 0);
  assert.equal(
    (await ostiary(['secret', 'set', 'key'], `${second.value}\n`)).code,
    5,
    'set does not replace',
  );
  assert.equal((await ostiary(['secret', 'set', 'empty'])).code, 5);
  const { stdout } = await ostiary(['secret', 'list']);
  assert.match(
    stdout,
    /^NAME +LABEL +CHANGED +USED BY +MAY GO TO\nkey +vault:key +under a minute +chatty\.API_KEY +chatty\n$/,
  );

  await home.up();
  const agent = DrivenAgent.start(home);
  const environment = async (): Promise<string> => {
    await agent.open('chatty');
    const text = textOf(await agent.call('chatty', 'environment'));
    await agent.close('chatty');
    return (JSON.parse(text) as Record<string, string>).API_KEY ?? '';
  };
  assert.match(await environment(), /redacted/i);
  const rotated = await ostiary(['secret', 'rotate', 'key'], `${second.value}\n`);
  assert.equal(rotated.code, 0, rotated.stderr);
  assert.match(rotated.stderr, /running upstreams keep the old value until they are started again: chatty/);
  assert.match(await environment(), /redacted/i);
  await agent.open('chatty');
  for (const { value } of [first, second])
    assert.match(
      textOf(await agent.call('chatty', 'echo', { text: `it is ${value}.` })),
      /^it is \S*redacted.*\.$/i,
      'D4',
    );
  await agent.exit();

  const used = await ostiary(['secret', 'rm', 'key']);
  assert.equal(used.code, 5);
  assert.match(
    used.stderr,
    /^ostiary: vault:key is used by chatty\.API_KEY\n {2}try: ostiary secret rm key --force\n$/,
  );
  assert.equal((await ostiary(['secret', 'rm', 'key', '--force'])).code, 0);
  assert.match((await ostiary(['call', 'chatty', 'echo'])).stderr, /vault:key/);
  assert.match((await ostiary(['status'])).stdout, /problem: /);
  await ostiary(['down']);
  for (const args of [
    ['audit', 'tail', '-n', '999', '--json'],
    ['config', 'check'],
    ['vault', 'status'],
  ])
    await ostiary(args);
  // The calls of `echo` sent the values: the log has digests of arguments alone.
  const texts = results.map(({ stdout, stderr }) => stdout + stderr);
  assert.deepEqual(
    scanForLeaks([first, second], { texts: [...texts, agent.printed], files: [home.directory] }),
    [],
  );
  assert.equal(commandLines.stop().holding, 0);
});
