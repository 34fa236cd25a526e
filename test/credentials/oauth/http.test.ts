/** Where requests of a login may go, and what may come back. */
import assert from 'node:assert/strict';
import type { LookupAddress } from 'node:dns';
import { once } from 'node:events';
import { test } from 'node:test';
import { deadline } from '../../../src/credentials/oauth/deadline.ts';
import {
  checkedUrl,
  guardedHttp,
  type HttpOptions,
  HttpProblem,
} from '../../../src/credentials/oauth/http.ts';
import { limits } from '../../../src/limits.ts';
import { canary } from '../support.ts';
import { certificateFor, failure, serve, world } from './support.ts';

/** A resolver with answers for a name, one list per question; the last stays. */
function resolver(names: Readonly<Record<string, readonly (readonly string[])[]>>): HttpOptions['lookup'] {
  const asked = new Map<string, number>();
  const lookup = (
    name: string,
    _options: unknown,
    done: (error: NodeJS.ErrnoException | null, found: LookupAddress[]) => void,
  ): void => {
    const answers = names[name];
    const turn = asked.get(name) ?? 0;
    asked.set(name, turn + 1);
    const found = answers?.[Math.min(turn, answers.length - 1)] ?? [];
    const error = answers === undefined ? Object.assign(new Error('no'), { code: 'ENOTFOUND' }) : null;
    process.nextTick(
      done,
      error,
      found.map((address) => ({ address, family: 4 })),
    );
  };
  return lookup as unknown as NonNullable<HttpOptions['lookup']>;
}

test('https alone, and http to loopback', () => {
  for (const url of ['https://as.example/x', 'http://127.0.0.1:1/', 'http://[::1]:1/', 'http://localhost:1/'])
    assert.equal(checkedUrl(url).href, url);
  for (const url of [
    'http://as.example/',
    'http://10.0.0.1/',
    'ftp://as.example/',
    'file:///etc/passwd',
    'javascript:alert(1)',
    'data:,x',
    'as.example',
    '',
    'https://user:secret@as.example/',
    'http://localhost.evil.example/',
  ])
    assert.throws(() => checkedUrl(url), HttpProblem, url);
});

test('E6: a public server cannot send us to a private address, this machine, or a link-local one', async (t) => {
  const issuer = await serve(t, () => ({ '/': { body: { a: 1 } } }));
  const inside = [
    await serve(t, () => ({ '/': {} }), { address: '127.0.0.2' }),
    await serve(t, () => ({ '/': {} }), { address: '127.0.0.3' }),
    await serve(t, () => ({ '/': {} }), { address: '127.0.0.4' }),
  ];
  const http = guardedHttp([issuer.origin], { kindOf: world });
  assert.equal((await http({ method: 'GET', url: `${issuer.origin}/` })).status, 200);
  for (const { origin, asked } of inside) {
    await failure(() => http({ method: 'POST', url: `${origin}/`, body: 'x' }), /private, local or reserved/);
    await failure(() => http.check(`${origin}/`), /private, local or reserved/);
    assert.deepEqual(asked, []);
  }
  for (const url of [
    'https://169.254.169.254/',
    'https://[::ffff:169.254.169.254]/',
    'https://[64:ff9b::a00:1]/',
  ])
    await failure(() => guardedHttp([issuer.origin])({ method: 'GET', url }), /private, local or reserved/);
});

test('E6: what the user named may be inside, and may then name servers inside and outside', async (t) => {
  const at = (address: string) => serve(t, () => ({ '/': {} }), { address });
  const [outside, office, machine] = [await at('127.0.0.1'), await at('127.0.0.2'), await at('127.0.0.3')];
  const http = guardedHttp([office.origin], { kindOf: world });
  // Not before it has been reached: until then its place is a claim of the resolver.
  await failure(() => http({ method: 'GET', url: `${machine.origin}/` }), /private, local or reserved/);
  for (const { origin } of [office, outside]) await http({ method: 'GET', url: `${origin}/` });
  const other = await serve(t, () => ({ '/': {} }), { address: '127.0.0.2' });
  assert.equal((await http({ method: 'GET', url: `${other.origin}/` })).status, 200);
  await failure(() => http({ method: 'GET', url: `${machine.origin}/` }), /private, local or reserved/);
  assert.deepEqual(machine.asked, []);
});

test('E6: a reserved address is asked for nobody, not even for the user', async () => {
  const http = guardedHttp(['https://169.254.169.254/'], {});
  await failure(
    () => http({ method: 'GET', url: 'https://169.254.169.254/latest' }),
    /private, local or reserved/,
  );
});

test('E6: a name is judged where it is connected to, whatever it was a moment before (DNS rebinding)', async (t) => {
  const tls = certificateFor(t, 'as.example', 'evil.example');
  if (tls === null) return;
  const outside = await serve(t, () => ({ '/': {} }), { tls });
  const inside = await serve(t, () => ({ '/': {} }), { tls, address: '127.0.0.2' });
  const lookup = resolver({
    'as.example': [['127.0.0.1'], ['127.0.0.2']],
    'evil.example': [['127.0.0.1'], ['127.0.0.2'], ['127.0.0.2', '127.0.0.1']],
  });
  const http = guardedHttp(['https://as.example/'], {
    kindOf: world,
    ca: [tls.cert],
    ...(lookup && { lookup }),
  });
  const ask = (host: string, port: number) => http({ method: 'GET', url: `https://${host}:${port}/` });
  assert.equal((await ask('as.example', outside.port)).status, 200);
  // Even for what the user named: it was outside when it proved its name.
  await failure(() => ask('as.example', inside.port), /private, local or reserved/);
  await http.check(`https://evil.example:${inside.port}/`);
  await failure(() => ask('evil.example', inside.port), /private, local or reserved/);
  // Of several addresses, those that it may be at are asked, and no other.
  assert.equal((await ask('evil.example', outside.port)).status, 200);
  assert.deepEqual(inside.asked, []);
});

test('E6: a name that resolves inside proves nothing until its certificate does', async (t) => {
  const [right, wrong] = [certificateFor(t, 'as.example'), certificateFor(t, 'other.example')];
  if (right === null || wrong === null) return;
  const imposter = await serve(t, () => ({ '/': {} }), { tls: wrong, address: '127.0.0.2' });
  const secret = await serve(t, () => ({ '/': {} }), { address: '127.0.0.2' });
  const lookup = resolver({ 'as.example': [['127.0.0.2']] });
  const http = guardedHttp(['https://as.example/'], {
    kindOf: world,
    ca: [right.cert],
    ...(lookup && { lookup }),
  });
  await failure(
    () => http({ method: 'GET', url: `https://as.example:${imposter.port}/` }),
    /cannot be asked/,
  );
  await failure(() => http({ method: 'GET', url: `${secret.origin}/` }), /private, local or reserved/);
  assert.deepEqual([...imposter.asked, ...secret.asked], []);
});

test('E6: localhost has to be this machine', async (t) => {
  const lookup = resolver({ localhost: [['192.0.2.1']] });
  const http = guardedHttp(['http://localhost:9/'], { ...(lookup && { lookup }) });
  await failure(() => http({ method: 'GET', url: 'http://localhost:9/' }), /private, local or reserved/);
  const real = await serve(t, () => ({ '/': {} }));
  const url = `http://localhost:${real.port}/`;
  assert.equal((await guardedHttp([url])({ method: 'GET', url })).status, 200);
});

test('F8: no redirect takes a credential along, and none leads to another origin', async (t) => {
  const thief = await serve(t, () => ({ '/': {} }));
  const server = await serve(t, (origin) => ({
    '/away': { status: 307, headers: { location: `${thief.origin}/` } },
    '/home': { status: 307, headers: { location: `${origin}/there` } },
    '/there': { body: { ok: true } },
    '/loop': { status: 302, headers: { location: '/loop' } },
    '/none': { status: 302 },
  }));
  const http = guardedHttp([server.origin]);
  const get = (path: string, headers = {}) =>
    http({ method: 'GET', url: `${server.origin}${path}`, headers });
  const secret = canary();
  assert.equal((await get('/home')).body, '{"ok":true}');
  await failure(() => get('/away'), /another origin/);
  await failure(() => get('/home', { authorization: `Bearer ${secret}` }), /redirected/, [secret]);
  await failure(() => get('/loop'), /redirected/);
  await failure(() => get('/none'), /redirected/);
  for (const path of ['/away', '/home'])
    await failure(
      () => http({ method: 'POST', url: `${server.origin}${path}`, body: secret }),
      /redirected/,
      [secret],
    );
  assert.deepEqual(thief.asked, []);
  assert.equal(server.asked.filter(({ path }) => path === '/loop').length, limits.oauthRedirects + 1);
});

test('answers are bounded, and hanging servers given up', async (t) => {
  const server = await serve(t, () => ({
    '/large': { body: 'x'.repeat(limits.oauthAnswerBytes + 1) },
    '/packed': { headers: { 'content-encoding': 'gzip' }, body: 'x' },
    '/hang': () => 'hang',
  }));
  const http = guardedHttp([server.origin]);
  const get = (path: string, signal?: AbortSignal) =>
    http({ method: 'GET', url: `${server.origin}${path}`, ...(signal && { signal }) });
  await failure(() => get('/large'), /more than 262144 bytes/);
  await failure(() => get('/packed'), /encoding/);
  const controller = new AbortController();
  const hanging = get('/hang', controller.signal);
  controller.abort();
  await failure(() => hanging, /given up/);
});

test('a deadline tells time from a wish to stop', async () => {
  const late = deadline(1, undefined);
  await once(late.signal, 'abort');
  assert.ok(late.passed());
  const controller = new AbortController();
  const stopped = deadline(60_000, controller.signal);
  controller.abort();
  assert.ok(stopped.signal.aborted && !stopped.passed());
  stopped.end();
  const never = deadline(60_000, controller.signal);
  assert.ok(never.signal.aborted);
  never.end();
});

test('a problem names the host, and no path, query, header or body', async () => {
  const secret = canary();
  const http = guardedHttp(['http://127.0.0.1:1/']);
  const url = `http://127.0.0.1:1/${secret}?${secret}`;
  const problem = await failure(
    () => http({ method: 'POST', url, headers: { authorization: secret }, body: secret }),
    /^127\.0\.0\.1:1 cannot be asked \(ECONNREFUSED\)$/,
    [secret],
  );
  assert.ok(problem instanceof HttpProblem && !problem.refused);
});
