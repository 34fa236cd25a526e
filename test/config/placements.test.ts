/** Where secrets may stand in a configuration, where they must not, and what its writer is told. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: that is what these tests are about
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseConfig } from '../../src/config/load.ts';
import { ConfigError, formatProblems } from '../../src/config/problem.ts';
import { Failure } from '../../src/errors.ts';

function problemsOf(text: string): string[] {
  try {
    parseConfig(text, 'c.yaml');
  } catch (error) {
    assert(error instanceof ConfigError && error instanceof Failure);
    assert.equal(error.kind, 'config');
    return formatProblems(error).split('\n');
  }
  return [];
}

/** `refuse('what', ['line', …], 'problem', …)` */
function refuse(title: string, lines: readonly string[], ...expected: string[]): void {
  it(title, () => {
    assert.deepEqual(
      problemsOf(lines.join('\n')),
      expected.map((each) => `c.yaml:${each}`),
    );
  });
}

const upstream = ['version: 1', 'upstreams:', '  notion:'];

/** Put together here, so that no scanner takes this file for a leak. */
const shaped: Readonly<Record<string, string>> = {
  'a GitHub token': `gh${'p_'}${'canary0'.repeat(6)}`,
  'a GitLab token': `gl${'pat-'}canary-canary-canary0`,
  'an API key': `s${'k-'}proj-canary0canary0canary0`,
  'a Slack token': `xo${'xb-'}0000000000-canary`,
  'an AWS access key': `AK${'IA'}CANARYCANARYCANA`,
  'a Google API key': `AI${'za'}${'canary-'.repeat(5)}`,
  'a Stripe key': `s${'k_live_'}canary0canary0canary`,
  'a Notion token': `nt${'n_'}${'canary0'.repeat(6)}`,
  'a JSON Web Token': `ey${'J'}canarycanary.ey${'J'}canarycanary.canary`,
  'a private key': `-----BEGIN ${'PRIVATE'} KEY-----`,
};

describe('A5 secrets that would go into argv, URLs and literals', () => {
  const instead = 'every local user can read arguments; name it under secrets, files or fds';
  const args = (...texts: string[]) => [
    ...upstream,
    '    command: /bin/sh',
    `    args: ${JSON.stringify(texts)}`,
    '    secrets: {SOME_KEY: vault:x}',
    '    files: {TOKEN_FILE: vault:x}',
  ];
  for (const text of [
    '${SOME_KEY}',
    '--key=${SOME_KEY:-none}',
    'exec server --key "$SOME_KEY"',
    '{{ SOME_KEY }}',
    '%SOME_KEY%',
    '${vault:x}',
    '{{env:X}}',
    'Authorization: Bearer ${input:github_token}',
    '$GITHUB_TOKEN',
  ])
    refuse(
      `placeholder ${text}`,
      args(text),
      `5:12: upstreams.notion.args[0]: expected literal text, got a placeholder of a secret, which nobody fills in here; ${instead}`,
    );
  for (const text of ['${HOME}', '$1', '--file=${TOKEN_FILE}', '{{title}}', '100%', 'a$b{c}', '%20'])
    refuse(`${text} asks for no secret`, args(text));
  for (const [kind, text] of Object.entries(shaped)) {
    refuse(
      `${kind} among arguments`,
      args(`--x=${text}`),
      `5:12: upstreams.notion.args[0]: expected no secret, got what looks like ${kind}: keep it with ostiary secret set; ${instead}`,
    );
    refuse(
      `${kind} in env and headers`,
      [
        'version: 1',
        'upstreams:',
        `  a: {command: node, env: {A: ${JSON.stringify(text)}}}`,
        `  b: {url: "https://x/", headers: {X: ${JSON.stringify(text)}}}`,
      ],
      `3:31: upstreams.a.env.A: expected no secret, got what looks like ${kind}: keep it with ostiary secret set; name it under secrets`,
      `4:39: upstreams.b.headers.X: expected no secret, got what looks like ${kind}: keep it with ostiary secret set; name it under secrets, with a template where there is more than the secret`,
    );
  }
  for (const text of [
    '/opt/sk-learn-pipeline-with-a-long-name/server.py',
    'task-0123456789012345678901234',
    'https://gitlab.example/glpat-docs',
    'AKIA',
    'secret_name',
    'eyJhbGciOiJub25lIn0',
    'sha512-Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4',
    '0f8fad5b-d9cb-469f-a165-70867728950e',
  ])
    refuse(`${text} is no secret`, args(text));
  refuse(
    'in a URL',
    [
      'version: 1',
      'upstreams:',
      '  a: {url: "https://x/?api_key=${API_KEY}"}',
      `  b: {url: "https://x/?k=${shaped['a GitHub token']}"}`,
    ],
    '3:12: upstreams.a.url: expected literal text, got a placeholder of a secret, which nobody fills in here; servers and proxies log URLs; name it under secrets, as a header',
    '4:12: upstreams.b.url: expected no secret, got what looks like a GitHub token: keep it with ostiary secret set; servers and proxies log URLs; name it under secrets, as a header',
  );
  refuse(
    'in a header',
    ['version: 1', 'upstreams: {a: {url: "https://x/", headers: {X-Key: "Bearer ${KEY_TOKEN}"}}}'],
    '2:53: upstreams.a.headers.X-Key: expected literal text, got a placeholder of a secret, which nobody fills in here; name it under secrets, with a template where there is more than the secret',
  );
});

describe('placements', () => {
  refuse(
    'a variable in two of them',
    [
      ...upstream,
      '    command: node',
      '    env: {A: x}',
      '    secrets: {B: vault:b}',
      '    files: {A: vault:a, C: vault:c}',
      '    fds: {B: vault:b, C: vault:c}',
    ],
    '7:13: upstreams.notion.files.A: expected a variable in either env or files, got it in both',
    '8:11: upstreams.notion.fds.B: expected a variable in either secrets or fds, got it in both',
    '8:23: upstreams.notion.fds.C: expected a variable in either files or fds, got it in both',
  );
  refuse(
    'references',
    [
      ...upstream,
      '    command: node',
      '    files: {A: /etc/x}',
      '    fds: {B: {from: vault:b, template: "{}"}}',
    ],
    '5:16: upstreams.notion.files.A: expected a credential reference such as vault:NAME, got text of 6 characters',
    '6:14: upstreams.notion.fds.B: expected a credential reference such as vault:NAME, got a map',
  );
  const url = (rest: string) => ['version: 1', `upstreams: {n: {url: "https://x/", ${rest}}}`];
  refuse(
    'of a child, for a URL',
    url('files: {A: vault:a}, fds: {B: vault:b}'),
    '2:36: upstreams.n.files: expected a key of an upstream with url, got one of an upstream with command',
    '2:57: upstreams.n.fds: expected a key of an upstream with url, got one of an upstream with command',
  );
  refuse(
    'of a URL, for a child',
    [...upstream, '    command: node', '    basic: {username: a, password: vault:b}'],
    '5:5: upstreams.notion.basic: expected a key of an upstream with command, got one of an upstream with url',
  );
  const template = (text: string) => url(`secrets: {X: {from: vault:x, template: ${text}}}`);
  const expected =
    '2:75: upstreams.n.secrets.X.template: expected visible ASCII text, with spaces inside only, that has {} in it once';
  refuse('template', template('"Token {}"'));
  refuse('template without a place', template('Token'), `${expected}, got text of 5 characters`);
  refuse('template with two', template('"{} {}"'), `${expected}, got text of 5 characters`);
  refuse('template with a line break', template('"a\\n{}"'), `${expected}, got text of 4 characters`);
  refuse('template that ends in a space', template('"{} "'), `${expected}, got text of 3 characters`);
  refuse(
    'template of nothing',
    url('secrets: {X: {template: "a {}"}}'),
    '2:46: upstreams.n.secrets.X.from: expected a credential reference such as vault:NAME, got nothing',
  );
  refuse(
    'template that holds the secret itself',
    template(`"{} ${shaped['a GitHub token']}"`),
    '2:75: upstreams.n.secrets.X.template: expected no secret, got what looks like a GitHub token: keep it with ostiary secret set; name it under secrets, with a template where there is more than the secret',
  );
  refuse(
    'key beside a password, no password, none of them',
    [
      'version: 1',
      'upstreams:',
      '  a: {url: "https://a.example", basic: {key: vault:a, password: vault:b}}',
      '  b: {url: "https://b.example", basic: {username: b}}',
      '  c: {url: "https://c.example", basic: {key: hunter22}}',
    ],
    '3:55: upstreams.a.basic.password: expected either username and password, or key, got both',
    '4:33: upstreams.b.basic.password: expected either username and password, or key, got no password',
    '5:46: upstreams.c.basic.key: expected a credential reference such as vault:NAME, got text of 8 characters',
  );
  refuse(
    'user name with a colon, password that is none',
    url('basic: {username: "a:b", password: hunter22}'),
    '2:54: upstreams.n.basic.username: expected ASCII text without colons and control characters, got text of 3 characters',
    '2:71: upstreams.n.basic.password: expected a credential reference such as vault:NAME, got text of 8 characters',
  );
  refuse(
    'Authorization twice',
    url('bearer: vault:a, basic: {username: a, password: vault:b}, secrets: {authorization: vault:c}'),
    '2:53: upstreams.n.basic: expected either bearer or basic, got both',
    '2:104: upstreams.n.secrets.authorization: expected either basic or an Authorization header, got both',
  );
  refuse(
    'A18 agent.env names the secret of any of them',
    [
      ...url('secrets: {X: {from: env:TOK, template: "a {}"}}, basic: {username: a, password: env:PW}'),
      'agent: {env: [TOK, PW]}',
    ],
    "3:15: agent.env[0]: expected a variable that holds no upstream's secret, got one that env:TOK refers to",
    "3:20: agent.env[1]: expected a variable that holds no upstream's secret, got one that env:PW refers to",
  );
});
