/**
 * What the matrix of real clients rests on; the clients themselves are started in `sandboxed.test.ts`. The whole matrix, which
 * needs minutes: `node test/clients/matrix.mjs`.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { packageRoot } from '../../src/paths.ts';
import { LineClient } from '../support/line-client.ts';
import { initializeParams } from '../support/mcp.ts';
import { clients } from './clients.ts';
import { type Fact, negotiated, toolsListed, wasCalled } from './wire.ts';

test('docs/clients.md names the versions that are installed', () => {
  const page = readFileSync(join(packageRoot, 'docs', 'clients.md'), 'utf8');
  const titles = {
    'Claude Code': clients.claude,
    Codex: clients.codex,
    'Gemini CLI': clients.gemini,
    OpenCode: clients.opencode,
    'MCP Inspector': clients.inspectorLegacy,
  };
  for (const [title, client] of Object.entries(titles)) {
    const lock = JSON.parse(readFileSync(join(client.manifests, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { version?: string }>;
    };
    const version = lock.packages[`node_modules/${client.package}`]?.version;
    if (version !== undefined) assert(page.includes(`| ${title} | ${version} |`), `${title} ${version}`);
  }
});

describe('a tap on the wire', () => {
  const tap = join(dirname(fileURLToPath(import.meta.url)), 'stdio-tap.js');
  const server = join(packageRoot, 'test', 'clients', 'modern-server.mjs');

  /** What it learns of a conversation with a server of both eras. */
  async function learned(converse: (client: LineClient) => Promise<void>): Promise<Fact[]> {
    const directory = mkdtempSync(join(tmpdir(), 'ostiary-tap-'));
    try {
      const file = join(directory, 'facts');
      const client = LineClient.spawn(process.execPath, [tap, file, process.execPath, server]);
      await converse(client);
      await client.close();
      const text = readFileSync(file, 'utf8');
      assert.doesNotMatch(text, /a private message/);
      return text
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as Fact);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }

  const call = { name: 'echo', arguments: { message: 'a private message' } };

  test('tells a conversation that was initialized', async () => {
    const facts = await learned(async (client) => {
      await client.request('initialize', initializeParams('2025-06-18'));
      await client.notify('notifications/initialized');
      await client.request('tools/list');
      await client.request('tools/call', call);
    });
    assert.deepEqual(negotiated(facts), { era: 'initialize', version: '2025-06-18', probed: null });
    assert.equal(toolsListed(facts), 2);
    assert(wasCalled(facts));
  });

  test('tells one that says its revision with each request', async () => {
    const _meta = {
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientCapabilities': {},
    };
    const facts = await learned(async (client) => {
      await client.request('server/discover', { _meta });
      await client.request('tools/list', { _meta });
      await client.request('tools/call', { ...call, _meta });
    });
    assert.deepEqual(negotiated(facts), { era: 'server/discover', version: '2026-07-28', probed: null });
    assert.equal(toolsListed(facts), 2);
    assert(wasCalled(facts));
  });

  test('tells a refused probe from a connection', () => {
    const probe = { method: 'server/discover', claimed: '2026-07-28', error: -32601 };
    assert.equal(negotiated([probe]), null);
    const opened = { method: 'initialize', agreed: '2025-11-25' };
    assert.deepEqual(negotiated([probe, opened]), {
      era: 'initialize',
      version: '2025-11-25',
      probed: -32601,
    });
  });
});
