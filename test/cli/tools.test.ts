/** `list` and `call`: by hand, and judged like any agent. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Home } from '../e2e/home.ts';
import { fixtureServer } from '../support/servers.ts';

describe('list and call', () => {
  const home = new Home({ after });
  before(async () => {
    home.configure(
      { chatty: fixtureServer('chatty'), broken: { ...fixtureServer('chatty'), env: { CRASH: '1' } } },
      {
        profiles: {
          default: { rules: [{ allow: '*' }, { deny: 'chatty', tools: ['rug_*'] }] },
          narrow: { rules: [{ allow: 'chatty', tools: ['echo'] }] },
        },
      },
    );
    await home.up();
  });

  test('list one: name and first line of the description, without what is denied', async () => {
    const text = await home.ok(['list', 'chatty']);
    assert.match(text, /^chatty\/echo$/m);
    assert.doesNotMatch(text, /rug_pull/);
    assert.equal(await home.ok(['list', '--profile', 'narrow']), 'chatty/echo\n');
    const found = JSON.parse(await home.ok(['list', 'chatty', '--json'])) as { chatty: { name: string }[] };
    assert.ok(found.chatty.some(({ name }) => name === 'progress'));
  });

  test('list all: what works is shown, what does not is said', async () => {
    const { code, stdout, stderr } = await home.ostiary(['list']);
    assert.equal(code, 1);
    assert.match(stdout, /^chatty\/echo/m);
    assert.match(stderr, /^ostiary: broken: upstream broken exited .*3.*\n {2}try: /);
  });

  test('call: the result as JSON on stdout', async () => {
    const result = JSON.parse(await home.ok(['call', 'chatty', 'echo', '{"text":"héllo"}'])) as object;
    assert.deepEqual(result, { content: [{ type: 'text', text: 'héllo' }] });
    assert.deepEqual(JSON.parse(await home.ok(['call', 'chatty', 'echo'])), {
      content: [{ type: 'text', text: '' }],
    });
  });

  const wrong: [what: string, args: string[], code: number, message: RegExp][] = [
    [
      'arguments that are no JSON',
      ['chatty', 'echo', '{text'],
      2,
      /^ostiary: expected the arguments as a JSON object\n {2}try: /,
    ],
    [
      'arguments that are no object',
      ['chatty', 'echo', '[1]'],
      2,
      /^ostiary: expected the arguments as a JSON object\n/,
    ],
    [
      'an unknown upstream',
      ['chaty', 'echo'],
      2,
      /^ostiary: no upstream chaty in this profile; there are: chatty, broken\n/,
    ],
    ['an upstream of another profile', ['broken', 'echo', '--profile', 'narrow'], 2, /there are: chatty\n/],
    ['an unknown tool', ['chatty', 'ecko'], 1, /^ostiary: Unknown tool: ecko\n/],
    ['a denied tool', ['chatty', 'rug_pull'], 1, /^ostiary: denied by a rule \(default\/rule 2\)\n/],
    [
      'a tool that no rule allows',
      ['chatty', 'pid', '--profile', 'narrow'],
      1,
      /^ostiary: no rule allows it \(narrow\/no match\)\n/,
    ],
    [
      'an upstream that does not start',
      ['broken', 'echo'],
      1,
      /^ostiary: upstream broken exited with code 3/,
    ],
  ];
  for (const [what, args, code, message] of wrong)
    test(`call: ${what}`, async () => {
      const ended = await home.ostiary(['call', ...args]);
      assert.deepEqual([ended.code, ended.stdout], [code, '']);
      assert.match(ended.stderr, message);
    });

  test('an unknown profile', async () => {
    const ended = await home.ostiary(['list', '--profile', 'wide']);
    assert.match(ended.stderr, /^ostiary: no profile wide; there are: default, narrow\n/);
    assert.notEqual(ended.code, 0);
  });

  test('every one of them is in the audit log, as a session of its own', async () => {
    const labels = home.audit().flatMap(({ event, label }) => (event === 'session.opened' ? [label] : []));
    assert.ok(labels.includes('ostiary list') && labels.includes('ostiary call'));
    assert.deepEqual(JSON.parse(await home.ok(['session', 'list', '--json'])), [], 'none is left open');
    const tail = await home.ok(['audit', 'tail', '-n', '500']);
    assert.match(tail, /rug_pull/);
    await home.ok(['down']);
  });
});
