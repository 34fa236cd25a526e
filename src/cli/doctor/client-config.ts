/**
 * Looks for secrets in the configuration of an MCP client, by the names and the look of values. JSON is read with the
 * places of its texts; of JSON with comments, and of TOML, each line by itself.
 */
import { soundsSecret } from '../../config/http.ts';
import { tokenShape } from '../../config/token-shapes.ts';
import { decodeString, elements, members, skipSpace } from '../../json.ts';

export interface PlainSecret {
  readonly line: number;
  /** The key, variable or option that it stands under. */
  readonly name: string;
  readonly what: string;
}

interface Text {
  readonly name: string;
  readonly value: string;
  /** Offset in bytes. */
  readonly at: number;
}

/** Keys under which clients keep their servers. The rest of such a file is the client's own: its history, its login. */
const serverKeys = new Set(['mcpServers', 'mcp', 'servers', 'mcp_servers', 'context_servers']);

/** Says where a secret is, or which variable has it, and is none. */
const pointing = /(?:file|path|dir|env|env_var|vars?|helper|command|url|uri|type|scopes?)$/i;

/** `${TOKEN}`, `$TOKEN`, `{env:TOKEN}`, `{file:…}`: filled in by the client. */
const placeholder = /\$\{|^\$[A-Za-z_]|\{(?:env|file|input):/;

function judge(name: string, value: string): string | null {
  const shape = tokenShape(value);
  if (shape !== null) return `what looks like ${shape}`;
  const [, option, given] = /^--?([\w-]+)=(.+)$/.exec(value) ?? [];
  if (option !== undefined && given !== undefined) return judge(option, given);
  const [, header, content] = /^([\w-]+):\s*(.+)$/.exec(value) ?? [];
  if (header !== undefined && content !== undefined && /^authorization$/i.test(header))
    return judge(header, content);
  const says = (soundsSecret(name) || /^(?:authorization|cookie)$/i.test(name)) && !pointing.test(name);
  if (!says || placeholder.test(value) || value.length < 8 || /^[/~.]/.test(value)) return null;
  return 'what sounds like a secret';
}

/** Every text below `from`, with the key that it, or the list that it is in, stands under. */
function* textsBelow(bytes: Buffer, from: number, end: number, name: string): Generator<Text> {
  const value = decodeString(bytes, { start: from, end });
  if (value !== null) return yield { name, value, at: from };
  for (const [key, span] of members(bytes, from)?.values ?? [])
    yield* textsBelow(bytes, span.start, span.end, key);
  for (const span of elements(bytes, { start: from, end }) ?? [])
    yield* textsBelow(bytes, span.start, span.end, name);
}

function* serverTexts(bytes: Buffer, from: number): Generator<Text> {
  for (const [key, span] of members(bytes, from)?.values ?? [])
    if (serverKeys.has(key)) yield* textsBelow(bytes, span.start, span.end, key);
    // `~/.claude.json` has the servers of each project under its path.
    else if (key === 'projects')
      for (const [, project] of members(bytes, span.start)?.values ?? [])
        yield* serverTexts(bytes, project.start);
}

function lineOf(bytes: Buffer, offset: number): number {
  let line = 1;
  for (let at = bytes.indexOf(10); at >= 0 && at < offset; at = bytes.indexOf(10, at + 1)) line++;
  return line;
}

function shownName(name: string): string {
  return /^[\w.-]{1,64}$/.test(name) && tokenShape(name) === null ? name : 'a value';
}

function inJson(bytes: Buffer, start: number): PlainSecret[] {
  const found: PlainSecret[] = [];
  for (const { name, value, at } of serverTexts(bytes, start)) {
    const what = judge(name, value);
    if (what !== null) found.push({ line: lineOf(bytes, at), name: shownName(name), what });
  }
  return found;
}

/** `NAME = "value"` and `"NAME": "value"`, several of them on a line in an inline table. */
const assignment = /"?([\w.-]+)"?\s*[=:]\s*(?:"([^"]*)"|'([^']*)')/g;

function byLine(text: string, isToml: boolean): PlainSecret[] {
  const found: PlainSecret[] = [];
  let ours = !isToml;
  for (const [index, line] of text.split('\n').entries()) {
    const table = isToml ? /^\s*\[+\s*([^\]]+)\]/.exec(line)?.[1] : undefined;
    if (table !== undefined) ours = table.startsWith('mcp_servers');
    if (!ours) continue;
    const named = [...line.matchAll(assignment)].map(([, name = '', double, single]) => ({
      name,
      what: judge(name, double ?? single ?? ''),
    }));
    const shape = tokenShape(line);
    const first = named.find(({ what }) => what !== null);
    const what = first?.what ?? (shape === null ? null : `what looks like ${shape}`);
    if (what !== null) found.push({ line: index + 1, name: shownName(first?.name ?? ''), what });
  }
  return found;
}

/** @param file its name says whether it is TOML */
export function secretsIn(file: string, bytes: Buffer): PlainSecret[] {
  const isToml = file.endsWith('.toml');
  const start = skipSpace(bytes, 0);
  if (!isToml && members(bytes, start) !== null) return inJson(bytes, start);
  return byLine(bytes.toString(), isToml);
}
