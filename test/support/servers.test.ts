/** The counterparts that other tests rely on do what they are there for, when spoken to directly. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { callTool, handshake, LineClient, textOf } from './client.ts';
import { FakeGitlab } from './fake-gitlab.ts';
import { FakeNotion } from './fake-notion.ts';
import { canary, scanForLeaks } from './leaks.ts';
import {
  everythingServer,
  fixtureServer,
  gitlabServer,
  notesServer,
  notionServer,
  type ServerCommand,
} from './servers.ts';

async function withServer(
  { command, args }: ServerCommand,
  env: Record<string, string>,
  use: (client: LineClient) => Promise<void>,
): Promise<void> {
  const client = LineClient.spawn(command, args, { env });
  try {
    await use(client);
  } finally {
    await client.close();
  }
}

async function toolNames(client: LineClient): Promise<string[]> {
  const { result } = await client.request('tools/list');
  return ((result?.tools ?? []) as { name: string }[]).map(({ name }) => name);
}

for (const hostile of [false, true]) {
  const what = hostile ? 'gives the token back' : 'works';
  const leaks = (text: string, token: { name: string; value: string }) =>
    new Set(scanForLeaks([token], { texts: [text] }).map(({ form }) => form));

  test(`the Notion server against the fake Notion ${what}`, async () => {
    const token = canary('notion');
    const api = await new FakeNotion(token.value, { hostile }).start();
    try {
      await withServer(notionServer(), { ...api.env, NOTION_TOKEN: token.value }, async (client) => {
        const { result } = await handshake(client);
        assert.equal(result?.protocolVersion, '2025-11-25');
        assert.ok((await toolNames(client)).length > 10);
        const self = await callTool(client, 'API-get-self');
        const search = await callTool(client, 'API-post-search', { query: 'plan' });
        assert.match(self, /Release bot/);
        assert.match(search, /Results for plan/);
        assert.deepEqual(leaks(self, token), new Set(hostile ? ['raw'] : []));
        assert.deepEqual(leaks(search, token), new Set(hostile ? ['raw'] : []));
      });
      await withServer(notionServer(), { ...api.env, NOTION_TOKEN: 'ntn_wrong' }, async (client) => {
        await handshake(client);
        assert.match(
          textOf(await client.request('tools/call', { name: 'API-get-self' })),
          /token is invalid/,
        );
      });
      assert.deepEqual(
        api.requests.map(({ method, path, matched }) => [method, path, matched]),
        [
          ['GET', '/v1/users/me', true],
          ['POST', '/v1/search', true],
          ['GET', '/v1/users/me', false],
        ],
      );
      assert.equal(api.requests[0]?.tokenSha256, createHash('sha256').update(token.value).digest('hex'));
    } finally {
      await api.close();
    }
  });

  test(`the GitLab server against the fake GitLab ${what}`, async () => {
    const token = canary('gitlab');
    const api = await new FakeGitlab(token.value, { hostile }).start();
    try {
      const env = { ...api.env, GITLAB_PERSONAL_ACCESS_TOKEN: token.value };
      await withServer(gitlabServer(), env, async (client) => {
        const { result } = await handshake(client);
        assert.equal(result?.protocolVersion, '2024-11-05');
        assert.ok((await toolNames(client)).includes('search_repositories'));
        const project = { project_id: 'acme/gateway' };
        const answers = [
          await callTool(client, 'search_repositories', { search: 'gateway' }),
          await callTool(client, 'get_file_contents', { ...project, file_path: 'docs/README.md' }),
          await callTool(client, 'create_issue', { ...project, title: 'Broken', description: 'It is.' }),
        ];
        assert.match(answers[0] as string, /acme\/gateway/);
        assert.match(answers[1] as string, /A small service/);
        assert.match(answers[2] as string, /Broken/);
        for (const answer of answers) assert.deepEqual(leaks(answer, token), new Set(hostile ? ['raw'] : []));
        const refused = await client.request('tools/call', {
          name: 'get_file_contents',
          arguments: { project_id: 'missing', file_path: 'x' },
        });
        assert.equal(JSON.stringify(refused).includes(token.value), hostile);
      });
      assert.ok(api.requests.length >= 4 && api.requests.every(({ matched }) => matched));
    } finally {
      await api.close();
    }
  });
}

test('server-everything shows its environment', async () => {
  await withServer(everythingServer(), { TELL: 'tale' }, async (client) => {
    await handshake(client);
    assert.match(await callTool(client, 'get-env'), /"TELL": "tale"/);
  });
});

test('leaky leaks in each of its ways', async () => {
  const secret = canary('leaky', '"\\/+é');
  await withServer(fixtureServer('leaky'), { SECRET: secret.value }, async (client) => {
    await handshake(client, undefined, { elicitation: {}, roots: {} });
    const silent = new Set([
      'blocks',
      'split_blocks',
      'split_characters',
      'split_text_lines',
      'split_lines',
      'history',
    ]);
    for (const name of await toolNames(client)) {
      if (silent.has(name) || name === 'described') continue;
      const from = client.lines.length;
      const stderrFrom = client.stderr.length;
      const response = client.request('tools/call', { name, _meta: { progressToken: 7 } }, { id: name });
      if (name === 'elicitation' || name === 'request_id') {
        const { message } = await client.waitFor(
          (m) => m.method !== undefined && m.id !== undefined,
          5_000,
          from,
        );
        client.send({ jsonrpc: '2.0', id: message?.id, result: { action: 'decline', roots: [] } });
      }
      await response;
      if (name.startsWith('stderr')) await new Promise((resolve) => setTimeout(resolve, 50));
      const said = client.lines.slice(from).map(({ raw }) => raw);
      const texts = [Buffer.concat(said), Buffer.from(client.stderr.slice(stderrFrom), 'latin1')];
      assert.notEqual(scanForLeaks([secret], { texts }).length, 0, `${name} must leak`);
    }
    for (const [method, params] of [
      ['tools/list'],
      ['resources/list'],
      ['resources/read', { uri: 'leak://text' }],
      ['resources/read', { uri: 'leak://blob' }],
      ['resources/read', { uri: 'leak://none' }],
      ['resources/templates/list'],
      ['prompts/list'],
      ['prompts/get', { name: 'leak' }],
      ['completion/complete'],
    ] as [string, Record<string, unknown>?][]) {
      const texts = [JSON.stringify(await client.request(method, params))];
      assert.notEqual(scanForLeaks([secret], { texts }).length, 0, `${method} must leak`);
    }
  });
});

test('stubborn outlives its stdin and SIGTERM, with all its offspring', async () => {
  const { command, args } = fixtureServer('stubborn');
  const client = LineClient.spawn(command, args, { env: { STUBBORN_LIFE_MS: '20000' } });
  await handshake(client);
  const pids = Object.values(JSON.parse(await callTool(client, 'pids')) as Record<string, number>);
  try {
    assert.equal(new Set(pids).size, 4);
    client.child?.stdin?.end();
    for (const pid of pids) process.kill(pid, 'SIGTERM');
    await new Promise((resolve) => setTimeout(resolve, 300));
    for (const pid of pids) assert.ok(process.kill(pid, 0));
  } finally {
    for (const pid of pids) process.kill(pid, 'SIGKILL');
  }
});

test('chatty: progress in one write, cancellation, questions, odd JSON, death', async () => {
  await withServer(fixtureServer('chatty'), {}, async (client) => {
    const { result } = await handshake(client, '2025-06-18');
    assert.equal(result?.protocolVersion, '2025-06-18');

    await client.request('tools/call', {
      name: 'progress',
      arguments: { n: 5 },
      _meta: { progressToken: 'p' },
    });
    assert.deepEqual(
      client.sent('notifications/progress').map(({ params }) => params?.progress),
      [1, 2, 3, 4, 5],
    );

    client.send({
      jsonrpc: '2.0',
      id: 'zz',
      method: 'tools/call',
      params: { name: 'sleep_until_cancelled' },
    });
    await client.notify('notifications/cancelled', { requestId: 'zz' });
    assert.equal(await callTool(client, 'cancelled_ids'), '["zz"]');

    const answer = callTool(client, 'sampling', { prompt: 'Capital of France?' });
    const { message: question } = await client.waitFor(({ method }) => method === 'sampling/createMessage');
    client.send({ jsonrpc: '2.0', id: question?.id, result: { role: 'assistant', content: [] } });
    assert.match(await answer, /assistant/);

    await callTool(client, 'noise');
    assert.ok(client.lines.some(({ message }) => message === undefined));
    await client.request('tools/call', { name: 'odd_json' }, { id: 'odd' });
    assert.ok(client.lines.at(-1)?.raw.includes('12345678901234567890'));
    assert.equal(await callTool(client, 'dribble'), 'héllo');
    assert.equal(await callTool(client, 'flood'), 'after the flood');
    assert.equal(await callTool(client, 'unsolicited'), 'first');
    assert.equal(await callTool(client, 'add_tool'), 'added_1');
    assert.equal(await callTool(client, 'added_1'), 'added_1');

    await assert.rejects(callTool(client, 'exit_mid_line'), /stream ended/);
    await client.close();
    assert.equal(client.child?.exitCode, 1);
  });
});

test('chatty: pages, crashes at start; big-list: many tools', async () => {
  await withServer(fixtureServer('chatty'), { PAGE: '3' }, async (client) => {
    const { result } = await client.request('tools/list', { cursor: '3' });
    assert.equal((result?.tools as unknown[] | undefined)?.length, 3);
    assert.equal(result?.nextCursor, '6');
  });
  await withServer(fixtureServer('chatty'), { CRASH: '1' }, async (client) => {
    await assert.rejects(handshake(client), /crashing as told/);
  });
  await withServer(fixtureServer('big-list'), { COUNT: '2000' }, async (client) => {
    assert.equal((await toolNames(client)).length, 2000);
  });
});

test('the notes example lists and adds notes with its token', async () => {
  const notes = [{ id: 1, text: 'buy milk' }];
  const seen: (string | undefined)[] = [];
  const api = createServer(async (request, response) => {
    seen.push(request.headers.authorization);
    let body = '';
    for await (const chunk of request) body += chunk;
    if (request.method === 'POST') notes.push({ id: 2, text: JSON.parse(body).text });
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify(request.method === 'POST' ? notes.at(-1) : notes));
  });
  await new Promise<void>((resolve) => api.listen(0, '127.0.0.1', resolve));
  const env = {
    NOTES_API_URL: `http://127.0.0.1:${(api.address() as AddressInfo).port}`,
    NOTES_API_TOKEN: 'tok-1',
  };
  try {
    await withServer(notesServer(), env, async (client) => {
      await handshake(client);
      assert.equal(await callTool(client, 'list_notes'), '1: buy milk');
      assert.equal(await callTool(client, 'add_note', { text: 'call mum' }), 'Added note 2.');
      assert.equal(await callTool(client, 'list_notes'), '1: buy milk\n2: call mum');
      const { error } = await client.request('tools/call', { name: 'toString' });
      assert.equal(error?.code, -32602);
    });
    assert.deepEqual(seen, Array(3).fill('Bearer tok-1'));
  } finally {
    api.closeAllConnections();
    api.close();
  }
});
