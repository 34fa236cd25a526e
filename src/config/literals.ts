/** Literal text of the configuration goes out as it stands, so no secret may stand in it, or be asked for (A5). */
import { parseCredentialRef } from '../credentials/ref.ts';
import { soundsSecret } from './http.ts';
import { looksLikeReference } from './references.ts';
import { tokenShape } from './token-shapes.ts';

/** Where the text stands, which says who could read a secret there, and where it goes instead. */
export type Literal = 'argument' | 'command' | 'variable' | 'url' | 'header' | 'helper';

const INSTEAD: Readonly<Record<Literal, string>> = {
  argument: 'every local user can read arguments; name it under secrets, files or fds',
  command: 'every local user can read the command line; name it under secrets, files or fds',
  variable: 'name it under secrets',
  url: 'servers and proxies log URLs; name it under secrets, as a header',
  header: 'name it under secrets, with a template where there is more than the secret',
  helper: 'a helper receives no secrets',
};

/** Other programs fill these in. Ours fills in none; a shell, or the server itself, could. */
const PLACEHOLDER = /\$\{([^{}]*)\}|\{\{([^{}]*)\}\}|\$([A-Za-z_]\w*)|%([A-Za-z_]\w*)%/g;

export interface Names {
  /** Variables that hold a secret. */
  readonly secret: ReadonlySet<string>;
  /** Variables that say where one is: a path, a descriptor. Whoever reads such a name learns nothing. */
  readonly pointing: ReadonlySet<string>;
}

/** Whether `text` has a placeholder of a secret: of a reference, of a secret variable, or of what sounds like one. */
function asksForSecret(text: string, { secret, pointing }: Names): boolean {
  for (const [, ...groups] of text.matchAll(PLACEHOLDER)) {
    const inner = (groups.find((group) => group !== undefined) ?? '').trim();
    if (parseCredentialRef(inner) !== null) return true;
    // `${TOKEN:-none}` of shells, `${input:token}` and `${env:TOKEN}` of editors.
    const name = /^(?:(?:env|input|secrets?)[.:])?([\w.-]*)/.exec(inner)?.[1] ?? '';
    if (secret.has(name) || (soundsSecret(name) && !pointing.has(name))) return true;
  }
  return false;
}

/** Variables may well hold `$…` for the server to read, and are read by nobody else. */
const PRIVATE: ReadonlySet<Literal> = new Set(['variable', 'helper']);

/** What is wrong with literal text, which is not repeated; or `null`. */
export function judgeLiteral(text: string, place: Literal, names: Names): string | null {
  const instead = INSTEAD[place];
  if (looksLikeReference(text)) return `expected literal text, got a credential reference; ${instead}`;
  const shape = tokenShape(text);
  if (shape !== null)
    return `expected no secret, got what looks like ${shape}: keep it with ostiary secret set; ${instead}`;
  if (!PRIVATE.has(place) && asksForSecret(text, names))
    return `expected literal text, got a placeholder of a secret, which nobody fills in here; ${instead}`;
  return null;
}
