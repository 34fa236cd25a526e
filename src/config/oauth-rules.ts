/** What the schema cannot say of `oauth`; runs on values of any shape. */
import { parseCredentialRef } from '../credentials/ref.ts';
import { steersRuntime } from '../environment.ts';
import type { Finding } from './finding.ts';
import { judgeUrl } from './http.ts';
import { type Pointer, pointerTo } from './source.ts';

type Values = Readonly<Record<string, unknown>>;

function valuesOf(value: unknown): Values {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

function* urls(values: Values, pointer: Pointer, keys: readonly string[]): Generator<Finding> {
  for (const key of keys) {
    const value = values[key];
    const message = typeof value === 'string' ? judgeUrl(value) : null;
    if (message !== null) yield { pointer: pointerTo(pointer, key), at: 'value', message };
  }
}

/** What a flow cannot do without. */
const needs: Readonly<Record<string, readonly (readonly string[])[]>> = {
  client_credentials: [['client_id'], ['client_secret', 'client_key']],
  token_exchange: [['identity']],
};

const endpointOf: Readonly<Record<string, string>> = { code: 'authorization', device: 'device' };

function* client(values: Values, pointer: Pointer): Generator<Finding> {
  const has = (key: string): boolean => values[key] !== undefined;
  const at = (key: string, message: string): Finding => ({
    pointer: pointerTo(pointer, key),
    at: 'key',
    message,
  });
  for (const key of ['client_secret', 'client_key'])
    if (has(key)) {
      if (!has('client_id')) yield at(key, 'expected client_id beside it, got none');
      // A server's metadata could name any issuer as its own, and would be sent the secret.
      if (!has('issuer') && !has('endpoints'))
        yield at(key, 'expected issuer beside it, which says where it may go, got none');
      const ref = typeof values[key] === 'string' ? parseCredentialRef(values[key]) : null;
      if (ref?.source === 'oauth') yield at(key, 'expected a secret that needs no login itself, got oauth:');
    }
  if (has('client_secret') && has('client_key'))
    yield at('client_key', 'expected either client_secret or client_key, got both');
}

/** One map under `oauth`, of an upstream or at the top. */
export function* oauthFindings(value: unknown, pointer: Pointer): Generator<Finding> {
  const values = valuesOf(value);
  const endpoints = valuesOf(values.endpoints);
  yield* urls(values, pointer, ['issuer', 'metadata_url']);
  yield* urls(endpoints, pointerTo(pointer, 'endpoints'), ['token', 'authorization', 'device', 'revocation']);
  yield* client(values, pointer);
  const flow = typeof values.flow === 'string' ? values.flow : 'code';
  for (const choice of needs[flow] ?? [])
    if (!choice.some((key) => values[key] !== undefined)) {
      const message = `expected ${choice.join(' or ')} for flow ${flow}, got none`;
      yield { pointer: pointerTo(pointer, 'flow'), at: 'key', message };
    }
  const endpoint = endpointOf[flow];
  if (values.endpoints !== undefined && values.issuer === undefined && endpoint !== undefined)
    if (endpoints[endpoint] === undefined) {
      const message = `expected ${endpoint} for flow ${flow}, got none`;
      yield { pointer: pointerTo(pointer, 'endpoints'), at: 'key', message };
    }
  const { variable } = valuesOf(values.identity);
  if (typeof variable === 'string' && steersRuntime(variable)) {
    const message =
      'expected a variable that holds an identity, got one that the runtime obeys: the daemon is never given it';
    yield { pointer: pointerTo(pointerTo(pointer, 'identity'), 'variable'), at: 'value', message };
  }
}

/** `oauth` of an upstream fills its `Authorization`. */
export function* upstreamOAuth(value: unknown, pointer: Pointer): Generator<Finding> {
  const { oauth, bearer, basic, secrets } = valuesOf(value);
  if (oauth === undefined) return;
  const header = Object.keys(valuesOf(secrets)).some((name) => name.toLowerCase() === 'authorization');
  const other = bearer !== undefined ? 'bearer' : basic !== undefined ? 'basic' : header ? 'secrets' : null;
  const at = pointerTo(pointer, 'oauth');
  if (other !== null)
    yield {
      pointer: at,
      at: 'key',
      message: `expected either oauth or Authorization from ${other}, got both`,
    };
  yield* oauthFindings(oauth, at);
}

/**
 * The providers at the top.
 * @param upstreams names of those that have `oauth`: `oauth:NAME` has to mean one of them
 */
export function* providers(
  value: unknown,
  pointer: Pointer,
  upstreams: readonly string[],
): Generator<Finding> {
  for (const [name, each] of Object.entries(valuesOf(value))) {
    const at = pointerTo(pointer, name);
    const { issuer, endpoints } = valuesOf(each);
    if (upstreams.includes(name))
      yield {
        pointer: at,
        at: 'key',
        message: 'expected a name that no upstream with oauth has, got one that has',
      };
    if (issuer === undefined && endpoints === undefined)
      yield { pointer: at, at: 'key', message: 'expected issuer or endpoints, got neither' };
    yield* oauthFindings(each, at);
  }
}
