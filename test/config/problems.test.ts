/** Every way in which a file can be wrong, with the exact line that its writer gets to see. */
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

describe('YAML that means more than it shows', () => {
  refuse('anchor', ['version: &v 1'], '1:10: expected no anchors, got one; write the value out each time');
  refuse(
    'alias (billion laughs)',
    ['version: 1', 'a: &a [x, x]', 'b: &b [*a, *a]', 'c: [*b, *b]'],
    '2:4: expected no anchors, got one; write the value out each time',
    '3:4: expected no anchors, got one; write the value out each time',
    ...['3:8', '3:12', '4:5', '4:9'].map(
      (at) => `${at}: expected no aliases, got one; write the value out each time`,
    ),
  );
  refuse('custom tag', ['version: !!js/function 1'], '1:10: expected no tags, got one');
  refuse('core tag', ['version: !!int "1"'], '1:10: expected no tags, got one');
  refuse('directive', ['%YAML 1.1', '---', 'version: 1'], '1:1: expected no YAML directives, got one');
  refuse('second document', ['version: 1', '---', 'version: 1'], '2:1: expected one document, got another');
  refuse(
    'merge key',
    [...upstream, '    command: node', '    <<: {args: [x]}'],
    '5:5: upstreams.notion.…: expected no merge keys, got one; write the values out each time',
  );
  refuse(
    'merge key among names',
    ['version: 1', 'upstreams:', '  <<: {command: node}'],
    '3:3: upstreams.…: expected no merge keys, got one; write the values out each time',
  );
  refuse(
    'duplicate key',
    ['version: 1', 'listen: {port: 1}', 'listen: {port: 2}'],
    '3:1: listen: expected each key once, got it again after line 2',
  );
  refuse(
    'duplicate key beside other problems',
    ['version: 2', 'agent: {env: [A], env: [B]}'],
    '1:10: version: expected 1, got 2',
    '2:19: agent.env: expected each key once, got it again after line 2',
  );
  refuse(
    'key that is a list',
    ['version: 1', '? [a]', ': 1'],
    '2:3: expected text as a key, got a list or map',
  );
  for (const [name, unit] of [
    ['flow lists', '['],
    ['flow maps', '{'],
    ['block lists', '- '],
    ['explicit keys', '? '],
  ] as const)
    it(`C1 ${name} nested 20,000 deep neither overflow nor hang`, () => {
      const [only, ...others] = problemsOf(unit.repeat(20_000));
      assert.match(only ?? '', /^c\.yaml:1:\d+: expected at most 16 levels of nesting, got more$/);
      assert.deepEqual(others, []);
    });
});

describe('text that is no YAML', () => {
  refuse('tab', ['version: 1', 'listen:', '\tport: 1'], '3:1: expected spaces as indentation, got a tab');
  refuse(
    'two colons',
    ['version: 1', 'listen: port: 1'],
    '2:9: expected one key on a line, got a second colon; put text that has ": " in it in quotes',
  );
  refuse(
    'unclosed quote',
    ['version: "1'],
    '1:12: expected another character, such as a colon, a comma or a closing quote, got none',
  );
});

describe('shape', () => {
  refuse('empty file', [''], '1:1: expected a map that begins with version: 1, got nothing');
  refuse('a list', ['- version: 1'], '1:1: expected a map that begins with version: 1, got a list');
  refuse('no version', ['listen: {port: 1}'], '1:1: version: expected 1, got nothing');
  refuse('another version', ['version: "1"'], '1:10: version: expected 1, got "1"');
  refuse(
    'unknown key at the top',
    ['version: 1', 'upstream: {}'],
    '2:1: upstream: expected one of version, listen, limits, helpers, oauth, upstreams, profiles, agent, got an unknown key; did you mean upstreams?',
  );
  refuse(
    'unknown key in camel case',
    [...upstream, '    command: node', '    startTimeout: 1s'],
    '5:5: upstreams.notion.startTimeout: expected one of command, package, bin, args, env, secrets, files, fds, hardening, run_as, lifecycle, era, start_timeout, call_timeout, tool_timeouts, idle_timeout, max_children, got an unknown key; did you mean start_timeout?',
  );
  refuse(
    'unknown key without a neighbour',
    ['version: 1', 'listen: {zzz: 1}'],
    '2:10: listen.zzz: expected one of port, allow_uids, socket_group, got an unknown key',
  );
  refuse(
    'port',
    ['version: 1', 'listen: {port: 70000}'],
    '2:16: listen.port: expected a port from 0 to 65535, got 70000',
  );
  refuse(
    'empty section',
    ['version: 1', 'upstreams:'],
    '2:1: upstreams: expected a map from upstream names to upstreams, got nothing',
  );
  refuse(
    'name in capitals',
    ['version: 1', 'upstreams:', '  Notion: {command: node}'],
    '3:3: upstreams.Notion: expected a name of up to 32 lower-case letters, digits and inner -, beginning with a letter, got a key of 6 characters',
  );
  refuse(
    'no command',
    [...upstream, '    args: []'],
    '3:3: upstreams.notion.command: expected either command (a program) or url (an HTTP server), got neither',
  );
  refuse(
    'a package with a range',
    [...upstream, '    package: notion-server@^1.2'],
    '4:14: upstreams.notion.package: expected NAME@VERSION with an exact version such as 1.2.3, got text of 18 characters; use the output of `npm view NAME version`',
  );
  refuse(
    'a package and a command',
    [...upstream, '    command: node', '    package: notion-server@1.2.3'],
    '5:5: upstreams.notion.package: expected either command (a program) or package (one of npm), got both',
  );
  refuse(
    'a program of no package',
    [...upstream, '    command: node', '    bin: x'],
    '5:5: upstreams.notion.bin: expected a package beside bin, got none',
  );
  refuse(
    'hardening of another kind',
    [...upstream, '    command: node', '    hardening: none'],
    '5:16: upstreams.notion.hardening: expected full, process or off, got text of 4 characters',
  );
  refuse(
    'unquoted number',
    [...upstream, '    command: node', '    env: {PORT: 8080}'],
    '5:17: upstreams.notion.env.PORT: expected text without NUL characters, got a number; put it in quotes',
  );
  refuse(
    'NUL in an argument',
    [...upstream, '    command: node', '    args: ["a\\0b"]'],
    '5:12: upstreams.notion.args[0]: expected text without NUL characters, got text of 3 characters',
  );
  refuse(
    'lifecycle',
    [...upstream, '    command: node', '    lifecycle: share'],
    '5:16: upstreams.notion.lifecycle: expected session, shared or disabled, got "share"',
  );
  for (const duration of ['10', '0s', '1d', '1.5s', '25h', '-1s', '99999999h'])
    refuse(
      `duration ${duration}`,
      [...upstream, '    command: node', `    call_timeout: "${duration}"`],
      `5:19: upstreams.notion.call_timeout: expected a duration such as 500ms, 30s, 10m or 1h, at most 24h, got "${duration}"`,
    );
  refuse(
    'all problems at once, by position',
    ['version: 2', 'agent: {env: ["*"]}', 'listen: {port: -1}', 'x: 1'],
    '1:10: version: expected 1, got 2',
    '2:15: agent.env[0]: expected the name of an environment variable, or a glob that begins with a letter or _, got text of 1 character',
    '3:16: listen.port: expected a port from 0 to 65535, got -1',
    '4:1: x: expected one of version, listen, limits, helpers, oauth, upstreams, profiles, agent, got an unknown key',
  );
});

describe('other users', () => {
  const users = ['version: 1', 'listen:', '  allow_uids: [alice, 1001]'];
  refuse(
    'users without a group for their sockets',
    users,
    '3:3: listen.allow_uids: expected socket_group beside it, got none: these users could not reach their sockets',
  );
  refuse(
    'a user of a profile who is not let in',
    [...users, '  socket_group: agents', 'profiles: {p: {rules: [], users: [1001, alise]}}'],
    '5:41: profiles.p.users[1]: expected a user of listen.allow_uids, spelled the same, got text of 5 characters',
  );
  refuse(
    'a user that cannot be',
    ['version: 1', 'listen: {allow_uids: ["a b"], socket_group: agents}'],
    '2:23: listen.allow_uids[0]: expected a user, by name or number, got text of 3 characters',
  );
});

describe('programs', () => {
  refuse(
    'E9 relative command',
    [...upstream, '    command: npx'],
    '4:14: upstreams.notion.command: expected an absolute path, or the word node, got text of 3 characters; use the output of `command -v npx`',
  );
  refuse(
    'E9 command with a path below the working directory',
    [...upstream, '    command: ./bin/x'],
    '4:14: upstreams.notion.command: expected an absolute path, or the word node, got text of 7 characters; use the output of `command -v NAME`',
  );
  refuse(
    'E9 relative helper',
    ['version: 1', 'helpers: {gh: {command: [gh, auth, token]}}'],
    '2:26: helpers.gh.command[0]: expected the absolute path of an executable, got text of 2 characters; use the output of `command -v gh`',
  );
  refuse(
    'helper without a command',
    ['version: 1', 'helpers: {gh: {command: []}}'],
    '2:25: helpers.gh.command: expected a list that begins with the absolute path of an executable, got an empty list',
  );
});

describe('helpers', () => {
  const helper = (text: string): string[] => ['version: 1', 'helpers:', `  h: {command: [/bin/h], ${text}}`];
  refuse(
    'a format that is none',
    helper('format: aws2'),
    '3:34: helpers.h.format: expected raw, json, aws, exec-credential, docker or git, got text of 4 characters',
  );
  refuse(
    'docker without a registry',
    helper('format: docker'),
    '3:3: helpers.h.registry: expected what format docker tells the helper, got nothing',
  );
  refuse(
    'git without a URL',
    helper('format: git'),
    '3:3: helpers.h.url: expected what format git tells the helper, got nothing',
  );
  refuse(
    'what another format tells',
    helper('registry: ghcr.io'),
    '3:26: helpers.h.registry: expected a key of format raw, got one of format docker',
  );
  refuse(
    'a git URL with a password',
    helper('format: git, url: "https://me:canary@git.example"'),
    '3:44: helpers.h.url: expected a URL without a password, got one with it; the helper is asked for it',
  );
  for (const path of ['%0ahost=other.example', '%0d', '%00', '%', '%zz', '%7F'])
    refuse(
      `E9 a git URL with ${path}`,
      helper(`format: git, url: "https://git.example/${path}"`),
      '3:44: helpers.h.url: expected a URL that encodes text, got one that encodes control characters or nothing',
    );
  refuse(
    'a git URL of another scheme',
    helper('format: git, url: "ssh://git.example"'),
    '3:44: helpers.h.url: expected an https or http URL such as https://github.com, got text of 17 characters',
  );
  refuse(
    'a cluster with a user',
    helper('format: exec-credential, server: "https://me:canary@k8s.example"'),
    "3:59: helpers.h.server: expected the URL of a cluster's API server, without a user, got text of 29 characters",
  );
  refuse(
    'a ttl that is no duration',
    helper('ttl: 2d'),
    '3:31: helpers.h.ttl: expected a duration such as 500ms, 30s, 10m or 1h, at most 24h, got text of 2 characters',
  );

  const uses = (format: string, reference: string): string[] => [
    'version: 1',
    `helpers: {h: {command: [/bin/h], format: ${format}}}`,
    `upstreams: {n: {command: node, secrets: {T: "${reference}"}}}`,
  ];
  const there = '3:45: upstreams.n.secrets.T:';
  const keys = 'AccessKeyId, SecretAccessKey, SessionToken';
  refuse(
    'several values and no field',
    uses('aws', 'command:h'),
    `${there} expected command:HELPER#FIELD with one of ${keys} as FIELD, for its format is aws, got no field`,
  );
  refuse(
    'a field that the format does not have',
    uses('aws', 'command:h#SecretAccesKey'),
    `${there} expected command:HELPER#FIELD with one of ${keys} as FIELD, for its format is aws, got another; did you mean SecretAccessKey?`,
  );
  refuse(
    'a field of one value',
    uses('raw', 'command:h#token'),
    `${there} expected no field, for format raw has one value, got one`,
  );
  for (const text of ['command:h#', 'command:h#a b', 'command:#a', 'command:h#a#b'])
    refuse(
      `a field that is no name: ${text}`,
      uses('json', text),
      `${there} expected command:HELPER or command:HELPER#FIELD with the name of a helper and a field of its output, got text of ${text.length} characters`,
    );
});

describe('upstreams', () => {
  const web = ['version: 1', 'upstreams:', '  web:'];
  refuse(
    'no map',
    ['version: 1', 'upstreams: {n: x}'],
    '2:16: upstreams.n: expected a map with command or url, got text of 1 character',
  );
  refuse(
    'nothing',
    ['version: 1', 'upstreams:', '  n:'],
    '3:3: upstreams.n: expected a map with command or url, got nothing',
  );
  refuse(
    'both command and url',
    [...web, '    command: node', '    url: https://x/'],
    '4:5: upstreams.web.command: expected either command (a program) or url (an HTTP server), got both',
  );
  refuse(
    'keys of a program beside url',
    [...web, '    url: https://x/', '    args: [a]', '    env: {A: x}'],
    '5:5: upstreams.web.args: expected a key of an upstream with url, got one of an upstream with command',
    '6:5: upstreams.web.env: expected a key of an upstream with url, got one of an upstream with command',
  );
  refuse(
    'keys of a server beside command',
    [...web, '    command: node', '    transport: sse', '    headers: {A: x}', '    bearer: vault:x'],
    ...['5:5: upstreams.web.transport', '6:5: upstreams.web.headers', '7:5: upstreams.web.bearer'].map(
      (at) => `${at}: expected a key of an upstream with command, got one of an upstream with url`,
    ),
  );
  refuse(
    'unknown key beside url',
    [...web, '    url: https://x/', '    header: {A: x}'],
    '5:5: upstreams.web.header: expected one of url, transport, headers, secrets, bearer, basic, oauth, ca_file, lifecycle, era, start_timeout, call_timeout, tool_timeouts, idle_timeout, max_children, got an unknown key; did you mean headers?',
  );
  refuse(
    'words that are not known',
    [...web, '    url: https://x/', '    transport: stdio', '    era: new', '    max_children: 0'],
    '5:16: upstreams.web.transport: expected http or sse, got "stdio"',
    '6:10: upstreams.web.era: expected auto, legacy or modern, got "new"',
    '7:19: upstreams.web.max_children: expected a number from 1 to 1024, got 0',
  );
  refuse(
    'times',
    [...web, '    command: node', '    idle_timeout: off', '    tool_timeouts: {slow: 1d, "x*": 60}'],
    '5:19: upstreams.web.idle_timeout: expected a duration such as 500ms, 30s, 10m or 1h, at most 24h, or the word never, got "off"',
    '6:27: upstreams.web.tool_timeouts.slow: expected a duration such as 500ms, 30s, 10m or 1h, at most 24h, got "1d"',
    '6:37: upstreams.web.tool_timeouts.…: expected a duration such as 500ms, 30s, 10m or 1h, at most 24h, got 60',
  );
  refuse(
    'limits',
    ['version: 1', 'limits: {sessions: 0, message_size: 1GiB}'],
    '2:20: limits.sessions: expected a number from 1 to 4096, got 0',
    '2:37: limits.message_size: expected a size such as 512KiB or 16MiB, from 64KiB to 64MiB, got "1GiB"',
  );
});

describe('URLs', () => {
  const at = '2:26: upstreams.n.url: expected';
  const url = (text: string) => ['version: 1', `upstreams: {n: {    url: "${text}"}}`];
  for (const text of [
    '',
    'x',
    '/mcp',
    'ftp://x/',
    'ws://x/',
    'https://',
    'https://a b/',
    'https:/x',
    'file:///etc/passwd',
  ])
    refuse(
      `no URL: ${text}`,
      url(text),
      `${at} an https URL, or an http URL of this machine, got ${text === '' ? 'empty text' : text.length === 1 ? 'text of 1 character' : `text of ${text.length} characters`}`,
    );
  for (const text of ['https://me:secret@x/', 'https://me@x/', 'https://:secret@x/'])
    refuse(
      `user and password: ${text}`,
      url(text),
      `${at} a URL without user and password, got one with them; name the credential under secrets`,
    );
  for (const text of ['https://x/#a', 'https://x/#'])
    refuse(
      `fragment: ${text}`,
      url(text),
      `${at} a URL without a fragment, got one with it; servers never see it`,
    );
  for (const text of [
    'http://x/',
    'http://127.0.0.1.x/',
    'http://10.0.0.1/',
    'http://localhost.x/',
    'http://[::2]/',
    'http://0.0.0.0/',
    'HTTP://x/',
  ])
    refuse(
      `in clear: ${text}`,
      url(text),
      `${at} https, or http to localhost, 127.0.0.1 or [::1], got http to another host: the credential would cross the network in clear`,
    );
  for (const text of [
    'https://x/',
    'https://x',
    'http://localhost:1/a?b=c',
    'http://127.0.0.1/',
    'http://127.1.2.3/',
    'http://[::1]:8080/mcp',
    'http://2130706433/',
    'HTTPS://X/',
  ])
    refuse(`fine: ${text}`, url(text));
});

describe('headers', () => {
  const text = (under: string) => ['version: 1', `upstreams: {n: { url: "https://x/", ${under}}}`];
  for (const name of [
    'Host',
    'content-length',
    'Content-Type',
    'CONNECTION',
    'TE',
    'Upgrade',
    'Transfer-Encoding',
    'Proxy-Authorization',
    'Keep-Alive',
  ])
    for (const [under, value] of [
      ['headers', 'x'],
      ['secrets', 'vault:x'],
    ] as const)
      refuse(
        `${name} under ${under}`,
        text(`${under}: {${name}: ${value}}`),
        `2:47: upstreams.n.${under}.${name}: expected a header of requests, got one that belongs to the connection or its body and is made anew`,
      );
  for (const name of ['Accept', 'Mcp-Session-Id', 'MCP-Protocol-Version', 'mcp-x', 'Last-Event-ID', 'Origin'])
    refuse(
      name,
      text(`headers: {${name}: x}`),
      `2:47: upstreams.n.headers.${name}: expected a header of your own, got one that the MCP transport sets`,
    );
  for (const name of ['Authorization', 'authorization', 'Cookie'])
    refuse(
      `${name} as a literal`,
      text(`headers: {${name}: "Bearer x"}`),
      `2:47: upstreams.n.headers.${name}: expected a header that holds no secret, got one that does; name it under secrets, or use bearer`,
    );
  refuse('Authorization as a secret', text('secrets: {Authorization: vault:x, Cookie: vault:y}'));
  refuse(
    'Authorization and bearer',
    text('bearer: vault:x, secrets: {aUthorization: vault:y}'),
    '2:64: upstreams.n.secrets.aUthorization: expected either bearer or an Authorization header, got both',
  );
  refuse(
    'twice in two cases',
    text('headers: {X-A: a, x-a: b}'),
    '2:55: upstreams.n.headers.x-a: expected each header once, in whatever case, got it again',
  );
  refuse(
    'literal and secret',
    text('headers: {X-A: a}, secrets: {X-a: vault:b}'),
    '2:66: upstreams.n.secrets.X-a: expected each header once, in whatever case, got it again',
  );
  refuse(
    'no token',
    text('headers: {"X A": a, "X:": b}'),
    '2:47: upstreams.n.headers.…: expected the name of an HTTP header, got a key of 3 characters',
    '2:57: upstreams.n.headers.…: expected the name of an HTTP header, got a key of 2 characters',
  );
  for (const [value, got] of [
    ['a\\r\\nX: y', 'text of 7 characters'],
    ['a\\n', 'text of 2 characters'],
    ['a\\0', 'text of 2 characters'],
    [' a', 'text of 2 characters'],
    ['a ', 'text of 2 characters'],
    ['', 'empty text'],
    ['é', 'text of 1 character'],
  ] as const)
    refuse(
      `the value "${value}"`,
      text(`headers: {A: "${value}"}`),
      `2:50: upstreams.n.headers.A: expected visible ASCII text, with spaces inside only, got ${got}`,
    );
  refuse(
    'pasted secrets',
    text('secrets: {X-Key: ghp_1}, bearer: ghp_2'),
    '2:54: upstreams.n.secrets.X-Key: expected a credential reference such as vault:NAME, got text of 5 characters',
    '2:70: upstreams.n.bearer: expected a credential reference such as vault:NAME, got text of 5 characters',
  );
  refuse(
    'A18 agent.env names the secret of bearer',
    [...text('bearer: env:TOK'), 'agent: {env: [TOK]}'],
    "3:15: agent.env[0]: expected a variable that holds no upstream's secret, got one that env:TOK refers to",
  );
});

describe('references', () => {
  const secret = (text: string) => ['version: 1', `upstreams: {n: {command: node, secrets: {T: ${text}}}}`];
  const at = '2:45: upstreams.n.secrets.T: expected';
  refuse(
    'pasted secret',
    secret('ntn_123'),
    `${at} a credential reference such as vault:NAME, got text of 7 characters`,
  );
  refuse('number', secret('12345'), `${at} a credential reference such as vault:NAME, got a number`);
  refuse('map', secret('{a: b}'), `${at} a credential reference such as vault:NAME, got a map`);
  refuse('empty', secret('""'), `${at} a credential reference such as vault:NAME, got empty text`);
  refuse(
    'bad name',
    secret('"vault:a b"'),
    `${at} vault:NAME with up to 64 letters, digits, _ . - as NAME, got text of 9 characters`,
  );
  refuse('relative file', secret('file:x'), `${at} file: and an absolute path, got text of 6 characters`);
  refuse(
    'keychain',
    secret('keychain:github'),
    `${at} keychain:SERVICE/ACCOUNT with letters, digits, _ . : @ + - in both, got text of 15 characters`,
  );
  refuse(
    'oauth',
    secret('oauth:linear'),
    `${at} oauth: and a provider under oauth, which defines none, got another name`,
  );
  refuse(
    'a name of Object.prototype as a source',
    secret('constructor:x'),
    `${at} a credential reference such as vault:NAME, got text of 13 characters`,
  );
  refuse(
    'helper of an empty list',
    secret('command:gh'),
    `${at} command: and a helper, and helpers defines none, got another name`,
  );
  refuse(
    'helper that is not defined',
    [
      'version: 1',
      'helpers: {gh: {command: [/bin/gh]}}',
      'upstreams: {n: {command: node, secrets: {T: command:hg}}}',
    ],
    '3:45: upstreams.n.secrets.T: expected command: and one of gh, got another name; did you mean gh?',
  );
  for (const text of ['vault:x', 'env:NAME', 'command:gh', 'keychain:a/b', 'oauth:linear', 'file:/run/x'])
    refuse(
      `A5 ${text} as a literal`,
      [
        ...upstream,
        '    command: node',
        `    args: [a, "${text}", "--token=${text}"]`,
        `    env: {A: "${text}"}`,
      ],
      '5:15: upstreams.notion.args[1]: expected literal text, got a credential reference; every local user can read arguments; name it under secrets, files or fds',
      `5:${19 + text.length}: upstreams.notion.args[2]: expected literal text, got a credential reference; every local user can read arguments; name it under secrets, files or fds`,
      '6:14: upstreams.notion.env.A: expected literal text, got a credential reference; name it under secrets',
    );
  for (const text of ['vault://x', 'file:///srv/docs', 'https://env:8080/', 'env: x', 'vault', 'a vault:x'])
    refuse(`${text} is no reference`, [...upstream, '    command: node', `    args: ["${text}"]`]);
  refuse(
    'variable in env and secrets',
    [...upstream, '    command: node', '    env: {T: x}', '    secrets: {T: vault:x}'],
    '6:15: upstreams.notion.secrets.T: expected a variable in either env or secrets, got it in both',
  );
  refuse(
    "A18 agent.env names an upstream's secret",
    [...upstream, '    command: node', '    secrets: {T: env:GH_TOKEN}', 'agent: {env: [GH_*, GH_TOKEN]}'],
    "6:21: agent.env[1]: expected a variable that holds no upstream's secret, got one that env:GH_TOKEN refers to",
  );
});

describe('rules', () => {
  const rules = (...lines: string[]) => [
    ...upstream,
    '    command: node',
    'profiles:',
    '  p:',
    '    rules:',
    ...lines,
  ];
  refuse(
    'both',
    rules('      - {allow: notion, deny: notion}'),
    '8:9: profiles.p.rules[0]: expected either allow or deny, got both',
  );
  refuse(
    'neither',
    rules('      - {tools: [x]}'),
    '8:9: profiles.p.rules[0]: expected either allow or deny, got neither',
  );
  refuse(
    'upstream that is not there',
    rules('      - deny: noton'),
    '8:15: profiles.p.rules[0].deny: expected a name or glob of a configured upstream, got "noton"; did you mean notion?',
  );
  refuse(
    'glob that matches nothing',
    rules('      - allow: "x*"'),
    '8:16: profiles.p.rules[0].allow: expected a name or glob of a configured upstream, got "x*"',
  );
  refuse(
    'no map',
    rules('      - notion', '      -'),
    '8:9: profiles.p.rules[0]: expected a map with either allow or deny, got text of 6 characters',
    '9:8: profiles.p.rules[1]: expected a map with either allow or deny, got nothing',
  );
  refuse(
    'no tools',
    rules('      - {allow: notion, tools: []}'),
    '8:32: profiles.p.rules[0].tools: expected a list of at least one name or glob, got an empty list',
  );
  refuse('globs that match', rules('      - allow: "*"', '      - deny: "not?on"', '      - deny: "n*"'));
  refuse('a bare * without upstreams', ['version: 1', 'profiles: {p: {rules: [{deny: "*"}]}}']);
});

describe('ConfigError', () => {
  it('shows the first problem and counts the others', () => {
    assert.throws(() => parseConfig('version: 2\nx: 1\ny: 1\n', '/a/c.yaml'), {
      message: 'version: expected 1, got 2 (and 2 more)',
      place: { file: '/a/c.yaml', line: 1, column: 10, key: 'version' },
      hint: 'ostiary config check lists all of them',
    });
  });

  it('has a column for text after CRLF, wide characters and a comment', () => {
    assert.deepEqual(problemsOf('# é\r\nversion: 1\r\nagent: {env: ["é"], "ß": 1}\r\n'), [
      'c.yaml:3:15: agent.env[0]: expected the name of an environment variable, or a glob that begins with a letter or _, got text of 1 character',
      'c.yaml:3:21: agent.…: expected one of env, isolation, rw, ro, hide, got an unknown key',
    ]);
  });
});
