/** Real agents inside the sandbox of `ostiary run`: each starts, connects, and calls a tool through the proxy. */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Isolation } from '../../src/agents/sandbox/isolation.ts';
import { mainFile } from '../../src/cli/main-file.ts';
import { Home } from '../e2e/home.ts';
import { install } from '../support/install.ts';
import { canary, scanForLeaks } from '../support/leaks.ts';
import { everythingServer } from '../support/servers.ts';
import { type Client, clients } from './clients.ts';
import { Models } from './models.ts';

const upstream = 'everything';
const { claude, codex, gemini, opencode } = clients;

/** By Landlock there are no Unix sockets: what a client then needs is the token in a variable. */
const rows: readonly (readonly [Client, Isolation])[] = [
  [claude, 'bubblewrap'],
  [codex, 'bubblewrap'],
  [gemini, 'bubblewrap'],
  [opencode, 'bubblewrap'],
  [claude, 'landlock'],
  [codex, 'landlock'],
];

describe('A1 A11 real agents in the sandbox of run list and call, and never see the secret', () => {
  const secret = canary('agents');
  const ends: (() => Promise<void>)[] = [];
  let home: Home;
  let models: Models;
  let endpoint: string;

  before(async () => {
    home = new Home({ after: (end) => void ends.push(end) });
    home.configure({ [upstream]: { ...everythingServer(), secrets: { API_KEY: 'vault:key' } } });
    await home.secret('key', secret);
    await home.up();
    endpoint = (JSON.parse(await home.ok(['status', '--json'])) as { url: string }).url;
    models = await Models.start();
    ends.push(() => models.stop());
  });
  after(async () => {
    for (const end of ends.reverse()) await end();
  });

  for (const [client, isolation] of rows)
    test(`${client.name} by ${isolation}`, { timeout: 90_000 }, async (t) => {
      const installed = install(client.manifests, client.optional);
      if ('skip' in installed) return t.skip(`skipped: ${installed.skip}`);
      const executable = join(installed.directory, 'node_modules', client.executable);
      if (!existsSync(executable))
        return t.skip(`skipped: no binary for ${process.platform}-${process.arch}`);

      const own = join(home.scratch, `${client.name}-${isolation}`);
      const work = join(own, 'project');
      const bin = join(own, 'bin');
      for (const path of [work, bin]) mkdirSync(path, { recursive: true, mode: 0o700 });
      writeFileSync(join(bin, 'ostiary'), `#!/bin/sh\nexec '${process.execPath}' '${mainFile}' "$@"\n`);
      chmodSync(join(bin, 'ostiary'), 0o755);

      const setting = {
        transport: isolation === 'landlock' ? 'http' : 'shim',
        upstream,
        home: own,
        work,
        endpoint,
        models: models.url,
        tap: [],
        session: null,
      } as const;
      for (const { args, env = {} } of await client.turns(setting)) {
        const variables = {
          HTTP_PROXY: models.url,
          HTTPS_PROXY: models.url,
          NO_PROXY: '127.0.0.1,localhost',
          NO_COLOR: '1',
          ...env,
        };
        const command = executable.endsWith('.js') ? [process.execPath, executable] : [executable];
        const passed = Object.keys(variables).flatMap((name) => ['--env', name]);
        const { code, stdout, stderr } = await home.ostiary(
          [
            'run',
            ...['--config', home.config],
            ...['--isolation', isolation],
            ...['--agent', client.name],
            ...passed,
            '--',
            ...command,
            ...args,
          ],
          {
            cwd: work,
            env: {
              HOME: own,
              // The agent's, too: its own are below its home directory.
              XDG_CONFIG_HOME: undefined,
              XDG_STATE_HOME: undefined,
              PATH: `${bin}:${dirname(process.execPath)}:/usr/local/bin:/usr/bin:/bin`,
              ...variables,
            },
          },
        );
        if (/cannot put the agent into a sandbox/.test(stderr)) return t.skip(`skipped: ${stderr.trim()}`);
        assert.equal(code, 0, `${stdout}${stderr}`);
        assert.match(stderr, /level L1/);
        assert.match(stdout, /\[redacted vault:key\]/, `${stdout}${stderr}`);
        assert.deepEqual(scanForLeaks([secret], { files: [own], texts: [stdout, stderr] }), []);
      }
    });
});
