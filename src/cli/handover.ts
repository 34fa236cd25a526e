/**
 * Values on their way into a daemon: through a pipe, so that the daemon's own environment, which is open to its user from
 * exec(2) until it is hardened, never has them (A18).
 */
import { GivenSecrets } from '../credentials/given.ts';
import { daemonEnvironment, type Environment, steersRuntime } from '../environment.ts';
import { Failure } from '../errors.ts';
import { isObject } from '../jsonrpc.ts';
import { readDescriptor } from './prompt.ts';

/** The variables of `env` that `names` name and a daemon would not have anyway, ready for the pipe; `null` for none. */
export function packVariables(env: Environment, names: readonly string[]): Buffer | null {
  const kept = daemonEnvironment(env);
  const found = names.filter(
    (name) => Object.hasOwn(env, name) && !Object.hasOwn(kept, name) && !steersRuntime(name),
  );
  if (found.length === 0) return null;
  return Buffer.from(JSON.stringify(Object.fromEntries(found.map((name) => [name, env[name]]))));
}

/** The JSON object of texts in `descriptor`, which is read to its end and closed. @throws {Failure} naming `option` */
function readTexts(option: string, descriptor: string): Record<string, string> {
  const bytes = readDescriptor(option, descriptor);
  try {
    const read: unknown = JSON.parse(bytes.toString());
    if (isObject(read) && Object.values(read).every((value) => typeof value === 'string'))
      return read as Record<string, string>;
  } catch {
    // Its message could quote a value.
  } finally {
    bytes.fill(0);
  }
  throw new Failure('usage', `${option}: expected the number of a descriptor with a JSON object of texts`);
}

/** @throws {Failure} when there is no JSON object of texts in it */
export function unpackVariables(descriptor: string): Record<string, string> {
  return readTexts('--env-fd', descriptor);
}

/** Ready for the pipe, in base64, for values are bytes. The values are overwritten. */
export function packSecrets(secrets: ReadonlyMap<string, Buffer>): Buffer {
  const texts = [...secrets].map(([name, value]) => [name, value.toString('base64')]);
  for (const value of secrets.values()) value.fill(0);
  return Buffer.from(JSON.stringify(Object.fromEntries(texts)));
}

/** @throws {Failure} when there is no JSON object of texts in it, or one that no secret can be */
export function unpackSecrets(descriptor: string): GivenSecrets {
  const given = new GivenSecrets();
  for (const [name, text] of Object.entries(readTexts('--secrets-fd', descriptor)))
    given.add(name, Buffer.from(text, 'base64'));
  return given;
}
