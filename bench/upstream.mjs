/**
 * The server behind every target: newline JSON over stdio, no dependencies, as fast as Node lets it be, so that what is
 * measured is the proxy. Tools: echo {text}, big {bytes}, progress {n}; 1,000 of them are listed, or as many as `cursor`
 * says. Like most servers it promises to say when its list changes.
 */
const tool = (_, i) => ({
  name: ['echo', 'big', 'progress'][i] ?? `tool_${i}`,
  description: `Reads item ${i} of the collection and returns the fields that were asked for as text.`,
  inputSchema: {
    type: 'object',
    properties: {
      text: { type: 'string', description: 'Text to return' },
      bytes: { type: 'integer', minimum: 0 },
      n: { type: 'integer', minimum: 0 },
    },
  },
});
const lists = new Map();

function listed(count) {
  if (!lists.has(count)) lists.set(count, Array.from({ length: count }, tool));
  return lists.get(count);
}

const text = (value) => ({ content: [{ type: 'text', text: value }] });
const big = new Map();

function bigText(bytes) {
  if (!big.has(bytes)) big.set(bytes, 'lorem ipsum '.repeat(Math.ceil(bytes / 12)).slice(0, bytes));
  return big.get(bytes);
}

function progress(id, token, n) {
  let lines = '';
  for (let i = 1; i <= n; i++) {
    lines += `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":${JSON.stringify(token)},"progress":${i},"total":${n}}}\n`;
  }
  return `${lines}${respond(id, text('done'))}`;
}

const respond = (id, result) => `${JSON.stringify({ jsonrpc: '2.0', id, result })}\n`;

function answer({ id, method, params }) {
  if (id === undefined || method === undefined) return '';
  switch (method) {
    case 'initialize':
      return respond(id, {
        protocolVersion: params.protocolVersion,
        capabilities: { tools: { listChanged: true } },
        serverInfo: { name: 'bench-upstream', version: '1.0.0' },
      });
    case 'ping':
      return respond(id, {});
    case 'tools/list':
      return respond(id, { tools: listed(Number(params?.cursor ?? 1_000)) });
    case 'tools/call': {
      const { name, arguments: args = {}, _meta } = params;
      if (name === 'echo') return respond(id, text(args.text));
      if (name === 'big') return respond(id, text(bigText(args.bytes)));
      if (name === 'progress') return progress(id, _meta.progressToken, args.n);
    }
  }
  return `${JSON.stringify({ jsonrpc: '2.0', id, error: { code: -32601, message: 'Method not found' } })}\n`;
}

let rest = '';
process.stdin.setEncoding('utf8');
process.stdin.on('data', (chunk) => {
  const lines = (rest + chunk).split('\n');
  rest = lines.pop();
  let out = '';
  for (const line of lines) if (line !== '') out += answer(JSON.parse(line));
  if (out !== '') process.stdout.write(out);
});
process.stdin.on('end', () => process.exit(0));
