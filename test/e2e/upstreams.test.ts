/** Real MCP servers behind `ostiary run`, used through the official SDK: what they can do, and what nobody can see. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { FakeGitlab } from '../support/fake-gitlab.ts';
import { FakeNotion } from '../support/fake-notion.ts';
import { type Canary, canary, scanForLeaks } from '../support/leaks.ts';
import { everythingServer, gitlabServer, notionServer } from '../support/servers.ts';
import { DrivenAgent, type Refused, textOf } from './agent.ts';
import { watchCommandLines } from './command-lines.ts';
import { Home, isGone, until } from './home.ts';

interface World {
  readonly home: Home;
  readonly notion: FakeNotion;
  readonly gitlab: FakeGitlab;
  readonly tokens: readonly [Canary, Canary];
  readonly commandLines: ReturnType<typeof watchCommandLines>;
}

/** Both services with a token each in the vault. */
async function world(t: TestContext, hostile: boolean): Promise<World> {
  const home = new Home(t);
  const tokens = [canary('notion'), canary('gitlab')] as const;
  const notion = await new FakeNotion(tokens[0].value, { hostile }).start();
  const gitlab = await new FakeGitlab(tokens[1].value, { hostile }).start();
  t.after(() => Promise.all([notion.close(), gitlab.close()]));
  home.configure({
    notion: { ...notionServer(), env: notion.env, secrets: { NOTION_TOKEN: 'vault:notion' } },
    gitlab: { ...gitlabServer(), env: gitlab.env, secrets: { GITLAB_PERSONAL_ACCESS_TOKEN: 'vault:gitlab' } },
  });
  const values = tokens.map(({ value }) => value);
  const commandLines = watchCommandLines(home.directory, values);
  t.after(() => commandLines.stop());
  await home.secret('notion', tokens[0]);
  await home.secret('gitlab', tokens[1]);
  return { home, notion, gitlab, tokens, commandLines };
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const project = { project_id: 'acme/gateway' };

test('A5 D5 notion and gitlab work through run; no canary is in anything of the agent, on disk or in a log', async (t) => {
  const { home, notion, gitlab, tokens, commandLines } = await world(t, false);
  const daemon = await home.up();
  const agent = DrivenAgent.start(home);

  const shims = [(await agent.open('notion')).shim, (await agent.open('gitlab')).shim].map(Number);
  const tools = (await agent.list('notion')).map(({ name }) => name);
  assert.ok(tools.length > 10 && tools.includes('API-get-self'), tools.join());
  assert.ok((await agent.list('gitlab')).some(({ name }) => name === 'create_issue'));
  assert.match(textOf(await agent.call('notion', 'API-get-self')), /Release bot/);
  assert.match(textOf(await agent.call('notion', 'API-post-search', { query: 'plan' })), /Results for plan/);
  assert.match(
    textOf(await agent.call('gitlab', 'search_repositories', { search: 'gateway' })),
    /acme\/gateway/,
  );
  const file = await agent.call('gitlab', 'get_file_contents', { ...project, file_path: 'README.md' });
  assert.match(textOf(file), /A small service/);
  const issue = await agent.call('gitlab', 'create_issue', {
    ...project,
    title: 'Broken',
    description: 'It is.',
  });
  assert.match(textOf(issue), /Broken/);

  for (const [api, token] of [
    [notion, tokens[0]],
    [gitlab, tokens[1]],
  ] as const) {
    assert.ok(api.requests.length >= 2 && api.requests.every(({ matched }) => matched));
    assert.equal(api.requests[0]?.tokenSha256, sha256(token.value));
  }

  const view = await agent.view();
  const status = await home.ok(['status']);
  const json = await home.ok(['status', '--json']);
  const others = await Promise.all([
    home.ok(['session', 'list', '--json']),
    home.ok(['secret', 'list', '--json']),
  ]);
  assert.match(status, /upstream {4}notion: 1 running, 1 started/);
  assert.ok(existsSync(view.config), 'mcp-config.json is there while the agent runs');
  assert.equal(view.text.includes('oken'), false, view.text);
  const runPid = agent.run.pid ?? 0;
  // The descendants of `run` are the agent and its shims; the daemon's, which hold the tokens, are not among them.
  const leaks = scanForLeaks(tokens, {
    files: [home.directory],
    texts: [agent.printed, JSON.stringify(view), status, json, home.log(), ...others],
    pids: [runPid, view.pid, ...shims],
  });
  assert.deepEqual(leaks, []);

  const ended = await agent.exit();
  assert.equal(ended.code, 0, ended.stderr);
  assert.match(ended.stderr, /^ostiary: .+\n/);
  await home.ok(['down']);
  const verified = await home.ok(['audit', 'verify']);
  const tail = await home.ok(['audit', 'tail', '-n', '1000']);
  assert.match(tail, /gitlab/);
  assert.deepEqual(
    scanForLeaks(tokens, { files: [home.directory], texts: [verified, tail, ended.stderr] }),
    [],
  );
  await until(() => isGone([daemon, ...shims, view.pid]), 'everything has ended');

  const { ours, holding } = commandLines.stop();
  assert.equal(holding, 0);
  for (const word of ['serve', 'run', 'connect', 'secret set', 'audit verify'])
    assert.ok(
      ours.some((line) => line.includes(` ${word} `)),
      `no command line of ${word} was seen`,
    );
});

test('D1 D2 D5 an API that gives the token back in every form: the agent gets marks', async (t) => {
  const { home, notion, gitlab, tokens } = await world(t, true);
  const agent = DrivenAgent.start(home);
  await Promise.all([agent.open('notion'), agent.open('gitlab')]);
  const answers = [
    await agent.call('notion', 'API-get-self'),
    await agent.call('notion', 'API-post-search', { query: 'plan' }),
    await agent.call('notion', 'API-retrieve-a-page', { page_id: 'nowhere' }),
    await agent.call('gitlab', 'search_repositories', { search: 'gateway' }),
    await agent.call('gitlab', 'get_file_contents', { ...project, file_path: 'README.md' }),
    await agent.call('gitlab', 'create_issue', { ...project, title: 'Broken', description: 'It is.' }),
  ].map(textOf);
  const refusal = await agent
    .call('gitlab', 'get_file_contents', { project_id: 'missing', file_path: 'x' })
    .then(JSON.stringify, ({ error }: Refused) => JSON.stringify(error));
  for (const [index, answer] of [...answers, refusal].entries())
    assert.match(answer, index < 3 ? /\[redacted vault:notion\]/i : /\[redacted vault:gitlab\]/i, answer);
  assert.ok(notion.requests.length >= 3 && gitlab.requests.length >= 4);
  const { code } = await agent.exit();
  assert.equal(code, 0);
  assert.deepEqual(scanForLeaks(tokens, { files: [home.directory], texts: [agent.printed, home.log()] }), []);
  const marked = home.audit().filter((record) => JSON.stringify(record).includes('redact'));
  assert.ok(marked.length >= 4, 'the audit says that answers were redacted');
});

test('I1 get-env of server-everything: its secret is a mark, and nothing else of the caller is there', async (t) => {
  const home = new Home(t);
  const [secret, other] = [canary('everything'), canary('caller')];
  home.configure({
    everything: { ...everythingServer(), env: { PLAIN: 'text' }, secrets: { API_KEY: 'vault:key' } },
  });
  await home.secret('key', secret);
  const agent = DrivenAgent.start(home, [], { env: { CALLERS_OWN: other.value, LC_SECRET: other.value } });
  await agent.open('everything');
  const text = textOf(await agent.call('everything', 'get-env'));
  const seen = JSON.parse(text) as Record<string, string>;
  assert.match(seen.API_KEY ?? '', /redacted/i);
  assert.deepEqual(Object.keys(seen).sort(), ['API_KEY', 'HOME', 'PATH', 'PLAIN', 'TERM', 'TMPDIR']);
  assert.deepEqual(scanForLeaks([secret, other], { texts: [agent.printed] }), []);
  assert.equal((await agent.exit()).code, 0);
});
