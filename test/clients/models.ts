/**
 * The model behind every client: one scripted turn, in each vendor's streaming API. Asked with tools, it calls `get-env`
 * of the MCP server; asked with the tool's answer, it says that it is done. It is the clients' HTTP proxy as well, one
 * that lets nothing through and remembers who was asked for.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Fields } from '../support/mcp.ts';

/** Clients spell the tool's name each in their own way: `mcp__everything__get-env`, `get_env`, … */
const wanted = /get[-_]env$/;

interface Tool {
  readonly name: string;
  /** Codex: the server, of which the name is no part. */
  readonly namespace?: string;
}

interface Api {
  readonly path: RegExp;
  tools(body: Fields): Tool[];
  /** The server-sent events of one answer: a call of the tool, or without one the closing words. */
  events(tool: Tool | undefined, body: Fields): Fields[];
  /** What a request holds once the tool has been called. */
  readonly answered: string;
}

const list = (value: unknown): Fields[] => (Array.isArray(value) ? (value as Fields[]) : []);

const anthropic: Api = {
  path: /\/v1\/messages(\?|$)/,
  answered: '"tool_result"',
  tools: ({ tools }) => list(tools).map(({ name }) => ({ name: String(name) })),
  events: (tool, { model }) => [
    {
      type: 'message_start',
      message: {
        id: 'msg_1',
        type: 'message',
        role: 'assistant',
        model,
        content: [],
        stop_reason: null,
        stop_sequence: null,
        usage: { input_tokens: 1, output_tokens: 1 },
      },
    },
    {
      type: 'content_block_start',
      index: 0,
      content_block: tool
        ? { type: 'tool_use', id: 'toolu_1', name: tool.name, input: {} }
        : { type: 'text', text: '' },
    },
    {
      type: 'content_block_delta',
      index: 0,
      delta: tool ? { type: 'input_json_delta', partial_json: '{}' } : { type: 'text_delta', text: 'done' },
    },
    { type: 'content_block_stop', index: 0 },
    {
      type: 'message_delta',
      delta: { stop_reason: tool ? 'tool_use' : 'end_turn', stop_sequence: null },
      usage: { output_tokens: 1 },
    },
    { type: 'message_stop' },
  ],
};

const responses: Api = {
  path: /\/responses$/,
  answered: '"function_call_output"',
  tools: ({ tools }) =>
    list(tools).flatMap(({ name, type, tools: inner }) =>
      type === 'namespace'
        ? list(inner).map((tool) => ({ name: String(tool.name), namespace: String(name) }))
        : [{ name: String(name) }],
    ),
  events: (tool) => {
    const item = tool
      ? {
          type: 'function_call',
          id: 'fc_1',
          call_id: 'call_1',
          ...tool,
          arguments: '{}',
          status: 'completed',
        }
      : {
          type: 'message',
          id: 'msg_1',
          role: 'assistant',
          status: 'completed',
          content: [{ type: 'output_text', text: 'done', annotations: [] }],
        };
    const usage = { input_tokens: 1, output_tokens: 1, total_tokens: 2 };
    return [
      { type: 'response.created', response: { id: 'resp_1' } },
      { type: 'response.output_item.done', output_index: 0, item },
      {
        type: 'response.completed',
        response: { id: 'resp_1', status: 'completed', output: [item], usage },
      },
    ];
  },
};

const completions: Api = {
  path: /\/chat\/completions$/,
  answered: '"role":"tool"',
  tools: ({ tools }) => list(tools).map((tool) => ({ name: String((tool.function as Fields).name) })),
  events: (tool, { model }) => {
    const chunk = (delta: Fields, finish_reason: string | null) => ({
      id: 'chat_1',
      object: 'chat.completion.chunk',
      created: 1,
      model,
      choices: [{ index: 0, delta, finish_reason }],
    });
    const call = { index: 0, id: 'call_1', type: 'function', function: { ...tool, arguments: '{}' } };
    return tool
      ? [chunk({ role: 'assistant', tool_calls: [call] }, null), chunk({}, 'tool_calls')]
      : [chunk({ role: 'assistant', content: 'done' }, null), chunk({}, 'stop')];
  },
};

const gemini: Api = {
  path: /:streamGenerateContent/,
  answered: '"functionResponse"',
  tools: ({ tools }) =>
    list(tools).flatMap(({ functionDeclarations }) =>
      list(functionDeclarations).map(({ name }) => ({ name: String(name) })),
    ),
  events: (tool) => [
    {
      candidates: [
        {
          index: 0,
          content: {
            role: 'model',
            parts: [tool ? { functionCall: { name: tool.name, args: {} } } : { text: 'done' }],
          },
          finishReason: 'STOP',
        },
      ],
      usageMetadata: { promptTokenCount: 1, candidatesTokenCount: 1, totalTokenCount: 2 },
    },
  ],
};

const apis = [anthropic, responses, completions, gemini];

export class Models {
  /** Hosts that somebody wanted to reach through us. */
  readonly strangers = new Set<string>();
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, answer) => void this.#answer(request, answer));
    this.#server.on('connect', ({ url = '' }, socket) => {
      this.strangers.add(url);
      socket.on('error', () => {});
      socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
    });
  }

  static async start(): Promise<Models> {
    const models = new Models();
    await new Promise<void>((resolve) => models.#server.listen(0, '127.0.0.1', resolve));
    return models;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  async #answer(request: IncomingMessage, answer: ServerResponse): Promise<void> {
    const { url = '' } = request;
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (!url.startsWith('/')) this.strangers.add(new URL(url).host);
    const api = apis.find(({ path }) => path.test(url));
    if (api === undefined || !url.startsWith('/')) {
      answer.writeHead(404).end();
      return;
    }
    const text = Buffer.concat(chunks).toString();
    const body = JSON.parse(text) as Fields;
    const tool = text.includes(api.answered)
      ? undefined
      : api.tools(body).find(({ name }) => wanted.test(name));
    answer.writeHead(200, { 'Content-Type': 'text/event-stream' });
    for (const event of api.events(tool, body)) {
      if (typeof event.type === 'string') answer.write(`event: ${event.type}\n`);
      answer.write(`data: ${JSON.stringify(event)}\n\n`);
    }
    answer.end(api === completions ? 'data: [DONE]\n\n' : undefined);
  }
}
