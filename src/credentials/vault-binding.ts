/**
 * Where an entry of the vault may go. Bindings lie in the encrypted part of the vault, are made by a person on the
 * control plane, and are compared at each use: neither a changed configuration nor a changed program moves a secret.
 */
import { createHash } from 'node:crypto';
import { Failure } from '../errors.ts';
import {
  type CommandDestination,
  type Destination,
  describeCommand,
  isOurNode,
  type UpstreamDestination,
} from './destination.ts';
import { programDigest } from './program.ts';

interface CommonBinding {
  /** Name of the upstream for which it was made; for people, and not compared. */
  readonly upstream: string;
}

export type Binding = CommonBinding &
  (
    | { readonly kind: 'origin'; readonly origin: string }
    | {
        readonly kind: 'command';
        /** For people, and not compared. */
        readonly text: string;
        /** SHA-256 of command, arguments, variables and secrets, in base64url. */
        readonly settings: string;
        /** Of the files that run: {@link programDigest}. */
        readonly program: string;
      }
  );

function sorted(record: Readonly<Record<string, string>>): [string, string][] {
  return Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1));
}

function settingsDigest({ command, args, env, secrets, runAs }: CommandDestination): string {
  const settings = [isOurNode(command) ? 'node' : command, args, sorted(env), sorted(secrets)];
  // What was bound before there were other users stays bound.
  if (runAs !== null) settings.push(runAs);
  return createHash('sha256').update(JSON.stringify(settings)).digest('base64url');
}

/** What allows a secret to go there. */
export async function bindingFor(upstream: string, to: UpstreamDestination): Promise<Binding> {
  if (to.kind === 'origin') return { upstream, ...to };
  const program = await programDigest(to.command, to.args);
  return { upstream, kind: 'command', text: describeCommand(to), settings: settingsDigest(to), program };
}

export function describeBinding(binding: Binding): string {
  return binding.kind === 'origin' ? binding.origin : binding.text;
}

/** Whether they allow the same. */
export function sameBinding(a: Binding, b: Binding): boolean {
  if (a.kind === 'origin' || b.kind === 'origin')
    return a.kind === 'origin' && b.kind === 'origin' && a.origin === b.origin;
  return a.settings === b.settings && a.program === b.program;
}

/** Why the secret may not go there, or `null`. No word of it names a path: an agent gets to read it. */
export async function bindingProblem(bindings: readonly Binding[], to: Destination): Promise<string | null> {
  if (to.kind === 'redaction') return null;
  if (bindings.length === 0) return 'it is bound to no upstream yet';
  if (to.kind === 'origin') {
    const allowed = bindings.some((one) => one.kind === 'origin' && one.origin === to.origin);
    return allowed ? null : 'it is bound elsewhere, not to the origin that the configuration names';
  }
  const settings = settingsDigest(to);
  const alike = bindings.filter((one) => one.kind === 'command' && one.settings === settings);
  if (alike.length === 0)
    return 'it is bound elsewhere, not to this command with these arguments and variables';
  const program = await programDigest(to.command, to.args);
  return alike.some((one) => one.kind === 'command' && one.program === program)
    ? null
    : 'the program that it is bound to has changed on disk';
}

/** @throws {Failure} saying why the entry `name` may not go there */
export async function checkBinding(
  name: string,
  bindings: readonly Binding[],
  to: Destination,
): Promise<void> {
  const refused = await bindingProblem(bindings, to);
  if (refused !== null)
    throw new Failure('credential', `vault:${name}: ${refused}`, { hint: `ostiary secret rebind ${name}` });
}
