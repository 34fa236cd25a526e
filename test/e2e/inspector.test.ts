/**
 * The official inspector's command line as the client, through the shim and through loopback HTTP. It wants a newer Node
 * than we do (and runs on ours), so it is no dependency: installed on demand, from a lock of its own.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, type TestContext, test } from 'node:test';
import { mainFile } from '../../src/cli/main-file.ts';
import { packageRoot } from '../../src/paths.ts';
import { type Installed, install } from '../support/install.ts';
import { canary, scanForLeaks } from '../support/leaks.ts';
import { everythingServer } from '../support/servers.ts';
import { watchCommandLines } from './command-lines.ts';
import { finished, Home, type Result } from './home.ts';

const manifests = join(packageRoot, 'test', 'e2e', 'inspector');
const bin = join('@modelcontextprotocol', 'inspector', 'clients', 'launcher', 'build', 'index.js');

describe('the official inspector', () => {
  let installed: Installed;
  before(() => {
    installed = install(manifests, false);
  });

  const secret = canary('inspector');

  async function ready(t: TestContext): Promise<Home | null> {
    if ('skip' in installed) {
      t.skip(`skipped: ${installed.skip}`);
      return null;
    }
    const home = new Home(t);
    home.configure({ everything: { ...everythingServer(), secrets: { API_KEY: 'vault:key' } } });
    await home.secret('key', secret);
    await home.up();
    return home;
  }

  function inspect(home: Home, ...args: string[]): Promise<Result> {
    assert('directory' in installed);
    return finished(
      spawn(process.execPath, [join(installed.directory, 'node_modules', bin), '--cli', ...args], {
        env: { ...home.env, MCP_INSPECTOR_SECRET_STORE: 'memory' },
        cwd: home.scratch,
      }),
    );
  }

  /** What it prints after its banner: the result as JSON. */
  function resultOf({ code, stdout, stderr }: Result): string {
    assert.equal(code, 0, `${stdout}${stderr}`);
    return stdout.slice(stdout.indexOf('{'));
  }

  test('lists and calls tools through the shim', async (t) => {
    const home = await ready(t);
    if (home === null) return;
    const config = await home.ok(['session', 'new', '--label', 'inspector']);
    const { mcpServers } = JSON.parse(config) as {
      mcpServers: { everything: { command: string; args: string[] } };
    };
    const { command, args } = mcpServers.everything;
    assert.deepEqual([command, ...args.slice(0, 3)], [process.execPath, mainFile, 'connect', '--socket']);
    const list = await inspect(home, '--method', 'tools/list', '--', command, ...args);
    assert.match(resultOf(list), /"name": "get-env"/);
    const file = join(home.scratch, 'mcp.json');
    writeFileSync(file, config);
    const called = await inspect(
      home,
      ...['--config', file, '--server', 'everything', '--method', 'tools/call', '--tool-name', 'echo'],
      ...['--tool-arg', 'message=hello'],
    );
    assert.match(resultOf(called), /Echo: hello/);
    const env = await inspect(
      home,
      ...['--config', file, '--server', 'everything', '--method', 'tools/call', '--tool-name', 'get-env'],
    );
    assert.match(resultOf(env), /redacted/);
    assert.deepEqual(
      scanForLeaks([secret], { texts: [list, called, env].map(({ stdout, stderr }) => stdout + stderr) }),
      [],
    );
  });

  test('A5 lists and calls tools by HTTP; its token is in no command line', async (t) => {
    const home = await ready(t);
    if (home === null) return;
    const token = (await home.ok(['session', 'new', '--token'])).trim();
    assert.match(token, /^[\w-]{43}$/);
    const { url } = JSON.parse(await home.ok(['status', '--json'])) as { url: string };
    const file = join(home.scratch, 'mcp.json');
    const everything = {
      type: 'streamable-http',
      url: `${url}/mcp/everything`,
      headers: { Authorization: `Bearer ${token}` },
    };
    writeFileSync(file, JSON.stringify({ mcpServers: { everything } }), { mode: 0o600 });
    const commandLines = watchCommandLines(home.directory, [token, secret.value]);
    const from = ['--config', file, '--server', 'everything'];
    assert.match(resultOf(await inspect(home, ...from, '--method', 'tools/list')), /"name": "get-env"/);
    const called = await inspect(home, ...from, '--method', 'tools/call', '--tool-name', 'get-env');
    assert.match(resultOf(called), /redacted/);
    assert.deepEqual(scanForLeaks([secret], { texts: [called.stdout, called.stderr] }), []);
    const { ours, holding } = commandLines.stop();
    assert.equal(holding, 0);
    assert.ok(ours.some((line) => line.includes(file)));

    writeFileSync(file, JSON.stringify({ mcpServers: { everything: { ...everything, headers: {} } } }));
    const refused = await inspect(home, ...from, '--method', 'tools/list');
    assert.notEqual(refused.code, 0);
    // It takes the 401 for a reason to log in by OAuth, finds no metadata, and says so.
    assert.match(refused.stderr, /auth_required/);
  });
});
