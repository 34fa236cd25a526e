/** What looks like a secret where none should be. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { looksSecret } from '../../../src/cli/doctor/checks/environment.ts';
import { secretsIn } from '../../../src/cli/doctor/client-config.ts';
import { canary } from '../../support/leaks.ts';

describe('what looks like a secret', () => {
  it('in an environment', () => {
    const word = canary('word').value;
    for (const [name, value] of [
      ['JIRA_TOKEN', word],
      ['AWS_SECRET_ACCESS_KEY', word],
      ['HARMLESS', `ghp_${'canary0'.repeat(6)}`],
    ] as const)
      assert.ok(looksSecret(name, value), name);
    for (const [name, value] of [
      ['SSH_AUTH_SOCK', '/tmp/agent.1'],
      ['TOKEN_FILE', '/run/secret'],
      ['GIT_ASKPASS', '/usr/bin/x'],
      ['TOKENIZERS_PARALLELISM', 'false'],
      ['MAX_TOKENS', '1000000000'],
      ['EDITOR', word],
    ] as const)
      assert.ok(!looksSecret(name, value), name);
  });

  it('in configurations of clients, with its line; placeholders and references are none', () => {
    const word = canary('word').value;
    const found = (file: string, text: string): string[] =>
      secretsIn(file, Buffer.from(text)).map(({ line, name }) => `${line} ${name}`);
    const servers = (server: object, key = 'mcpServers'): string =>
      JSON.stringify({ history: [{ token: word }], [key]: { one: server } }, null, 1);
    assert.deepEqual(found('a.json', servers({ env: { TOKEN: word } })), ['10 TOKEN']);
    assert.deepEqual(found('a.json', servers({ headers: { Authorization: `Bearer ${word}` } }, 'servers')), [
      '10 Authorization',
    ]);
    assert.deepEqual(found('a.json', servers({ args: ['-x', `--api-key=${word}`] })), ['11 args']);
    assert.deepEqual(found('a.json', servers({ args: ['--header', `Authorization: Bearer ${word}`] })), [
      '11 args',
    ]);
    assert.deepEqual(
      found(
        'a.json',
        JSON.stringify({ projects: { '/p': { mcpServers: { one: { env: { TOKEN: word } } } } } }),
      ),
      ['1 TOKEN'],
    );
    for (const harmless of ['$' + '{TOKEN}', '{env:TOKEN}', '/run/token', 'short'])
      assert.deepEqual(found('a.json', servers({ env: { TOKEN: harmless } })), [], harmless);
    assert.deepEqual(found('a.jsonc', `{ // comment\n "mcp": { "env": { "TOKEN": "${word}" } } }`), [
      '2 TOKEN',
    ]);
    assert.deepEqual(found('a.toml', `[mcp_servers.a.env]\nTOKEN = '${word}'\n[other]\ntoken = "${word}"`), [
      '2 TOKEN',
    ]);
  });
});
