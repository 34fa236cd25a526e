/** The agent's configuration: what clients read, and nothing secret. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { renderMcpConfig } from '../../src/agents/mcp-config.ts';

const base = { socket: '/run/o/agent.sock', node: '/usr/bin/node', main: '/opt/o/main.js' };

interface Rendered {
  readonly mcpServers: Record<string, { command?: string; args?: string[]; headersHelper?: string }>;
}

describe('renderMcpConfig', () => {
  test('one shim per upstream', () => {
    assert.deepEqual(JSON.parse(renderMcpConfig({ ...base, upstreams: ['a', 'b-c'] })), {
      mcpServers: {
        a: {
          command: '/usr/bin/node',
          args: ['/opt/o/main.js', 'connect', '--socket', '/run/o/agent.sock', 'a'],
        },
        'b-c': {
          command: '/usr/bin/node',
          args: ['/opt/o/main.js', 'connect', '--socket', '/run/o/agent.sock', 'b-c'],
        },
      },
    });
  });

  test('with a url: HTTP and a headers helper', () => {
    assert.deepEqual(JSON.parse(renderMcpConfig({ ...base, upstreams: ['a'], url: 'http://127.0.0.1:1' })), {
      mcpServers: {
        a: {
          type: 'http',
          url: 'http://127.0.0.1:1/mcp/a',
          headersHelper: "'/usr/bin/node' '/opt/o/main.js' 'headers' '--socket' '/run/o/agent.sock'",
        },
      },
    });
  });

  test('merged: one server for all', () => {
    const upstreams = ['a', 'b'];
    const args = ['/opt/o/main.js', 'connect', '--socket', '/run/o/agent.sock'];
    assert.deepEqual(JSON.parse(renderMcpConfig({ ...base, upstreams, merged: true })), {
      mcpServers: { ostiary: { command: '/usr/bin/node', args } },
    });
    const byHttp = JSON.parse(
      renderMcpConfig({ ...base, upstreams, merged: true, url: 'http://127.0.0.1:1' }),
    );
    assert.deepEqual(Object.keys(byHttp.mcpServers), ['ostiary']);
    assert.equal(byHttp.mcpServers.ostiary.url, 'http://127.0.0.1:1/mcp');
  });

  test('the helper survives a shell, whatever the paths are', () => {
    const odd = '/tmp/it\'s $(touch x) `y` "z"\\ ; & | * \n';
    const text = renderMcpConfig({
      upstreams: ['a'],
      url: 'http://x',
      socket: odd,
      node: '/usr/bin/printf',
      main: '%s\\0',
    });
    const helper = (JSON.parse(text) as Rendered).mcpServers.a?.headersHelper ?? '';
    const seen = execFileSync('/bin/sh', ['-c', helper]).toString();
    assert.deepEqual(seen.split('\0').slice(0, 3), ['headers', '--socket', odd]);
  });

  test('no upstreams: still a file that clients read', () => {
    assert.equal(renderMcpConfig({ ...base, upstreams: [] }), '{\n  "mcpServers": {}\n}\n');
  });
});
