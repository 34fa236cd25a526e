/** An upstream that speaks both eras, on the SDK's second version: what a modern client should reach unchanged. */
import { fromJsonSchema, McpServer } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';

const text = (value) => ({ content: [{ type: 'text', text: value }] });

serveStdio(() => {
  const server = new McpServer({ name: 'modern', version: '1.0.0' }, { capabilities: { tools: {} } });
  server.registerTool(
    'echo',
    {
      description: 'Answers with the message',
      inputSchema: fromJsonSchema({
        type: 'object',
        properties: { message: { type: 'string' } },
        required: ['message'],
      }),
    },
    ({ message }) => text(message),
  );
  server.registerTool(
    'get-env',
    { description: 'Answers with its environment', inputSchema: fromJsonSchema({ type: 'object' }) },
    () => text(JSON.stringify(process.env)),
  );
  return server;
});
