/** `ostiary upstream probe`, run as a user runs it, on servers that keep their secret and on servers that do not. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { fakeValue } from '../../src/cli/probe/fakes.ts';
import type { ProbeReport } from '../../src/cli/probe/probe.ts';
import { Home, type Result } from '../e2e/home.ts';
import { everythingServer, fixtureServer } from '../support/servers.ts';
import { json, legacy, result, serve } from '../upstreams/http-peer.ts';

const linux = process.platform === 'linux';

interface Probed extends Result {
  readonly report: ProbeReport;
  /** What the server says was called. */
  readonly called: string[];
  readonly home: Home;
}

/** The vault does not exist: whoever asked it for the real secret would fail. */
async function probe(t: TestContext, manners: string, ...flags: string[]): Promise<Probed> {
  const home = new Home(t);
  const log = join(home.scratch, 'called');
  home.configure({
    probed: {
      ...fixtureServer('probed'),
      env: { MANNERS: manners, CALLED: log },
      secrets: { SECRET: 'vault:real' },
    },
  });
  const ran = await home.ostiary(['upstream', 'probe', 'probed', '--json', ...flags]);
  const called = existsSync(log) ? readFileSync(log, 'utf8').trimEnd().split('\n') : [];
  return { ...ran, report: JSON.parse(ran.stdout) as ProbeReport, called, home };
}

describe('upstream probe', { concurrency: 2 }, () => {
  test('a server that keeps its secret: exit code 0, only what reads was called, nothing is left', async (t) => {
    const { code, stderr, report, called, home } = await probe(t, 'good');
    assert.deepEqual([code, stderr], [0, '']);
    assert.deepEqual([report.problem, report.surfaced], [null, []]);
    assert.deepEqual(report.skipped, ['deleting', 'deleting_more', 'says_true']);
    assert.ok(called.length === 9 && !called.some((one) => /^(?:deleting|says)/.test(one)));
    assert.equal(
      called.at(-1),
      'with_arguments {"url":"https://example.invalid/","kind":"a","count":3,"deep":{"list":["probe"]}}',
    );
    assert.deepEqual(home.remains(), []);
    assert.ok(!existsSync(join(home.directory, '.cached')), 'its HOME was not ours');
  });

  test('a server that gives it away: every place, with its form, exit code 1, and no value in the report', async (t) => {
    const { code, stdout, stderr, report, home } = await probe(t, 'bad');
    assert.equal(code, 1);
    assert.match(stderr, /^ostiary: the secret of probed surfaced in \d+ places\n/);
    const seen = new Set(
      report.surfaced.map(({ place, where, member, form }) => [place, where, member, form].join(' | ')),
    );
    const expected = [
      'message | answer to tools/call answer | result.content[1].text | base64',
      'message | answer to tools/call hex_name | a name in result.structuredContent | hex',
      'message | answer to tools/call hex_name | result.structuredContent.?[2J | plain',
      'message | answer to tools/call split | several texts | split over texts',
      'message | answer to tools/call failing | error.message | plain',
      'message | notification notifications/message during tools/call notifying | params.data | plain',
      'file | /cwd/cache.json |  | plain',
      'file | /home/.cached |  | plain',
      'file | /tmp/link |  | plain',
      ...(linux
        ? [
            'argv | node, which it started |  | plain',
            'environment | node, which it started | INHERITED | plain',
            'environment | node, which it started | GONE | plain',
          ]
        : []),
    ];
    assert.deepEqual(
      expected.filter((one) => !seen.has(one)),
      [],
      [...seen].join('\n'),
    );
    // It comes by a pipe of its own, so what was asked at that time is known roughly.
    assert.ok(report.surfaced.some(({ place }) => place === 'stderr'));
    assert.ok(report.surfaced.every(({ credential }) => credential === 'vault:real'));
    assert.doesNotMatch(stdout, /canary/);
    assert.deepEqual(home.remains(), []);
  });

  test('--tools: a glob keeps to what reads, a name does as it says', async (t) => {
    const [glob, name] = await Promise.all([
      probe(t, 'good', '--tools', 'd*'),
      probe(t, 'bad', '--tools', 'deleting'),
    ]);
    assert.deepEqual([glob.called, glob.report.skipped, glob.code], [[], ['deleting', 'deleting_more'], 0]);
    assert.deepEqual([name.called, name.report.skipped, name.code], [['deleting'], [], 1]);
    assert.equal(name.report.surfaced[0]?.where, 'answer to tools/call deleting');
  });

  test('a real server, as text: what its get-env shows is found, and files and descriptors are probed too', async (t) => {
    const home = new Home(t);
    home.configure(
      {
        everything: { ...everythingServer(), secrets: { GITHUB_TOKEN: 'command:never' } },
        placed: { ...fixtureServer('placed'), files: { IN_FILE: 'vault:f' }, fds: { IN_PIPE: 'vault:p' } },
      },
      { helpers: { never: { command: ['/nonexistent/helper'] } } },
    );
    const everything = await home.ostiary(['upstream', 'probe', 'everything', '--tools', 'get-env']);
    assert.equal(everything.code, 1);
    assert.match(
      everything.stdout,
      /^upstream {4}everything, with a fake value in GITHUB_TOKEN \(command:never\)\ncalled {6}get-env: ok\nsurfaced {4}command:never: answer to tools\/call get-env, at result\.content\[0\]\.text; plain\n$/,
    );
    const placed = await home.ostiary(['upstream', 'probe', 'placed', '--json', '--tools', 'leak']);
    const { surfaced } = JSON.parse(placed.stdout) as ProbeReport;
    assert.deepEqual(
      surfaced.map(({ credential, member, form }) => [credential, member, form]),
      [
        ['vault:f', 'result.content[0].text', 'plain'],
        ['vault:f', 'result.content[1].text', 'base64'],
        ['vault:p', 'result.content[2].text', 'plain'],
        ['vault:p', 'result.content[3].text', 'hex'],
      ],
    );
  });

  test('a server behind a URL: only after --yes; what Basic comes to is found', async (t) => {
    const server = await serve(
      t,
      legacy(({ headers, body }, response) => {
        const tools = [{ name: 'who', inputSchema: { type: 'object' }, annotations: { readOnlyHint: true } }];
        json(
          response,
          body.method === 'tools/list'
            ? result(body.id, { tools })
            : result(body.id, { content: [{ type: 'text', text: String(headers.authorization) }] }),
        );
      }),
    );
    const home = new Home(t);
    home.configure({ far: { url: server.url, basic: { username: 'robot', password: 'vault:far' } } });
    const refused = await home.ostiary(['upstream', 'probe', 'far']);
    assert.equal(refused.code, 2);
    assert.match(
      refused.stderr,
      /sends a fake credential to http:\/\/127\.0\.0\.1:\d+.*\n {2}try: ostiary upstream probe far --yes\n/,
    );
    assert.equal(server.requests.length, 0);
    const { code, stdout } = await home.ostiary(['upstream', 'probe', 'far', '--yes', '--json']);
    const { surfaced, called } = JSON.parse(stdout) as ProbeReport;
    assert.deepEqual([code, called], [1, [{ tool: 'who', outcome: 'ok' }]]);
    assert.deepEqual([surfaced[0]?.credential, surfaced[0]?.member], ['vault:far', 'result.content[0].text']);
  });

  test('what cannot be probed says why: exit codes 7 and 2', async (t) => {
    const home = new Home(t);
    home.configure({
      failing: { command: '/bin/false', secrets: { A: 'vault:a' } },
      missing: { command: '/nonexistent/server', secrets: { A: 'vault:a' } },
      plain: fixtureServer('probed'),
    });
    for (const [name, code, expected] of [
      [
        'failing',
        7,
        /^ostiary: upstream failing could not be probed: initialize: the upstream exited with code 1\n/,
      ],
      ['missing', 7, /^ostiary: upstream missing could not be probed: .*cannot start/],
      ['plain', 2, /is given no secret/],
      ['none', 2, /no upstream "none" is configured/],
    ] as const) {
      const ran = await home.ostiary(['upstream', 'probe', name]);
      assert.equal(ran.code, code, ran.stderr);
      assert.match(ran.stderr, expected);
    }
  });
});

test('fakes look like what they stand for, name themselves, and differ each time', () => {
  for (const [name, shape] of [
    ['GITHUB_PERSONAL_ACCESS_TOKEN', /^ghp_canary[a-z0-9]{30}$/],
    ['SLACK_BOT_TOKEN', /^xoxb-[0-9-]+canary[a-z0-9]+$/],
    ['AWS_ACCESS_KEY_ID', /^AKIACANARY[A-Z2-7]{10}$/],
    ['X-Api-Key', /^canary[a-z0-9]{32}$/],
  ] as const) {
    assert.match(fakeValue(name), shape);
    assert.notEqual(fakeValue(name), fakeValue(name));
  }
});
