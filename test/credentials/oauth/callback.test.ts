/** The listener that a login waits on, and all that is not its answer (E4). */
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { CallbackListener } from '../../../src/credentials/oauth/callback.ts';
import { Failure } from '../../../src/errors.ts';
import { failure } from './support.ts';

async function listener(t: TestContext, port = 0): Promise<CallbackListener> {
  const opened = await CallbackListener.open(port);
  t.after(() => opened.close());
  return opened;
}

const page = (name: string) => ({
  status: 200,
  title: `Connected: ${name}`,
  text: ['You can close this page.'],
});

interface Shown {
  readonly status: number;
  readonly headers: Record<string, unknown>;
  readonly body: string;
}

function get(url: string, options: { method?: string; host?: string } = {}): Promise<Shown> {
  const { method = 'GET', host } = options;
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, agent: false, headers: host === undefined ? {} : { host } });
    sent.on('error', reject);
    sent.on('response', async (response) =>
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body: await text(response) }),
    );
    sent.end();
  });
}

test('one answer, to the login that asked; the page is plain and says that it may be closed', async (t) => {
  const one = await listener(t);
  assert.match(one.redirectUri, /^http:\/\/127\.0\.0\.1:\d+\/callback$/);
  const waiting = one.wait({
    state: 'right',
    finish: async (parameters) => parameters.get('code'),
    page: () => page('<script>alert(1)</script>"&\u202e'),
  });
  const shown = await get(`${one.redirectUri}?state=right&code=c`);
  assert.equal(await waiting, 'c');
  assert.equal(shown.status, 200);
  assert.ok(shown.body.includes('&#60;script&#62;alert(1)&#60;/script&#62;&#34;&#38;\u{fffd}'));
  assert.ok(!/<script|<img|<link|\bon\w+=|src=|href=/i.test(shown.body));
  assert.match(
    String(shown.headers['content-security-policy']),
    /^default-src 'none'; .*frame-ancestors 'none'$/,
  );
  assert.equal(shown.headers['cache-control'], 'no-store');
  assert.equal(shown.headers['referrer-policy'], 'no-referrer');
  assert.equal((await get(`${one.redirectUri}?state=right&code=c`)).status, 410, 'E4: once');
});

test('E4 what is not the answer is turned away, and the login goes on waiting', async (t) => {
  const one = await listener(t);
  let finished = 0;
  const waiting = one.wait({ state: 'right', finish: async () => ++finished, page: () => page('x') });
  const { origin } = new URL(one.redirectUri);
  const wrong: [string, number, { method?: string; host?: string }?][] = [
    [`${one.redirectUri}?state=wrong&code=c`, 400],
    [`${one.redirectUri}?code=c`, 400],
    [`${one.redirectUri}?state=right&state=right&code=c`, 400],
    [`${one.redirectUri}?state=wrong&error=access_denied&error_description=canary`, 400],
    [`${origin}/?state=right&code=c`, 404],
    [`${origin}/callback/?state=right&code=c`, 404],
    [`${origin}/favicon.ico`, 404],
    [`${one.redirectUri}?state=right&code=c`, 405, { method: 'POST' }],
    [`${one.redirectUri}?state=right&code=c`, 400, { host: 'rebound.example' }],
    [`${one.redirectUri}?state=right&code=c`, 400, { host: 'localhost' }],
    [`${one.redirectUri}?state=right&code=${'c'.repeat(9000)}`, 414],
  ];
  for (const [url, status, options] of wrong) {
    const shown = await get(url, options);
    assert.equal(shown.status, status, url.slice(0, 80));
    assert.ok(!shown.body.includes('canary'), 'nothing of the request is shown');
  }
  assert.equal(finished, 0);
  await get(`${one.redirectUri}?state=right&code=c`);
  assert.equal(await waiting, 1);
});

test('what went wrong is for the terminal; the page says only that it did', async (t) => {
  const one = await listener(t);
  const waiting = one.wait({
    state: 'right',
    finish: () => Promise.reject(new Failure('credential', 'canary-reason')),
    page: () => page('x'),
  });
  const over = failure(() => waiting, /^canary-reason$/);
  const shown = await get(`${one.redirectUri}?state=right&error=x`);
  await over;
  assert.equal(shown.status, 400);
  assert.match(shown.body, /Not connected/);
  assert.ok(!shown.body.includes('canary'));
});

test('E4 a port that somebody else has is an error, and it is never shared', async (t) => {
  const one = await listener(t);
  const port = Number(new URL(one.redirectUri).port);
  await failure(() => CallbackListener.open(port), new RegExp(`^port ${port} of 127.0.0.1 is taken`));
});

test('only this machine can reach it', async (t) => {
  const one = await listener(t);
  const port = Number(new URL(one.redirectUri).port);
  const others = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ internal, family }) => !internal && family === 'IPv4')
    .map(({ address }) => address);
  for (const host of [...others, '::1', '127.0.0.2'])
    await assert.rejects(
      new Promise((resolve, reject) => connect({ host, port }).on('connect', resolve).on('error', reject)),
      host,
    );
});

test('a login that is given up, or that nobody finishes, ends', async (t) => {
  const one = await listener(t);
  const signal = AbortSignal.abort();
  const abort = new AbortController();
  const wish = { state: 'right', finish: async () => 1, page: () => page('x') };
  const waiting = one.wait({ ...wish, signal: abort.signal });
  abort.abort(signal.reason);
  await failure(() => waiting, /^the login was given up$/);
  assert.equal((await get(`${one.redirectUri}?state=right&code=c`)).status, 410);

  t.mock.timers.enable({ apis: ['setTimeout'] });
  const late = one.wait(wish);
  const over = failure(() => late, /^nobody finished the login within 10 minutes$/);
  t.mock.timers.tick(10 * 60_000);
  t.mock.timers.reset();
  await over;
});
