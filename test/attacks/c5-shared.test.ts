/**
 * C5, B10: two sessions on one shared child, with any calls at the same time under equal ids and tokens, cancelled or not,
 * and mutated lines in between. Each gets its own answers, in which its own mark stands. Seeds are printed on failure.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { callTool, HttpClient, handshake, LineClient, type Message } from '../support/client.ts';
import { bearer, portOf, sharedDaemon, socketOf } from '../support/daemon.ts';
import { fixtureServer } from '../support/servers.ts';

const daemon = sharedDaemon({
  config: { upstreams: { chatty: { ...fixtureServer('chatty'), lifecycle: 'shared' } } },
});

const id = fc.constantFrom<string | number>(1, 2, '1', '2', 0, -1, 1.5, '', '__proto__', 'x');
const step = fc.record({
  who: fc.nat(1),
  id,
  token: fc.option(id, { nil: undefined }),
  what: fc.constantFrom(
    'echo',
    'received',
    'slow_progress',
    'unsolicited',
    'answer_for',
    'sleep_until_cancelled',
    'odd_json',
  ),
  forged: fc.nat(40),
});
const junk = fc.constantFrom(
  '{"jsonrpc":"2.0","id":1}',
  '{"jsonrpc":"2.0","id":1,"result":{}}',
  '{"jsonrpc":"2.0","id":"1","error":{"code":1,"message":""}}',
  '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}',
  '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"no such"}}',
  '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}',
  '{"jsonrpc":"2.0","method":"notifications/initialized"}',
  '{"jsonrpc":"2.0","id":"again","method":"initialize","params":{}}',
  '[]',
  '{',
  'null',
);
type Step = {
  who: number;
  id: string | number;
  token: string | number | undefined;
  what: string;
  forged: number;
};

const marked = (message: Message | undefined): string => JSON.stringify(message ?? {});

test('C5 B10: whatever two sessions ask of one shared child at once, nothing crosses', async (t) => {
  const sessions = await Promise.all([0, 1].map(() => daemon().newSession()));
  const clients = await Promise.all(sessions.map((one) => LineClient.upgrade(socketOf(one), '/mcp/chatty')));
  t.after(() => clients.forEach((one) => void one.close()));
  for (const one of clients) await handshake(one);
  let round = 0;
  let calls = 0;

  const property = fc.asyncProperty(
    fc.array(step, { minLength: 1, maxLength: 12 }),
    fc.array(fc.tuple(fc.nat(1), junk), { maxLength: 4 }),
    async (steps: readonly Step[], noise) => {
      round++;
      const from = clients.map(({ lines }) => lines.length);
      const busy = clients.map(() => new Set<string | number>());
      const sent: { readonly who: number; readonly id: string | number; readonly what: string }[] = [];
      for (const { who, id: its, token, what, forged } of steps) {
        const client = clients[who] as LineClient;
        if (busy[who]?.has(its)) continue;
        busy[who]?.add(its);
        const _meta = token === undefined ? {} : { _meta: { progressToken: token } };
        const args = { text: `mark-${who}`, n: 2, ms: 0, id: forged, mark: `mark-${who}` };
        client.send({
          jsonrpc: '2.0',
          id: its,
          method: 'tools/call',
          params: { name: what, arguments: args, ..._meta },
        });
        if (what === 'sleep_until_cancelled')
          client.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: its } });
        else sent.push({ who, id: its, what });
      }
      for (const [who, line] of noise) clients[who]?.sendRaw(`${line}\n`);
      calls += sent.length;
      await Promise.all(
        clients.map((one, who) =>
          one.request(
            'tools/call',
            { name: 'echo', arguments: { text: `end-${who}.` } },
            { id: `r${round}` },
          ),
        ),
      );
      for (const { who, id: its } of sent) {
        // By the noise of its own session; then it may have no answer.
        const cancelled = noise.some(([by, line]) => by === who && line.includes('cancelled'));
        await (clients[who] as LineClient)
          .waitFor((m) => m.id === its && m.method === undefined, cancelled ? 1_000 : 5_000, from[who])
          .catch((error) => {
            if (!cancelled) throw error;
          });
      }
      for (const [who, one] of clients.entries()) {
        const other = 1 - who;
        for (const { message } of one.lines.slice(from[who])) {
          assert.doesNotMatch(
            marked(message),
            new RegExp(`(mark|end)-${other}`),
            'a message of the other session',
          );
          const own = steps.some((of) => of.who === who && of.token === message?.params?.progressToken);
          if (message?.method === 'notifications/progress') assert.ok(own, marked(message));
        }
        for (const its of new Set(sent.filter((of) => of.who === who).map((of) => of.id))) {
          const answers = one.lines
            .slice(from[who])
            .filter(
              ({ message }) => message?.id === its && message.method === undefined && 'result' in message,
            );
          assert.ok(answers.length <= 1, `one answer for ${JSON.stringify(its)}, not ${answers.length}`);
        }
      }
    },
  );
  await fc.assert(property, { numRuns: 100_000, interruptAfterTimeLimit: 8_000, endOnFailure: true });
  assert.ok(calls > 30, `${calls} calls`);

  const http = new HttpClient(
    portOf(daemon()),
    '/mcp/chatty',
    bearer(await daemon().newSession({ token: true })),
  );
  t.after(() => http.close());
  await handshake(http);
  assert.equal(await callTool(http, 'echo', { text: 'after' }), 'after');
  const { upstreams } = (await daemon().control.status()) as unknown as { upstreams: { starts: number }[] };
  assert.equal(upstreams[0]?.starts, 1);
  assert.doesNotMatch(daemon().log(), /uncaught|unhandled|TypeError|RangeError/i);
});
