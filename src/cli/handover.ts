/**
 * Values of `env:` references on their way into a daemon: through a pipe, so that the daemon's own environment, which is
 * open to its user from exec(2) until it is hardened, never has them (A18).
 */
import { closeSync, readFileSync } from 'node:fs';
import { daemonEnvironment, type Environment, steersRuntime } from '../environment.ts';
import { Failure } from '../errors.ts';
import { isObject } from '../jsonrpc.ts';

/** The variables of `env` that `names` name and a daemon would not have anyway, ready for the pipe; `null` for none. */
export function packVariables(env: Environment, names: readonly string[]): Buffer | null {
  const kept = daemonEnvironment(env);
  const found = names.filter(
    (name) => Object.hasOwn(env, name) && !Object.hasOwn(kept, name) && !steersRuntime(name),
  );
  if (found.length === 0) return null;
  return Buffer.from(JSON.stringify(Object.fromEntries(found.map((name) => [name, env[name]]))));
}

/** Reads `descriptor` to its end and closes it. @throws {Failure} when there is no JSON object of texts in it */
export function unpackVariables(descriptor: string): Record<string, string> {
  try {
    const number = Number(descriptor);
    const bytes = readFileSync(number);
    closeSync(number);
    const read: unknown = JSON.parse(bytes.toString());
    bytes.fill(0);
    if (isObject(read) && Object.values(read).every((value) => typeof value === 'string'))
      return read as Record<string, string>;
  } catch {
    // Its message could quote a value.
  }
  throw new Failure('usage', '--env-fd: expected the number of a descriptor with a JSON object of texts');
}
