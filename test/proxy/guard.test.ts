import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { test } from 'node:test';
import fc from 'fast-check';
import { isRefusal, type RefusalCode } from '../../src/errors.ts';
import { guard, type Listener, type Route } from '../../src/proxy/guard.ts';

const tcp: Listener = { kind: 'tcp', port: 7777 };
const unix: Listener = { kind: 'session', session: 's' };

const page = '/login/AAAAAAAAAAAAAAAAAAAA_-';

interface Head {
  readonly method?: string;
  readonly url?: string;
  readonly headers?: Readonly<Record<string, string[]>>;
}

function judge(listener: Listener, { method = 'POST', url = '/mcp/notion', headers = {} }: Head = {}) {
  const all = Object.entries({ host: ['127.0.0.1:7777'], ...headers });
  const rawHeaders = all.flatMap(([name, values]) => values.flatMap((value) => [name, value]));
  return guard({ method, url, rawHeaders } as unknown as IncomingMessage, listener);
}

function allows(route: Route, listener: Listener, head?: Head): void {
  assert.deepEqual(judge(listener, head), route);
}

function refuses(code: RefusalCode, listener: Listener, head: Head): void {
  const verdict = judge(listener, head);
  assert.ok(isRefusal(verdict), JSON.stringify(head));
  assert.equal(verdict.refused, code, JSON.stringify(head));
}

test('each route has its methods and its listeners', () => {
  const mcp: Route = { to: 'mcp', upstream: 'notion' };
  for (const listener of [tcp, unix]) {
    for (const method of ['POST', 'GET', 'DELETE']) allows(mcp, listener, { method });
    for (const method of ['PUT', 'HEAD', 'OPTIONS', 'post', ''])
      refuses('method_not_allowed', listener, { method });
    allows({ to: 'health' }, listener, { method: 'GET', url: '/healthz' });
    refuses('method_not_allowed', listener, { method: 'POST', url: '/healthz' });
  }
  for (const listener of [tcp, unix])
    for (const method of ['POST', 'GET', 'DELETE'])
      allows({ to: 'merged' }, listener, { method, url: '/mcp' });
  refuses('method_not_allowed', tcp, { method: 'PUT', url: '/mcp' });
  allows({ to: 'token' }, unix, { url: '/token' });
  refuses('method_not_allowed', unix, { url: '/token', method: 'GET' });
  refuses('not_found', tcp, { url: '/token' });
});

test('names of upstreams are those that the configuration allows', () => {
  for (const name of ['a', 'a1', 'a-1', 'a--b', `a${'b'.repeat(31)}`])
    allows({ to: 'mcp', upstream: name }, tcp, { url: `/mcp/${name}` });
  for (const name of ['', '1a', '-a', 'a-', 'A', 'a_b', 'a.b', 'é', `a${'b'.repeat(32)}`])
    refuses('not_found', tcp, { url: `/mcp/${name}` });
});

test('B1: Host counts on the port and not on a session socket', () => {
  for (const host of [['evil'], [], ['127.0.0.1:7777', '127.0.0.1:7777'], ['127.0.0.1:7778'], ['']])
    refuses('host_refused', tcp, { headers: { host } });
  for (const host of [['evil'], [], ['localhost']])
    allows({ to: 'mcp', upstream: 'notion' }, unix, { headers: { host } });
});

test('B2: a browser is refused on both listeners', () => {
  for (const name of ['origin', 'sec-fetch-site', 'sec-fetch-dest'])
    for (const listener of [tcp, unix])
      for (const value of ['null', '', 'none', 'http://127.0.0.1:7778'])
        refuses('origin_refused', listener, { headers: { [name]: [value] } });
});

test('B1 B2 B6: Host comes before Origin, Origin before the path', () => {
  const headers = { host: ['evil'], origin: ['null'] };
  refuses('host_refused', tcp, { headers, url: '/nowhere' });
  refuses('origin_refused', tcp, { headers: { origin: ['null'] }, url: '/nowhere' });
});

test('B2: a page for a person is shown in a window of its own, on the port, and nothing else is', () => {
  const shown = {
    'sec-fetch-site': ['cross-site'],
    'sec-fetch-mode': ['navigate'],
    'sec-fetch-dest': ['document'],
  };
  const route: Route = { to: 'page', id: page.slice('/login/'.length) };
  allows(route, tcp, { method: 'GET', url: page, headers: shown });
  allows(route, tcp, { method: 'GET', url: page });
  refuses('origin_refused', unix, { method: 'GET', url: '/mcp', headers: shown });
  refuses('not_found', unix, { method: 'GET', url: page });
  refuses('method_not_allowed', tcp, { method: 'HEAD', url: page });
  for (const [name, value] of [
    ['sec-fetch-dest', 'iframe'],
    ['sec-fetch-dest', 'image'],
    ['sec-fetch-mode', 'no-cors'],
    ['origin', 'https://evil.example'],
  ] as const)
    refuses('origin_refused', tcp, { method: 'GET', url: page, headers: { ...shown, [name]: [value] } });
  for (const url of ['/mcp', '/mcp/notion', '/healthz', `${page}x`])
    refuses('origin_refused', tcp, { method: 'GET', url, headers: shown });
  refuses('host_refused', tcp, { method: 'GET', url: page, headers: { ...shown, host: ['evil'] } });
});

test('B6: no other target than the exact one is a path of ours', () => {
  const near = fc
    .tuple(
      fc.constantFrom('/mcp/notion', '/mcp', '/healthz', '/token', page),
      fc.nat(12),
      fc.string({ maxLength: 3, minLength: 1 }),
    )
    .map(([path, at, more]) => path.slice(0, at) + more + path.slice(at));
  fc.assert(
    fc.property(fc.oneof(near, fc.webPath(), fc.string()), (url) => {
      const verdict = judge(tcp, { url });
      if (isRefusal(verdict)) return;
      const spelt =
        verdict.to === 'mcp'
          ? `/mcp/${verdict.upstream}`
          : verdict.to === 'page'
            ? `/login/${verdict.id}`
            : { merged: '/mcp', health: '/healthz', token: '/token' }[verdict.to];
      assert.equal(url, spelt);
    }),
    { numRuns: 20_000 },
  );
});
