import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Policy, Rule } from '../../src/auth/policy.ts';
import type { Caller } from '../../src/auth/session.ts';
import { filterList } from '../../src/proxy/lists.ts';

const caller = { session: { profile: 'p' } } as unknown as Caller;

function filter(text: string, rules: readonly Rule[], method = 'tools/list'): string | null {
  const policy: Policy = new Map([['p', rules]]);
  return filterList(Buffer.from(text), method, policy, caller, 'u')?.toString() ?? null;
}

const all: Rule = { effect: 'allow', upstream: 'u' };
const some = (...tools: string[]): Rule => ({ effect: 'allow', upstream: 'u', tools });

test('what is allowed stays byte by byte, what is not is cut out', () => {
  const odd = '{ "name" : "a", "n":12345678901234567890, "x":1.0 }';
  const list = (...entries: string[]) =>
    `{"vendor":1.0,"result":{"z":[1 , 2],"tools":[${entries.join(',')}],"nextCursor":"c"},"id":1}`;
  const b = '{"name":"b"}';
  assert.equal(filter(list(odd, b), [some('a')]), list(odd));
  assert.equal(filter(list(b, odd), [some('a')]), list(odd));
  assert.equal(filter(list(b, odd, b), [some('a')]), list(odd));
  assert.equal(filter(list(b, b), [some('a')]), list());
  assert.equal(filter(list(), [some('a')]), list());
});

test('a list that nothing is kept from is the same buffer', () => {
  const bytes = Buffer.from('{"result":{"tools":[ {"name":"a"} , {"name":"b"} ]}}');
  const policy: Policy = new Map([['p', [all]]]);
  assert.equal(filterList(bytes, 'tools/list', policy, caller, 'u'), bytes);
  assert.equal(filterList(bytes, 'prompts/list', policy, caller, 'u'), bytes);
  assert.equal(filterList(bytes, 'tools/call', new Map(), caller, 'u'), bytes);
});

test('a part of a list is for nobody else: a public hint becomes private, and every other byte stays', () => {
  const list = (scope: string, ...entries: string[]) =>
    `{"result":{"ttlMs":1e3, "cacheScope" : ${scope} ,"tools":[${entries.join(',')}]},"id":1}`;
  const [a, b] = ['{"name":"a"}', '{"name":"b"}'];
  assert.equal(filter(list('"public"', a, b), [some('a')]), list('"private"', a));
  assert.equal(filter(list('"p\\u0075blic"', a, b), [some('a')]), list('"private"', a));
  assert.equal(filter(list('"public"', a), [some('a')]), list('"private"', a), 'another page may be cut');
  const behind = (scope: string, ...entries: string[]) =>
    `{"id":1,"result":{"tools":[${entries.join(',')}],"cacheScope":${scope}}}`;
  assert.equal(filter(behind('"public"', b, a), [some('a')]), behind('"private"', a));
  for (const scope of ['"private"', '"PUBLIC"', 'null', '1'])
    assert.equal(filter(list(scope, a, b), [some('a')]), list(scope, a), scope);
  assert.equal(filter(list('"public"', a, b), [all]), list('"public"', a, b));
  const none: Rule = { effect: 'deny', upstream: 'u', tools: ['z'] };
  assert.equal(filter(list('"public"', a), [all, none]), list('"private"', a));
  const elsewhere: Rule = { effect: 'allow', upstream: 'v', tools: ['z'] };
  assert.equal(filter(list('"public"', a), [all, elsewhere]), list('"public"', a));
});

test('what all of one profile may see and another may not is not for all', () => {
  const bytes = Buffer.from('{"result":{"cacheScope":"public","tools":[{"name":"a"}]}}');
  const policy: Policy = new Map([
    ['p', [all]],
    ['other', [some('b')]],
  ]);
  assert.match(filterList(bytes, 'tools/list', policy, caller, 'u')?.toString() ?? '', /"private"/);
});

test('each list is filtered by what its entries are used for', () => {
  const rules: Rule[] = [
    { effect: 'allow', upstream: 'u', tools: ['t'], prompts: ['p'], resources: ['x://r*'] },
  ];
  for (const [method, member, key, kept, cut] of [
    ['tools/list', 'tools', 'name', 't', 'p'],
    ['prompts/list', 'prompts', 'name', 'p', 't'],
    ['resources/list', 'resources', 'uri', 'x://r1', 'x://s'],
    ['resources/templates/list', 'resourceTemplates', 'uriTemplate', 'x://r{id}', 'x://{id}'],
  ] as const) {
    const entry = (name: string) => JSON.stringify({ [key]: name, other: 't' });
    const text = `{"result":{"${member}":[${entry(kept)},${entry(cut)}]}}`;
    assert.equal(filter(text, rules, method), `{"result":{"${member}":[${entry(kept)}]}}`, method);
  }
});

test('deny beats allow in lists too', () => {
  const rules: Rule[] = [all, { effect: 'deny', upstream: 'u', tools: ['*delete*'] }];
  assert.equal(
    filter('{"result":{"tools":[{"name":"delete_all"},{"name":"read"}]}}', rules),
    '{"result":{"tools":[{"name":"read"}]}}',
  );
});

test('G1 F2: an entry whose name cannot be read, or is written in escapes, hides nothing', () => {
  const denied: Rule[] = [some('a')];
  for (const entry of ['{}', '{"name":7}', '{"name":["a"]}', '{"Name":"a"}', '"a"', '7', 'null', '[]'])
    assert.equal(filter(`{"result":{"tools":[${entry}]}}`, denied), '{"result":{"tools":[]}}', entry);
  assert.equal(filter('{"result":{"tools":[{"name":"\\u0062"}]}}', denied), '{"result":{"tools":[]}}');
  assert.equal(filter('{"result":{"tools":[{"\\u006eame":"b"}]}}', denied), '{"result":{"tools":[]}}');
  // JSON.parse takes the last of two keys, and so do we.
  assert.equal(filter('{"result":{"tools":[{"name":"a","name":"b"}]}}', denied), '{"result":{"tools":[]}}');
  assert.equal(
    filter('{"result":{"tools":[]},"result":{"tools":[{"name":"b"}]}}', denied),
    '{"result":{"tools":[]},"result":{"tools":[]}}',
  );
});

test('a list that is none is not shown', () => {
  for (const tools of ['{}', '"text"', '7', 'null', '{"name":"b"}'])
    assert.equal(filter(`{"result":{"tools":${tools}}}`, [some('a')]), null, tools);
});

test('a filtered list is what filtering the parsed list gives', () => {
  const entry = fc.record({
    name: fc.constantFrom('a', 'b', 'ab', '"', '\\', 'é', ''),
    extra: fc.jsonValue(),
  });
  fc.assert(
    fc.property(fc.array(entry), fc.jsonValue(), fc.nat(3), (tools, meta, indent) => {
      const text = JSON.stringify({ jsonrpc: '2.0', id: 1, result: { _meta: meta, tools } }, null, indent);
      const kept = JSON.parse(filter(text, [some('a*')]) as string);
      const wanted = tools.filter(({ name }) => name.startsWith('a'));
      assert.deepEqual(
        kept,
        JSON.parse(JSON.stringify({ jsonrpc: '2.0', id: 1, result: { _meta: meta, tools: wanted } })),
      );
    }),
    { numRuns: 2_000 },
  );
});
