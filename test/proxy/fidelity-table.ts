/**
 * Odd but legal messages, which a relay has to leave as they are. Data only: `fidelity.test.ts` plays both ends.
 *
 * `@name@` stands for an id or token: the side that says it first writes the bytes of `names`, the other side hears some
 * id in its place, and whoever says it again writes what it heard or said.
 */
export interface Step {
  readonly from: 'client' | 'server';
  /** Whole messages, said in one write. */
  readonly says: readonly string[];
  /** What arrives at the other end, where that is not the same bytes. */
  readonly arrives?: readonly string[];
}

export interface Row {
  readonly name: string;
  readonly names: Readonly<Record<string, string>>;
  readonly steps: readonly Step[];
  /** Begins before `initialize`. */
  readonly opens?: true;
  /** The server makes more of an id than its bytes. */
  readonly ownIds?: true;
  /** A message holds line breaks, which only HTTP lets through. */
  readonly multiline?: true;
}

const client = (...says: string[]): Step => ({ from: 'client', says });
const server = (...says: string[]): Step => ({ from: 'server', says });

const call = (name = 'x', args = '{}', id = '@a@'): string =>
  `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"${name}","arguments":${args}}}`;
const request = (method: string, params: string): string =>
  `{"jsonrpc":"2.0","id":@a@,"method":"${method}","params":${params}}`;
const result = (value: string, id = '@a@'): string => `{"jsonrpc":"2.0","id":${id},"result":${value}}`;
const error = (value: string, id = '@a@'): string => `{"jsonrpc":"2.0","id":${id},"error":${value}}`;
const notice = (method: string, params: string): string =>
  `{"jsonrpc":"2.0","method":"${method}","params":${params}}`;
const text = (value: string): string => `{"content":[{"type":"text","text":${value}}]}`;

const row = (name: string, ...steps: Step[]): Row => ({ name, names: { a: '1' }, steps });

/** A call whose arguments hold `value`, and its answer, which holds it too. */
const both = (name: string, value: string): Row =>
  row(
    name,
    client(call('x', `{"value":${value}}`)),
    server(result(`{"content":[],"structuredContent":${value}}`)),
  );

/** Ids and tokens that are the same for JSON and that a careless program changes or confuses. */
const ids: Readonly<Record<string, string>> = {
  'a number': '7',
  zero: '0',
  negative: '-1',
  'negative zero': '-0',
  'a fraction': '1.5',
  'an integer with a fraction': '1.0',
  'an exponent': '1E2',
  'beyond 2^53': '9007199254740993',
  'of twenty digits': '12345678901234567890',
  'a word': '"abc"',
  'the empty string': '""',
  'digits in a string': '"1"',
  'an escaped letter': '"\\u0041"',
  'an escaped slash and quote': '"\\/\\""',
  'control characters': '"\\u0000\\n\\t"',
  Unicode: '"é😀שלום"',
  'escaped surrogates': '"\\ud83d\\ude00"',
  'half of a surrogate pair': '"\\ud83d"',
  __proto__: '"__proto__"',
  'a name of Object': '"constructor"',
  'what looks like JSON': '"{\\"id\\":1}"',
  'of 200 characters': `"${'long id '.repeat(25)}"`,
};

const progress = (token: string, rest: string): string =>
  `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":${token},${rest}}}`;

const idRows = Object.entries(ids).flatMap(([name, id]): Row[] => [
  {
    name: `a request with an id: ${name}`,
    names: { a: id },
    steps: [client(call()), server(result(text('"by id"')))],
  },
  {
    name: `an error for an id: ${name}`,
    names: { a: id },
    steps: [client(call()), server(error('{"code":-32000,"message":"no"}'))],
  },
  {
    name: `a request of the server with an id: ${name}`,
    names: { q: id },
    steps: [
      server('{"jsonrpc":"2.0","id":@q@,"method":"roots/list"}'),
      client('{"jsonrpc":"2.0","id":@q@,"result":{"roots":[]}}'),
    ],
  },
  {
    name: `progress with a token: ${name}`,
    names: { a: '1', t: id },
    steps: [
      client(request('tools/call', '{"name":"x","_meta":{"progressToken":@t@}}')),
      server(progress('@t@', '"progress":1')),
      server(result('{}')),
    ],
  },
]);

const odd = {
  numbers:
    '[12345678901234567890,-9007199254740993,1e400,-1e400,1e-400,-0,-0.0,1.0,1E2,1e+2,0.1e1,3.141592653589793238462643]',
  empty: '[{},[],"",null,false,0,[[]],[{}],{"":{}},{"":""}]',
  strings:
    '["\\ud83d\\ude00","\\ud83d","\\ude00\\ud83d","\\u0000","\\u001b[31m","\\/","\\u00e9","\u00e9","e\u0301","\\u2028","\u2028\u2029",' +
    '"\u007f","\ufeff","\u05e9\u05dc\u05d5\u05dd","\u202eabc\u202c","\u{1f469}\u200d\u{1f467}","\ufb03","\u0130\u0131\u017f\u212a"]',
  keys: '{"zeta":1,"10":1,"alpha":2,"2":2,"1":3,"\\u0061lpha2":4,"\u00e9":5,"e\u0301":6,"a b":7,"\\ud800":8,"":9}',
  proto:
    '{"__proto__":{"admin":true},"constructor":{"prototype":{"x":1}},"toString":"x","hasOwnProperty":null,"__defineGetter__":[]}',
  spaces: '{ "a" :\t[ 1 ,2 ,  3 ] , "b"\t: { } ,"c": [ ],"d":"in  side" }',
};

const deep = (levels: number): string => `${'['.repeat(levels)}1${']'.repeat(levels)}`;
const huge = `"${'0123456789abcdef '.repeat((5 * 1024 * 1024) / 17)}"`;

/** Every keyword of JSON Schema that relays were seen to drop, and some that no draft has. */
const schema =
  '{"$schema":"https://json-schema.org/draft/2020-12/schema","$id":"x:y","$defs":{"n":{"type":["integer","null"],"maximum":12345678901234567890}},' +
  '"type":"object","properties":{"__proto__":{"$ref":"#/$defs/n"},"text":{"type":"string","x-mcp-header":"Text","enum":["a",null,1.0]},"b":true,"c":{}},' +
  '"required":[],"patternProperties":{"^\\\\d+$":false},"if":{},"then":{},"else":{"not":{}},"unevaluatedProperties":false,"propertyNames":{"pattern":"\\u0041"},' +
  '"dependentRequired":{"b":["c"]},"contentEncoding":"base64","vendorKeyword":{"deep":[[]]},"examples":[1E2],"default":-0}';

export const rows: readonly Row[] = [
  ...idRows,

  {
    name: 'initialize with unknown fields and capabilities on both sides',
    names: { a: '"init"' },
    opens: true,
    steps: [
      client(
        '{"vendor":1,"jsonrpc":"2.0","id":@a@,"method":"initialize","params":{"protocolVersion":"2025-11-25","vendor":{"x":[1.0]},"capabilities":{"roots":{"listChanged":true,"odd":null},"experimental":{"x/y":{}},"x-acme":{}},"clientInfo":{"name":"n","version":"1","title":"t","icons":[{"src":"x:","sizes":["any"]}],"vendor":true},"_meta":{"a/b":{}}}}',
      ),
      server(
        '{"result":{"instructions":"\\u00e9\\n","protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true,"vendorFlag":12345678901234567890},"x-acme":{"deep":[null]},"experimental":{},"extensions":{"io.x/y":{}}},"serverInfo":{"version":"1.0","name":"","websiteUrl":"x:","vendor":[]},"_meta":{"k":1E2},"vendor":-0},"vendor":{},"id":@a@,"jsonrpc":"2.0"}',
      ),
      client('{"jsonrpc":"2.0","method":"notifications/initialized","vendor":1,"params":{"_meta":{"x":1}}}'),
    ],
  },
  {
    name: 'a server that speaks before it has answered initialize, and right after',
    names: { a: '1' },
    opens: true,
    steps: [
      client(
        '{"jsonrpc":"2.0","id":@a@,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"n","version":"1"}}}',
      ),
      server(
        notice('notifications/message', '{"level":"info","data":"early"}'),
        result('{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"s","version":"1"}}'),
        notice('notifications/tools/list_changed', '{}'),
      ),
      client('{"jsonrpc":"2.0","method":"notifications/initialized"}'),
    ],
  },
  {
    name: 'initialize that fails, with an error of many fields',
    names: { a: '1' },
    opens: true,
    steps: [
      client(
        '{"jsonrpc":"2.0","id":@a@,"method":"initialize","params":{"protocolVersion":"1999-01-01","capabilities":{},"clientInfo":{"name":"n","version":"1"}}}',
      ),
      server(
        error('{"code":-32602,"message":"Unsupported","data":{"supported":["2025-11-25"],"x":1.0},"y":null}'),
      ),
    ],
  },

  row(
    'unknown fields everywhere',
    client(
      '{"vendor":{"a":[1]},"jsonrpc":"2.0","id":@a@,"method":"tools/call","params":{"vendor":true,"name":"x","arguments":{"unknown":{}},"task":{"ttl":1},"_meta":{"example.com/x":[{}],"":0}},"trace":"t"}',
    ),
    server(
      '{"jsonrpc":"2.0","id":@a@,"result":{"vendor":[{}],"resultType":"odd","content":[{"type":"text","text":"t","annotations":{"audience":["user"],"priority":1.0,"vendor":1},"_meta":{"k":null},"vendor":{}},{"type":"acme/block","data":[1]},{}],"structuredContent":{"a":1},"isError":false,"_meta":{"related-task":{},"a/b":1e2}},"vendor":{"id":"not the id","error":1}}',
    ),
  ),
  row(
    'an error with unknown fields everywhere',
    client(call()),
    server(
      '{"jsonrpc":"2.0","error":{"stack":"at x","code":-32042,"message":"","data":{"elicitations":[{"mode":"url","elicitationId":"e","url":"x:","vendor":1}],"vendor":{"n":12345678901234567890}},"vendor":null},"vendor":0,"id":@a@}',
    ),
  ),
  row(
    'an error whose code is no integer and whose data is null',
    client(call()),
    server(error('{"code":-32e3,"message":"m","data":null}')),
  ),
  row('a tool’s own failure', client(call()), server(result(`{"isError":true,"content":[]}`))),
  row(
    'a result beside an error of null',
    client(call()),
    server('{"jsonrpc":"2.0","id":@a@,"error":null,"result":{"x":1}}'),
  ),
  ...['null', '[]', '"text"', '0', 'false', '{}'].map((value) =>
    row(`a result that is ${value}`, client(request('acme/do', '{}')), server(result(value))),
  ),
  row('a request without params', client('{"jsonrpc":"2.0","id":@a@,"method":"ping"}'), server(result('{}'))),
  row(
    'the id last',
    client('{"method":"resources/templates/list","params":{},"jsonrpc":"2.0","id":@a@}'),
    server('{"result":{},"jsonrpc":"2.0","id":@a@}'),
  ),
  row(
    'ids below the top, before the id',
    client(
      '{"params":{"id":9,"method":"x","name":"x","arguments":{"id":"8","jsonrpc":"1"}},"jsonrpc":"2.0","method":"tools/call","id":@a@}',
    ),
    server('{"result":{"id":7,"result":{"id":6},"method":"m"},"jsonrpc":"2.0","id":@a@}'),
  ),

  both('numbers that JavaScript does not have', odd.numbers),
  both('what is empty', odd.empty),
  both('strings of all scripts and escapes', odd.strings),
  both('the order of keys', odd.keys),
  both('keys that are names in Object.prototype', odd.proto),
  both('white space', odd.spaces),
  both('deep nesting', deep(50)),
  both('a string of 5 MB', huge),
  both('ten thousand keys', `{${Array.from({ length: 10_000 }, (_, n) => `"k${n}":${n}`).join(',')}}`),
  both('a key of 100 kB', `{"${'key '.repeat(25_000)}":1}`),
  row('an answer nested deeper than a request may be', client(call()), server(result(deep(2_000)))),
  row(
    'a key twice in an answer',
    client(call()),
    server(result('{"a":1,"a":2,"content":[],"content":[{}]}')),
  ),
  row(
    'an answer of 5 MB in many small blocks',
    client(call()),
    server(
      result(
        `{"content":[${Array(40_000).fill('{"type":"text","text":"block","vendor":[{},1.0]}').join(',')}]}`,
      ),
    ),
  ),
  row(
    'white space around and between the members',
    client(' {\t"jsonrpc" : "2.0" , "id" : @a@ , "method" : "ping" } '),
    server('  { "jsonrpc" :\t"2.0", "id" : @a@ ,"result" : { } }\t'),
  ),
  row(
    'escapes in the keys of the envelope',
    client('{"jsonrpc":"2.0","id":@a@,"\\u006dethod":"ping"}'),
    server('{"jsonrpc":"2.0","\\u0069d":@a@,"r\\u0065sult":{}}'),
  ),
  {
    ...row('line breaks between the members, as in pretty-printed JSON'),
    steps: [
      {
        from: 'client',
        says: ['{\r\n  "jsonrpc": "2.0",\n  "id": @a@,\n  "method": "ping"\n}\n'],
        arrives: ['{    "jsonrpc": "2.0",   "id": @a@,   "method": "ping" } '],
      },
      server(result('{}')),
    ],
    multiline: true,
  },
  {
    ...row('an id that the server spells in its own way'),
    names: { a: '"\\u0041\\/"' },
    ownIds: true,
    steps: [client(call()), server('{"jsonrpc":"2.0","id":"A/","result":{}}')],
  },

  ...Object.entries({
    'tools/call': '{"name":"","arguments":{}}',
    'prompts/get': '{"name":"\\ud83d\\ude00 é","arguments":{"a":"1"},"vendor":1}',
    'resources/read': '{"uri":"acme+x://h/%20%2F?q=\\u00e9#f","vendor":1}',
    'resources/subscribe': '{"uri":"urn:x:y"}',
    'resources/unsubscribe': '{"uri":""}',
    'completion/complete':
      '{"ref":{"type":"ref/resource","uri":"x://{a}","vendor":1},"argument":{"name":"a","value":""},"context":{"arguments":{}}}',
    'logging/setLevel': '{"level":"odd","vendor":[]}',
    'tasks/get': '{"taskId":"\\u0000"}',
    'acme/ünï.do': '{"any":{"thing":[1.0]}}',
    constructor: '{}',
  }).map(([method, params]) =>
    row(`the method ${method}`, client(request(method, params)), server(result('{"x":1.0}'))),
  ),

  row(
    'tools with unknown fields and schema keywords',
    client(request('tools/list', '{"cursor":"","vendor":1}')),
    server(
      result(
        `{ "tools" : [ {"name":"a","vendor":{"x":1.0},"title":"","description":"\\u0041\\n","inputSchema":${schema},"outputSchema":${schema},"annotations":{"readOnlyHint":null,"vendor":1},"execution":{"taskSupport":"optional"},"icons":[],"_meta":{"k":[]}} ,{"inputSchema":{},"name":"\\u00e9\\ud83d\\ude00"} ] ,"nextCursor":"","ttlMs":1E3,"vendor":null}`,
      ),
    ),
  ),
  ...Object.entries({
    'tools/list': '{"tools":[]}',
    'prompts/list':
      '{"prompts":[{"name":"p","arguments":[{"name":"a","required":null,"vendor":1}],"vendor":{}}],"nextCursor":"é"}',
    'resources/list':
      '{"resources":[{"uri":"x:","name":"","size":12345678901234567890,"annotations":{"lastModified":"x"},"vendor":1}]}',
    'resources/templates/list':
      '{"resourceTemplates":[{"uriTemplate":"x://{+a}{?b*}","name":"n","vendor":1}]}',
  }).map(([method, value]) =>
    row(`the list ${method}`, client(request(method, '{}')), server(result(value))),
  ),
  row('a list without its member', client(request('tools/list', '{}')), server(result('{"vendor":1}'))),

  {
    name: 'progress and other notifications in one write with the answer',
    names: { a: '1', t: '"t"' },
    steps: [
      client(request('tools/call', '{"name":"x","_meta":{"progressToken":@t@,"x":1}}')),
      server(
        progress('@t@', '"progress":0.10,"total":1E2,"message":"\\u00e9","vendor":{}'),
        notice(
          'notifications/message',
          '{"level":"info","logger":"l","data":{"n":12345678901234567890},"vendor":1}',
        ),
        notice('notifications/acme/event', '{"any":[null]}'),
        '{"method":"notifications/tools/list_changed","jsonrpc":"2.0","vendor":1}',
        progress('@t@', '"progress":100'),
        result(text('"last"')),
      ),
    ],
  },
  row(
    'notifications one after the other before the answer',
    client(call()),
    server(notice('notifications/resources/updated', '{"uri":"x:","vendor":1}')),
    server(notice('notifications/acme/ünï', '{}')),
    server(notice('notifications/message', '{"level":"odd","data":null}')),
    server(result('{}')),
  ),
  row(
    'a hundred notifications in one write',
    client(call()),
    server(
      ...Array.from({ length: 100 }, (_, n) =>
        notice('notifications/message', `{"level":"info","data":${n}}`),
      ),
      result('{}'),
    ),
  ),
  row(
    'notifications without a request',
    server(notice('notifications/message', '{"level":"info","data":[1.0]}')),
    server('{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}'),
  ),
  row(
    'notifications of the client',
    client(notice('notifications/roots/list_changed', '{"vendor":1}')),
    client(notice('notifications/progress', '{"progressToken":"not ours","progress":0.50}')),
    client('{"vendor":1,"method":"notifications/acme/hello","jsonrpc":"2.0"}'),
  ),
  {
    name: 'answers in another order',
    names: { a: '1', b: '"1"', c: '-1' },
    steps: [
      client(call('a', '{}', '@a@')),
      client(call('b', '{}', '@b@')),
      client(call('c', '{}', '@c@')),
      server(result(text('"c"'), '@c@')),
      server(error('{"code":1,"message":"a"}', '@a@')),
      server(result(text('"b"'), '@b@')),
    ],
  },
  {
    name: 'answers in another order, in one write',
    names: { a: '1', b: '"1"', c: '1.5', d: '""' },
    steps: [
      ...['@a@', '@b@', '@c@', '@d@'].map((id) => client(call('x', '{}', id))),
      server(...['@c@', '@a@', '@d@', '@b@'].map((id, n) => result(text(`"${n}"`), id))),
    ],
  },
  {
    name: 'a cancel with unknown fields, crossed by the answer',
    names: { a: '"long"' },
    steps: [
      client(call()),
      client(
        '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":@a@,"reason":"\\u00e9","vendor":1.0}}',
      ),
      server(result('{"late":true}')),
    ],
  },

  ...Object.entries({
    'sampling/createMessage':
      '{"messages":[{"role":"user","content":{"type":"text","text":"\\ud83d\\ude00"},"vendor":1}],"maxTokens":1e3,"temperature":0.70,"metadata":{"n":12345678901234567890},"tools":[{"name":"t","inputSchema":{}}],"toolChoice":{"mode":"odd"}}',
    'elicitation/create':
      '{"mode":"form","message":"","requestedSchema":{"type":"object","properties":{"__proto__":{"type":"string","default":""}},"vendor":1}}',
    'roots/list': '{"_meta":{"x":1}}',
    ping: '{}',
    'acme/ask': '{"vendor":[1.0]}',
  }).flatMap(([method, params]): Row[] => [
    {
      name: `the server asks ${method}: a result with unknown fields`,
      names: { q: '"s-1"' },
      steps: [
        server(`{"jsonrpc":"2.0","vendor":1,"id":@q@,"method":"${method}","params":${params}}`),
        client(
          '{"jsonrpc":"2.0","vendor":[],"id":@q@,"result":{"action":"odd","content":{"__proto__":1.0,"n":12345678901234567890},"vendor":null,"_meta":{}}}',
        ),
      ],
    },
    {
      name: `the server asks ${method} during a call: an error with unknown fields`,
      names: { a: '1', q: '1' },
      steps: [
        client(call()),
        server(`{"jsonrpc":"2.0","method":"${method}","params":${params},"id":@q@}`),
        client('{"error":{"vendor":1,"code":-1,"message":"\\u00e9","data":[null]},"id":@q@,"jsonrpc":"2.0"}'),
        server(result('{}')),
      ],
    },
  ]),
  {
    name: 'several questions at once, answered in another order',
    names: { a: '1', q: '0', r: '"0"', s: '-1' },
    steps: [
      client(call()),
      server(...['@q@', '@r@', '@s@'].map((id) => `{"jsonrpc":"2.0","id":${id},"method":"ping"}`)),
      ...['@s@', '@q@', '@r@'].map((id) => client(`{"jsonrpc":"2.0","id":${id},"result":{}}`)),
      server(result('{}')),
    ],
  },
  {
    name: 'the server takes a question back',
    names: { q: '"s-2"' },
    steps: [
      server('{"jsonrpc":"2.0","id":@q@,"method":"elicitation/create","params":{}}'),
      server('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":@q@,"vendor":1}}'),
    ],
  },
];
