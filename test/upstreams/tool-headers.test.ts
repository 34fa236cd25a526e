/** Headers that repeat a modern request's body: encoding, tool schemas, and checking a client's. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Scrubber } from '../../src/credentials/scrubber.ts';
import { Secret } from '../../src/credentials/secret.ts';
import { isRefusal } from '../../src/errors.ts';
import { limits } from '../../src/limits.ts';
import {
  decodeHeaderValue,
  encodeHeaderValue,
  expectedHeaders,
  mcpParamHeaders,
  mismatchedHeader,
  paramHeaders,
  ToolHeaders,
} from '../../src/upstreams/http/tool-headers.ts';
import { message, modern } from './http-peer.ts';

test('the encodings of the specification', () => {
  const table: [string, string][] = [
    ['us-west1', 'us-west1'],
    ['Hello, 世界', '=?base64?SGVsbG8sIOS4lueVjA==?='],
    [' padded ', '=?base64?IHBhZGRlZCA=?='],
    ['line1\nline2', '=?base64?bGluZTEKbGluZTI=?='],
    ['=?base64?literal?=', '=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?='],
  ];
  for (const [plain, encoded] of table) {
    assert.equal(encodeHeaderValue(plain), encoded);
    assert.equal(decodeHeaderValue(encoded), plain);
  }
});

test('every string survives, as visible ASCII', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const encoded = encodeHeaderValue(text);
      assert.match(encoded, /^[\x20-\x7e\t]*$/);
      assert.equal(encoded.trim(), encoded);
      assert.equal(decodeHeaderValue(encoded), text);
    }),
  );
});

test('what no encoder makes is no value', () => {
  for (const bad of [
    '=?base64?!!!?=',
    '=?base64?YQ?=',
    '=?base64?/w==?=',
    '=?base64?=',
    ' a',
    'a\n',
    'é',
    '=?base64?YR=\n=?=',
  ])
    assert.equal(decodeHeaderValue(bad), null, bad);
  assert.equal(decodeHeaderValue('=?BASE64?YQ==?='), '=?BASE64?YQ==?=', 'the markers are case-sensitive');
});

const annotated = (name: unknown, more: object = { type: 'string' }) => ({ ...more, 'x-mcp-header': name });
const schemaOf = (properties: object) => ({ type: 'object', properties });

test('annotations are found along properties, nested ones too', () => {
  const schema = schemaOf({
    region: annotated('Region'),
    place: schemaOf({ row: annotated('Row', { type: 'integer' }), 'x-mcp-header': { type: 'string' } }),
    plain: { type: 'string' },
  });
  assert.deepEqual(
    paramHeaders(schema)
      ?.map(({ header, path }) => [header, path.join('.')])
      .sort(),
    [
      ['Mcp-Param-Region', 'region'],
      ['Mcp-Param-Row', 'place.row'],
    ],
  );
  const values: [unknown, Record<string, string>][] = [
    [
      { region: 'eu', place: { row: 7 } },
      { 'Mcp-Param-Region': 'eu', 'Mcp-Param-Row': '7' },
    ],
    [
      { region: '', place: { row: -7 } },
      { 'Mcp-Param-Region': '', 'Mcp-Param-Row': '-7' },
    ],
    [{ region: null, place: null }, {}],
    [{ region: ['a'], place: { row: 1.5 } }, {}],
    [{ place: { row: 2 ** 53 } }, {}],
    [undefined, {}],
    [Object.create({ region: 'inherited' }), {}],
  ];
  for (const [args, expected] of values) assert.deepEqual(mcpParamHeaders(schema, args), expected);
  assert.deepEqual(
    mcpParamHeaders(schemaOf({ dry: annotated('Dry', { type: 'boolean' }) }), { dry: false }),
    {
      'Mcp-Param-Dry': 'false',
    },
  );
});

test('a tool with annotations that are not allowed has no headers, and is told apart', () => {
  const bad: object[] = [
    schemaOf({ a: annotated('') }),
    schemaOf({ a: annotated('a b') }),
    schemaOf({ a: annotated('a\r\nX: 1') }),
    schemaOf({ a: annotated(1) }),
    schemaOf({ a: annotated('A'), b: annotated('a') }),
    schemaOf({ a: annotated('A', { type: 'number' }) }),
    schemaOf({ a: annotated('A', { type: 'array' }) }),
    schemaOf({ a: annotated('A', {}) }),
    schemaOf({ a: { type: 'array', items: annotated('A') } }),
    schemaOf({ a: { anyOf: [annotated('A')] } }),
    { ...schemaOf({}), $defs: { a: annotated('A') } },
    { oneOf: [schemaOf({ a: annotated('A') })] },
    { ...schemaOf({}), 'x-mcp-header': 'Root' },
    schemaOf(
      Object.fromEntries(
        Array.from({ length: limits.headersPerTool + 1 }, (_, i) => [`p${i}`, annotated(`H${i}`)]),
      ),
    ),
  ];
  for (const schema of bad) assert.equal(paramHeaders(schema), null, JSON.stringify(schema).slice(0, 200));
  for (const schema of [undefined, null, 1, [], 'x', {}, schemaOf([])])
    assert.deepEqual(paramHeaders(schema), []);
  let deep: object = annotated('Deep');
  for (let level = 0; level < 20_000; level++) deep = schemaOf({ a: deep });
  assert.equal(paramHeaders(deep), null);
});

const list = (...tools: object[]) =>
  Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: 1, result: { tools } }));
const tool = (name: string, properties: object) => ({ name, inputSchema: schemaOf(properties) });

test('tools are learned page by page, and anew when they change', () => {
  const tools = new ToolHeaders();
  const headersOf = (name: string) => tools.of(name).map(({ header }) => header);
  assert.equal(tools.learn(list(tool('plain', { a: { type: 'string' } }))), 0);
  tools.learn(list(tool('one', { a: annotated('A') })));
  tools.learn(list(tool('two', { a: annotated('B') })));
  assert.deepEqual([headersOf('one'), headersOf('two')], [['Mcp-Param-A'], ['Mcp-Param-B']]);
  assert.equal(
    tools.learn(list(tool('one', { a: annotated('C') }), tool('two', { a: annotated('bad name') }))),
    1,
  );
  assert.deepEqual([headersOf('one'), headersOf('two')], [['Mcp-Param-C'], []]);
  tools.learn(list(tool('one', {})));
  assert.deepEqual(headersOf('one'), []);
});

test('F4 what is no list teaches nothing, and endless lists teach only so much', () => {
  const tools = new ToolHeaders();
  const texts = [
    '',
    '{}',
    '[]',
    '{"result":"x-mcp-header"}',
    '{"result":{"tools":"x-mcp-header"}}',
    '{"result":{"tools":["x-mcp-header",1,null,{"name":1}]}}',
    '{"method":"m","result":{"tools":[{"name":"t","inputSchema":{"x-mcp-header":1}}]}}',
  ];
  for (const text of texts) assert.equal(tools.learn(Buffer.from(text)), 0, text);
  assert.equal(
    tools.learn(Buffer.from('{"result":{"tools":[{"name":"t","inputSchema":{"x-mcp-header":"a",}}]}}')),
    1,
  );
  const many = Array.from({ length: limits.toolsWithHeaders + 5 }, (_, i) =>
    tool(`t${i}`, { a: annotated('A') }),
  );
  tools.learn(list(...many));
  assert.equal(tools.of(`t${limits.toolsWithHeaders - 1}`).length, 1);
  assert.equal(tools.of(`t${limits.toolsWithHeaders}`).length, 0);
});

const request = (method: string, params: Record<string, unknown>) =>
  message({ id: 1, method, params: modern(params) });

test('the headers that a message goes out with', () => {
  const tools = new ToolHeaders();
  tools.learn(list(tool('query', { region: annotated('Region') })));
  const base = { 'MCP-Protocol-Version': '2026-07-28' };
  const cases: [string, Record<string, unknown>, Record<string, string>][] = [
    ['tools/list', {}, {}],
    [
      'tools/call',
      { name: 'query', arguments: { region: 'ü' } },
      { 'Mcp-Name': 'query', 'Mcp-Param-Region': '=?base64?w7w=?=' },
    ],
    ['tools/call', { name: 'other', arguments: { region: 'ü' } }, { 'Mcp-Name': 'other' }],
    ['prompts/get', { name: 'p' }, { 'Mcp-Name': 'p' }],
    ['resources/read', { uri: 'file:///a b' }, { 'Mcp-Name': 'file:///a b' }],
    ['tasks/get', { taskId: 't' }, { 'Mcp-Name': 't' }],
    ['constructor', { name: 'x' }, {}],
  ];
  for (const [method, params, expected] of cases)
    assert.deepEqual(expectedHeaders(request(method, params), tools), {
      ...base,
      'Mcp-Method': method,
      ...expected,
    });
  for (const method of ['', 'a\r\nb', 'ü', ' a'])
    assert.ok(isRefusal(expectedHeaders(request(method, {}), tools)), JSON.stringify(method));
  const name = 'x'.repeat(limits.toolHeaderBytes + 1);
  assert.ok(isRefusal(expectedHeaders(request('tools/call', { name }), tools)));
});

test('a client’s headers are checked against its body', () => {
  const tools = new ToolHeaders();
  tools.learn(
    list(tool('query', { region: annotated('Region'), rows: annotated('Rows', { type: 'integer' }) })),
  );
  const call = request('tools/call', { name: 'query', arguments: { region: 'eu', rows: 42 } });
  const right: Record<string, string> = {
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': 'tools/call',
    'mcp-name': 'query',
    'mcp-param-region': 'eu',
    'mcp-param-rows': '42',
  };
  const check = (changes: Record<string, string | undefined>) =>
    mismatchedHeader(call, tools, { ...right, ...changes });
  assert.equal(check({}), null);
  assert.equal(check({ 'mcp-name': '=?base64?cXVlcnk=?=', 'mcp-param-rows': '42.0' }), null);
  assert.equal(check({ 'mcp-param-unknown': 'x' }), null, 'unknown ones are not ours to judge');
  const wrong: [Record<string, string | undefined>, string][] = [
    [{ 'mcp-protocol-version': '2025-11-25' }, 'MCP-Protocol-Version'],
    [{ 'mcp-method': undefined }, 'Mcp-Method'],
    [{ 'mcp-method': 'Tools/Call' }, 'Mcp-Method'],
    [{ 'mcp-method': '=?base64?dG9vbHMvY2FsbA==?=' }, 'Mcp-Method'],
    [{ 'mcp-name': 'Query' }, 'Mcp-Name'],
    [{ 'mcp-name': '=?base64?!?=' }, 'Mcp-Name'],
    [{ 'mcp-param-region': undefined }, 'Mcp-Param-Region'],
    [{ 'mcp-param-region': 'us' }, 'Mcp-Param-Region'],
    [{ 'mcp-param-rows': '0x2a' }, 'Mcp-Param-Rows'],
    [{ 'mcp-param-rows': '43' }, 'Mcp-Param-Rows'],
  ];
  for (const [changes, header] of wrong) assert.equal(check(changes), header, JSON.stringify(changes));
});

test('what goes out passes the check', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary', maxLength: 200 }),
      fc.maxSafeInteger(),
      fc.string(),
      (region, rows, name) => {
        const tools = new ToolHeaders();
        tools.learn(
          list(tool(name, { region: annotated('Region'), rows: annotated('Rows', { type: 'integer' }) })),
        );
        const call = request('tools/call', { name, arguments: { region, rows } });
        const headers = expectedHeaders(call, tools);
        assert.ok(!isRefusal(headers));
        const given = Object.fromEntries(
          Object.entries(headers).map(([key, value]) => [key.toLowerCase(), value]),
        );
        assert.equal(mismatchedHeader(call, tools, given), null);
      },
    ),
  );
});

test('D6 the name of a header that a client lacks never shows a secret', () => {
  const scrubber = new Scrubber();
  scrubber.add(Secret.seal('vault:x', Buffer.from('token-0123456789')));
  const list = (header: string): Buffer => {
    const inputSchema = { type: 'object', properties: { a: { type: 'string', 'x-mcp-header': header } } };
    return Buffer.from(
      JSON.stringify({ jsonrpc: '2.0', id: 1, result: { tools: [{ name: 't', inputSchema }] } }),
    );
  };
  const call = message({ id: 1, method: 'tools/call', params: modern({ name: 't', arguments: { a: 'v' } }) });
  const given = { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 't' };
  for (const [header, missing] of [
    ['Region', 'Mcp-Param-Region'],
    ['token-0123456789', null],
  ] as const) {
    const tools = new ToolHeaders(scrubber);
    tools.learn(list(header));
    assert.equal(mismatchedHeader(call, tools, given), missing);
  }
});
