#!/usr/bin/env node
/**
 * A small MCP server over stdio, without dependencies: reads and adds notes through an HTTP API.
 *
 * NOTES_API_URL    base URL of the API: GET /notes → [{"id", "text"}], POST /notes {"text"} → {"id", "text"}
 * NOTES_API_TOKEN  its token, sent as `Authorization: Bearer`; the kind of secret that ostiary keeps from the agent
 */
import { createInterface } from 'node:readline';

const { NOTES_API_URL, NOTES_API_TOKEN } = process.env;
if (!NOTES_API_URL || !NOTES_API_TOKEN) {
  console.error('notes-server: NOTES_API_URL and NOTES_API_TOKEN must be set');
  process.exit(2);
}

const VERSIONS = ['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05'];

/** Calls the API; throws with its status and message when it refuses. */
async function api(method, path, body) {
  const response = await fetch(new URL(path, NOTES_API_URL), {
    method,
    headers: { Authorization: `Bearer ${NOTES_API_TOKEN}`, 'Content-Type': 'application/json' },
    body: body && JSON.stringify(body),
    redirect: 'error',
    signal: AbortSignal.timeout(10_000),
  });
  const answer = await response.json().catch(() => null);
  if (!response.ok)
    throw new Error(`notes API: ${response.status} ${answer?.message ?? response.statusText}`);
  return answer;
}

const tools = {
  list_notes: {
    description: 'Lists all notes.',
    inputSchema: { type: 'object', properties: {}, additionalProperties: false },
    annotations: { readOnlyHint: true },
    async run() {
      const notes = await api('GET', '/notes');
      return notes.map(({ id, text }) => `${id}: ${text}`).join('\n') || 'No notes.';
    },
  },
  add_note: {
    description: 'Adds a note.',
    inputSchema: {
      type: 'object',
      properties: { text: { type: 'string', minLength: 1, description: 'What to remember' } },
      required: ['text'],
      additionalProperties: false,
    },
    annotations: { readOnlyHint: false, destructiveHint: false },
    async run({ text }) {
      if (typeof text !== 'string' || text === '') throw new Error('text must be a non-empty string');
      const { id } = await api('POST', '/notes', { text });
      return `Added note ${id}.`;
    },
  },
};

/** A tool's failure is a result that the model can read, not a protocol error. */
async function callTool({ name, arguments: args = {} }) {
  if (!Object.hasOwn(tools, name)) throw Object.assign(new Error(`Unknown tool: ${name}`), { code: -32602 });
  try {
    return { content: [{ type: 'text', text: await tools[name].run(args) }] };
  } catch (error) {
    return { content: [{ type: 'text', text: error.message }], isError: true };
  }
}

const methods = {
  initialize: ({ protocolVersion }) => ({
    protocolVersion: VERSIONS.includes(protocolVersion) ? protocolVersion : VERSIONS[0],
    capabilities: { tools: {} },
    serverInfo: { name: 'notes', version: '1.0.0' },
  }),
  ping: () => ({}),
  'tools/list': () => ({
    tools: Object.entries(tools).map(([name, { run, ...tool }]) => ({ name, ...tool })),
  }),
  'tools/call': callTool,
};

const send = (message) => process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);

async function answer({ id, method, params = {} }) {
  if (method === undefined || id === undefined) return; // responses and notifications: none of use to us
  if (!Object.hasOwn(methods, method)) {
    send({ id, error: { code: -32601, message: `Method not found: ${method}` } });
    return;
  }
  try {
    send({ id, result: await methods[method](params) });
  } catch ({ code = -32603, message }) {
    send({ id, error: { code, message } });
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  let message;
  try {
    message = JSON.parse(line);
  } catch {
    send({ id: null, error: { code: -32700, message: 'Parse error' } });
    continue;
  }
  void answer(message);
}
