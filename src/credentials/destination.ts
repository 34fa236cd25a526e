/** Where a secret is about to go. Whoever asks for one says so, and the vault compares it with what the entry allows. */
import { realpathSync } from 'node:fs';
import { type CredentialRef, formatCredentialRef } from './ref.ts';

/** Everything in the configuration that decides what runs, and with what. */
export interface CommandDestination {
  readonly kind: 'command';
  readonly command: string;
  readonly args: readonly string[];
  /** NODE_OPTIONS or LD_PRELOAD would run other code with the secret. */
  readonly env: Readonly<Record<string, string>>;
  /** Variable, and the way in which it leads to the secret → reference: files and helpers can give such a variable, too. */
  readonly secrets: Readonly<Record<string, string>>;
  /** Another user than ours, under whom it runs. */
  readonly runAs: string | null;
}

/** An upstream's. */
export type UpstreamDestination = CommandDestination | { readonly kind: 'origin'; readonly origin: string };

export type Destination =
  | UpstreamDestination
  /** Leaves to nobody: the value is only looked for in what others say. */
  | { readonly kind: 'redaction' };

type References = Readonly<Record<string, CredentialRef>>;

/** The parts of an upstream's configuration that say where its secrets go. */
export type DestinationSpec =
  | {
      readonly transport: 'stdio';
      readonly command: string;
      readonly args: readonly string[];
      readonly env: Readonly<Record<string, string>>;
      readonly secrets: References;
      /** Variables with the path of a file that holds the secret, where there are such. */
      readonly files?: References;
      /** Likewise with the number of a file descriptor. */
      readonly fds?: References;
      readonly runAs?: string | null;
    }
  | { readonly transport: 'http' | 'sse'; readonly url: string };

export function destinationOf(spec: DestinationSpec): UpstreamDestination {
  if (spec.transport !== 'stdio') return { kind: 'origin', origin: new URL(spec.url).origin };
  const { command, args, env, files = {}, fds = {}, runAs = null } = spec;
  const texts = (way: string, references: References): [string, string][] =>
    Object.entries(references).map(([into, ref]) => [`${into}${way}`, formatCredentialRef(ref)]);
  const secrets = Object.fromEntries([
    ...texts('', spec.secrets),
    ...texts('(file)', files),
    ...texts('(fd)', fds),
  ]);
  return { kind: 'command', command, args, env, secrets, runAs };
}

/**
 * Whether it is the Node that runs us. That one is not looked at: whoever can replace it has replaced us already, and
 * an update of Node should not cost a question for each secret.
 */
export function isOurNode(command: string): boolean {
  try {
    return realpathSync(command) === realpathSync(process.execPath);
  } catch {
    return false;
  }
}

function word(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : JSON.stringify(text);
}

/** In one line, for people: variables, program, arguments. */
export function describeCommand({ command, args, env, secrets, runAs }: CommandDestination): string {
  return [
    ...(runAs === null ? [] : [`as ${runAs}:`]),
    ...Object.entries(env).map(([name, value]) => `${name}=${word(value)}`),
    ...Object.entries(secrets).map(([name, ref]) => `${name}=[${ref}]`),
    isOurNode(command) ? 'node' : word(command),
    ...args.map(word),
  ].join(' ');
}
