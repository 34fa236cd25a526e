// biome-ignore-all lint/suspicious/noTemplateCurlyInString: that nothing expands them is what is tested
/** What a correct file becomes: literal, complete, frozen. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { credentialRefs, placementsOf } from '../../src/config/credentials.ts';
import { parseDuration } from '../../src/config/duration.ts';
import { parseConfig } from '../../src/config/load.ts';
import { ConfigError } from '../../src/config/problem.ts';
import { parseSize } from '../../src/config/size.ts';
import { nearest } from '../../src/config/suggest.ts';
import type { HttpUpstreamConfig, StdioUpstreamConfig } from '../../src/config/types.ts';
import { formatCredentialRef } from '../../src/credentials/ref.ts';
import { limits } from '../../src/limits.ts';

const parse = (...lines: string[]) => parseConfig(['version: 1', ...lines].join('\n'), '/c.yaml');

function stdio(text: readonly string[], name: string): StdioUpstreamConfig {
  const upstream = parse(...text).upstreams.get(name);
  assert(upstream?.transport === 'stdio');
  return upstream;
}

function http(text: readonly string[], name: string): HttpUpstreamConfig {
  const upstream = parse(...text).upstreams.get(name);
  assert(upstream !== undefined && upstream.transport !== 'stdio');
  return upstream;
}

describe('values', () => {
  it('are what the file says', () => {
    const config = parse(
      'listen: { port: 4711 }',
      'helpers:',
      '  gh: { command: [/usr/bin/gh, auth, token], env: {GH_HOST: github.com}, timeout: 10s }',
      'upstreams:',
      '  notion:',
      '    command: node',
      '    args: [/opt/notion/cli.mjs]',
      '    env: { BASE_URL: "https://x" }',
      '    secrets: { A: vault:notion, B: env:B, C: file:/run/c, D: command:gh }',
      '    start_timeout: 500ms',
      '    call_timeout: 1h',
      '  off: { command: /bin/off, lifecycle: disabled }',
      'profiles:',
      '  default:',
      '    rules:',
      '      - { allow: notion, tools: ["API-get-*"], prompts: [p], resources: ["file:///*"] }',
      '      - deny: "*"',
      'agent: { env: [ANTHROPIC_API_KEY, "CLAUDE_CODE_*"] }',
    );
    assert.equal(config.file, '/c.yaml');
    assert.equal(config.listen.port, 4711);
    assert.deepEqual(
      { ...config.helpers.get('gh'), env: { ...config.helpers.get('gh')?.env } },
      {
        name: 'gh',
        command: ['/usr/bin/gh', 'auth', 'token'],
        env: { GH_HOST: 'github.com' },
        timeoutMs: 10_000,
        ttlMs: null,
        ask: { format: 'raw' },
      },
    );
    const notion = config.upstreams.get('notion');
    assert(notion?.transport === 'stdio');
    assert.deepEqual(
      {
        ...notion,
        env: { ...notion.env },
        secrets: { ...notion.secrets },
        files: { ...notion.files },
        fds: { ...notion.fds },
      },
      {
        name: 'notion',
        transport: 'stdio',
        command: process.execPath,
        args: ['/opt/notion/cli.mjs'],
        env: { BASE_URL: 'https://x' },
        secrets: {
          A: { source: 'vault', name: 'notion' },
          B: { source: 'env', name: 'B' },
          C: { source: 'file', path: '/run/c' },
          D: { source: 'command', helper: 'gh' },
        },
        files: {},
        fds: {},
        hardening: 'full',
        package: null,
        runAs: null,
        lifecycle: 'session',
        era: 'auto',
        startTimeoutMs: 500,
        callTimeoutMs: 3_600_000,
        toolTimeouts: [],
        idleTimeoutMs: limits.upstreamIdleMs,
        maxChildren: limits.childrenPerUpstream,
      },
    );
    assert.equal(config.upstreams.get('off')?.lifecycle, 'disabled');
    assert.deepEqual(config.profiles.get('default')?.rules, [
      { effect: 'allow', upstream: 'notion', tools: ['API-get-*'], prompts: ['p'], resources: ['file:///*'] },
      { effect: 'deny', upstream: '*' },
    ]);
    assert.deepEqual(config.agent.env, ['ANTHROPIC_API_KEY', 'CLAUDE_CODE_*']);
  });

  it('of helpers with a format are what the file says', () => {
    const { helpers, upstreams } = parse(
      'helpers:',
      '  a: { command: [/bin/a], format: aws, ttl: 15m }',
      '  d: { command: [/bin/d, get], format: docker, registry: "https://index.docker.io/v1/" }',
      '  g: { command: [/usr/bin/git, credential, fill], format: git, url: "https://me@git.example/a%20b" }',
      '  j: { command: [/bin/j], format: json }',
      '  k: { command: [/bin/k], format: exec-credential }',
      '  l: { command: [/bin/k], format: exec-credential, server: "https://10.0.0.1:6443" }',
      'upstreams:',
      '  n:',
      '    command: node',
      '    secrets: { A: command:a#SecretAccessKey, D: command:d, G: command:g#username, J: command:j#x.y-z }',
    );
    const asks = Object.fromEntries([...helpers].map(([name, { ask }]) => [name, ask]));
    assert.deepEqual(asks, {
      a: { format: 'aws' },
      d: { format: 'docker', registry: 'https://index.docker.io/v1/' },
      g: { format: 'git', url: 'https://me@git.example/a%20b' },
      j: { format: 'json' },
      k: { format: 'exec-credential', server: null },
      l: { format: 'exec-credential', server: 'https://10.0.0.1:6443' },
    });
    assert.equal(helpers.get('a')?.ttlMs, 15 * 60_000);
    const refs = { ...upstreams.get('n')?.secrets };
    const texts = Object.values(refs).map(formatCredentialRef);
    assert.deepEqual(refs, {
      A: { source: 'command', helper: 'a', field: 'SecretAccessKey' },
      D: { source: 'command', helper: 'd' },
      G: { source: 'command', helper: 'g', field: 'username' },
      J: { source: 'command', helper: 'j', field: 'x.y-z' },
    });
    assert.deepEqual(texts, [
      'command:a#SecretAccessKey',
      'command:d',
      'command:g#username',
      'command:j#x.y-z',
    ]);
  });

  it('of an HTTP upstream are what the file says', () => {
    const linear = http(
      [
        'upstreams:',
        '  linear:',
        '    url: HTTPS://Mcp.Linear.App:443/a/../mcp?team=x',
        '    transport: sse',
        '    headers: { X-Region: "eu west", User-Agent: me/1 }',
        '    secrets: { X-Api-Key: vault:linear-key }',
        '    bearer: vault:linear',
        '    ca_file: /etc/corp.pem',
        '    lifecycle: shared',
        '    era: modern',
        '    start_timeout: 1s',
        '    call_timeout: 2s',
        '    idle_timeout: never',
        '    max_children: 3',
      ],
      'linear',
    );
    assert.deepEqual(
      {
        ...linear,
        headers: { ...linear.headers },
        secrets: { ...linear.secrets },
        templates: { ...linear.templates },
      },
      {
        name: 'linear',
        transport: 'sse',
        url: 'https://mcp.linear.app/mcp?team=x',
        caFile: '/etc/corp.pem',
        headers: { 'X-Region': 'eu west', 'User-Agent': 'me/1' },
        secrets: { 'X-Api-Key': { source: 'vault', name: 'linear-key' } },
        templates: {},
        bearer: { source: 'vault', name: 'linear' },
        basic: null,
        oauth: null,
        lifecycle: 'shared',
        era: 'modern',
        startTimeoutMs: 1000,
        callTimeoutMs: 2000,
        toolTimeouts: [],
        idleTimeoutMs: null,
        maxChildren: 3,
      },
    );
    const plain = http(['upstreams: {n: {url: "http://127.0.0.1:8080"}}'], 'n');
    assert.deepEqual(
      [plain.transport, plain.url, plain.bearer, plain.era, plain.caFile],
      ['http', 'http://127.0.0.1:8080/', null, 'auto', null],
    );
  });

  it('for the time of tools: exact names first, then the longest globs, then as in the file', () => {
    const { toolTimeouts } = stdio(
      [
        'upstreams:',
        '  n:',
        '    command: node',
        '    tool_timeouts: { "*": 1s, "b?*": 2s, a: 3s, "c?*": 4s, "longer_*": 5s, bc: 6s, constructor: 7s }',
      ],
      'n',
    );
    assert.deepEqual(
      toolTimeouts.map(({ glob, ms }) => [glob, ms]),
      [
        ['a', 3000],
        ['bc', 6000],
        ['constructor', 7000],
        ['longer_*', 5000],
        ['b?*', 2000],
        ['c?*', 4000],
        ['*', 1000],
      ],
    );
  });

  it('of limits are numbers and bytes', () => {
    assert.deepEqual(parse('limits: {sessions: 12, message_size: 512KiB}').limits, {
      sessions: 12,
      messageBytes: 524_288,
    });
    assert.deepEqual(parse().limits, { sessions: limits.sessions, messageBytes: limits.answerBytes });
  });

  it('name every credential of an upstream, and where it goes', () => {
    const config = parse(
      'upstreams:',
      '  a: {command: node, secrets: {TOKEN: vault:a}, files: {KEY: "file:/k"}, fds: {PASS_FD: vault:p}}',
      '  b: {url: "https://b.example/mcp", secrets: {X-Key: vault:b}, bearer: env:B}',
      '  c:',
      '    url: https://c.example/mcp',
      '    secrets: {X-Key: {from: vault:c, template: "Token {}"}}',
      '    basic: {username: robot, password: vault:d}',
      '  d: {url: "https://d.example/mcp", basic: {key: vault:e}}',
    );
    const vault = (name: string) => ({ source: 'vault', name });
    assert.deepEqual([...config.upstreams.values()].flatMap(placementsOf), [
      { into: 'TOKEN', ref: vault('a'), as: 'value' },
      { into: 'KEY', ref: { source: 'file', path: '/k' }, as: 'file' },
      { into: 'PASS_FD', ref: vault('p'), as: 'descriptor' },
      { into: 'X-Key', ref: vault('b'), as: 'value' },
      { into: 'Authorization', ref: { source: 'env', name: 'B' }, as: 'bearer' },
      { into: 'X-Key', ref: vault('c'), as: 'template' },
      { into: 'Authorization', ref: vault('d'), as: 'basic' },
      { into: 'Authorization', ref: vault('e'), as: 'basic-user' },
    ]);
    assert.equal(credentialRefs(config).length, 8);
    const c = config.upstreams.get('c');
    assert(c !== undefined && c.transport !== 'stdio');
    assert.deepEqual({ ...c.templates }, { 'X-Key': 'Token {}' });
    assert.equal(c.basic?.username, 'robot');
    assert(Object.isFrozen(c.templates) && Object.isFrozen(c.basic));
  });

  it('have the defaults of limits.ts', () => {
    const upstream = parse('upstreams: {n: {command: /bin/n}}').upstreams.get('n');
    assert.equal(upstream?.startTimeoutMs, limits.upstreamStartMs);
    assert.equal(upstream?.callTimeoutMs, limits.upstreamCallMs);
    assert.equal(
      parse('helpers: {h: {command: [/bin/h]}}').helpers.get('h')?.timeoutMs,
      limits.helperTimeoutMs,
    );
  });

  it('I1 are never interpolated', () => {
    const texts = [
      '${HOME}',
      '$HOME',
      '$(id)',
      '`id`',
      '~/x',
      '%HOME%',
      '{{ env "HOME" }}',
      '!ENV HOME',
      '*HOME',
    ];
    const text = [
      `upstreams: {n: {command: "/bin/\${HOME}", args: ${JSON.stringify(texts)}, env: {A: "\${PATH}"}, secrets: {B: "file:/run/\${USER}"}}}`,
    ];
    const upstream = stdio(text, 'n');
    assert.equal(upstream.command, '/bin/${HOME}');
    assert.deepEqual(upstream.args, texts);
    assert.equal(upstream.env.A, '${PATH}');
    assert.deepEqual(upstream.secrets.B, { source: 'file', path: '/run/${USER}' });
  });

  it('C1 know no special names', () => {
    const upstream = stdio(
      [
        'upstreams:',
        '  constructor: {command: /bin/n, env: {__proto__: x, constructor: y}, secrets: {toString: vault:x}}',
      ],
      'constructor',
    );
    assert.deepEqual(Object.entries(upstream.env), [
      ['__proto__', 'x'],
      ['constructor', 'y'],
    ]);
    assert.deepEqual(Object.keys(upstream.secrets), ['toString']);
    assert.equal(upstream.secrets.constructor, undefined);
    assert.throws(
      () => parse('__proto__: {listen: {port: 1}}'),
      /__proto__: expected one of version, .* got an unknown key/,
    );
  });

  it('are frozen through and through', () => {
    const config = parse(
      'helpers: {h: {command: [/bin/h], env: {A: x}}}',
      'upstreams: {n: {command: /bin/n, args: [a], env: {A: x}, secrets: {B: command:h}, tool_timeouts: {t: 1s}}, w: {url: "https://w/", headers: {A: x}, bearer: vault:w}}',
      'profiles: {default: {rules: [{allow: n, tools: [t], prompts: [p], resources: [r]}]}}',
    );
    const visit = (value: unknown): void => {
      if (typeof value !== 'object' || value === null) return;
      assert(Object.isFrozen(value));
      for (const each of value instanceof Map ? value.values() : Object.values(value)) visit(each);
    };
    visit(config);
    for (const map of [config.upstreams, config.helpers, config.profiles] as unknown as Map<
      string,
      unknown
    >[]) {
      assert.throws(() => map.set('x', {}), TypeError);
      assert.throws(() => map.delete('n'), TypeError);
      assert.throws(() => map.clear(), TypeError);
      assert(map.size > 0);
    }
  });
});

describe('durations', () => {
  it('have four units and end at a day', () => {
    assert.deepEqual(
      ['1ms', '30s', '10m', '24h', '86400000ms', '86400001ms', '25h', '0s', '01s', '1', 's', '1 s', '1S'].map(
        parseDuration,
      ),
      [1, 30_000, 600_000, 86_400_000, 86_400_000, null, null, null, null, null, null, null, null],
    );
  });
});

describe('sizes', () => {
  it('have two units and bounds', () => {
    assert.deepEqual(
      ['64KiB', '63KiB', '1MiB', '64MiB', '65MiB', '0MiB', '1GiB', '1', '1kb', '1 MiB', '01MiB'].map(
        parseSize,
      ),
      [65_536, null, 1_048_576, 67_108_864, null, null, null, null, null, null, null],
    );
  });
});

describe('suggestions', () => {
  it('forgive slips and styles, and nothing else', () => {
    const names = ['start_timeout', 'call_timeout', 'env', 'secrets'];
    assert.equal(nearest('startTimeout', names), 'start_timeout');
    assert.equal(nearest('secrest', names), 'secrets');
    assert.equal(nearest('secret', names), 'secrets');
    assert.equal(nearest('ENV', names), 'env');
    assert.equal(nearest('url', names), null);
    assert.equal(nearest('s'.repeat(10_000), names), null);
  });
});

describe('any text', () => {
  it('C1 is a configuration or a ConfigError', () => {
    const words = [
      'version',
      'upstreams',
      'secrets',
      'env',
      'url',
      'n',
      ': ',
      ':',
      '\n',
      '  ',
      '- ',
      '{',
      '}',
      '[',
      ']',
      ',',
      '"',
      "'",
    ];
    const more = [
      '&a',
      '*a',
      '!!map',
      '|',
      '>',
      '?',
      '#',
      '%',
      '---',
      '...',
      '\t',
      '\r',
      '<<',
      '1',
      '~',
      '\u0000',
      'é',
      '\u2028',
    ];
    const text = fc
      .array(fc.constantFrom(...words, ...more), { maxLength: 60 })
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(text, (each) => {
        try {
          parseConfig(each, 'c.yaml');
        } catch (error) {
          assert(error instanceof ConfigError, String(error));
          for (const { place, message } of error.problems) {
            assert(Number.isInteger(place.line) && Number.isInteger(place.column));
            assert.match(message, /^expected .+, got .+$/);
          }
        }
      }),
      { numRuns: 5_000 },
    );
  });
});
