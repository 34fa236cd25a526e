/**
 * An MCP server with every `test_*` feature of the official conformance suite, in both eras, on the SDK's v2 packages.
 *
 *     node fixture.mjs [stdio]     newline JSON on stdin and stdout
 *     node fixture.mjs http        prints {"url":"http://127.0.0.1:PORT/mcp"} as its first line; ends with its stdin
 *
 * LEGACY=reject serves 2026-07-28 only, MODERN=off serves up to 2025-11-25 only; by default it is both.
 * FIXTURE_TOKEN is the credential it holds, like any server behind the proxy, and never shows.
 */
import { randomBytes } from 'node:crypto';
import { createRequestStateCodec, McpServer } from '@modelcontextprotocol/server';
import { StdioServerTransport, serveStdio } from '@modelcontextprotocol/server/stdio';
import { addContent } from './fixture/content.mjs';
import { serveHttp } from './fixture/http.mjs';
import { inputTools } from './fixture/input.mjs';
import { addTasks, TASKS } from './fixture/tasks.mjs';
import { addTools, plainTools } from './fixture/tools.mjs';

const { FIXTURE_TOKEN: token, LEGACY, MODERN } = process.env;
const eras = { legacy: LEGACY !== 'reject', modern: MODERN !== 'off' };

/** A modern request gets a server of its own over HTTP: what a client carries between two of them is sealed instead. */
const state = createRequestStateCodec({ key: randomBytes(32) });

/**
 * A server for one conversation, or for one modern request over HTTP, where only the transport can `announce` a list
 * change to whoever listens.
 */
function makeServer({ era }, announce = {}) {
  const server = new McpServer(
    { name: 'ostiary-conformance-fixture', version: '1.0.0' },
    {
      capabilities: {
        // The SDK declares tools itself when the first is registered, which leaves addTasks time to step in front of it.
        prompts: { listChanged: true },
        resources: { subscribe: true, listChanged: true },
        logging: {},
        completions: {},
        ...(era === 'modern' && { extensions: { [TASKS]: {} } }),
      },
      instructions:
        token === undefined ? 'a fixture without a credential' : 'a fixture that holds a credential',
      requestState: { verify: state.verify },
    },
  );
  const changes = {
    tools: announce.tools ?? (() => server.sendToolListChanged()),
    prompts: announce.prompts ?? (() => server.sendPromptListChanged()),
  };
  if (era === 'modern') addTasks(server);
  addTools(server, { ...plainTools(changes), ...inputTools(state) });
  addContent(server);
  return server;
}

switch (process.argv[2] ?? 'stdio') {
  case 'http':
    console.log(JSON.stringify({ url: await serveHttp(makeServer, eras) }));
    process.stdin.resume().on('close', () => process.exit(0));
    break;
  case 'stdio':
    if (eras.modern) serveStdio(makeServer, { legacy: eras.legacy ? 'serve' : 'reject' });
    else await makeServer({ era: 'legacy' }).connect(new StdioServerTransport());
    break;
  default:
    console.error('fixture: expected stdio or http');
    process.exit(2);
}
