/** Plays the rows of `fidelity-table.ts`, both ends, and compares bytes. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { Endpoint, Peer, Wire } from '../support/wire.ts';
import { type Row, rows } from './fidelity-table.ts';

/** What one side writes for each name of a row. */
type Names = Map<string, string>;

interface Side {
  readonly who: 'client' | 'server';
  readonly peer: Peer;
  readonly names: Names;
}

const placeholder = /@([a-z])@/;

/** Literal text at even places, names at odd ones. */
const parts = (template: string): string[] => template.split(placeholder);

function fill(template: string, names: Names): Buffer {
  const filled = parts(template).map((part, index) => (index % 2 === 0 ? part : names.get(part)));
  return Buffer.from(filled.join(''));
}

/** A string or number at `at` in JSON. */
function scalarAt(bytes: Buffer, at: number): string {
  const [scalar = ''] =
    /^(?:"(?:[^"\\]|\\.)*"|-?[0-9][-+.0-9eE]*)/.exec(bytes.toString('utf8', at, at + 2_000)) ?? [];
  return scalar;
}

/** Learns the names in `heard` that `names` does not have; everything else is compared. */
function learn(template: string, heard: Buffer, names: Names): void {
  let at = 0;
  for (const [index, part] of parts(template).entries()) {
    if (index % 2 === 1 && !names.has(part)) names.set(part, scalarAt(heard, at));
    at += Buffer.byteLength(index % 2 === 0 ? part : (names.get(part) as string));
  }
  assertSameBytes(heard, fill(template, names));
}

/** As `assert.deepEqual`, but says in a few words where megabytes differ. */
function assertSameBytes(actual: Buffer, expected: Buffer): void {
  if (actual.equals(expected)) return;
  let at = 0;
  while (actual[at] === expected[at]) at++;
  const around = (bytes: Buffer): string => bytes.toString('utf8', Math.max(0, at - 40), at + 80);
  assert.fail(
    `${actual.length} bytes, expected ${expected.length}; different from byte ${at} on\n` +
      `  came:     …${around(actual)}…\n  expected: …${around(expected)}…`,
  );
}

export const greeting: Row = {
  name: 'greeting',
  names: { a: '"greeting"' },
  steps: [
    {
      from: 'client',
      says: [
        '{"jsonrpc":"2.0","id":@a@,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"roots":{},"sampling":{},"elicitation":{}},"clientInfo":{"name":"test","version":"0"}}}',
      ],
    },
    {
      from: 'server',
      says: [
        '{"jsonrpc":"2.0","id":@a@,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"test","version":"0"}}}',
      ],
    },
    { from: 'client', says: ['{"jsonrpc":"2.0","method":"notifications/initialized"}'] },
  ],
};

export async function play(endpoint: Endpoint, wire: Wire, { names, steps }: Row): Promise<void> {
  const client: Side = { who: 'client', peer: wire.client, names: new Map() };
  const server: Side = { who: 'server', peer: wire.server, names: new Map() };
  for (const { from, says, arrives = says } of steps) {
    const [speaker, listener] = from === 'client' ? [client, server] : [server, client];
    for (const [, name = ''] of says.join('').matchAll(new RegExp(placeholder, 'g')))
      if (!speaker.names.has(name)) speaker.names.set(name, names[name] as string);
    speaker.peer.send(...says.map((template) => fill(template, speaker.names)));
    const heard: Buffer[] = [];
    while (heard.length < arrives.length) heard.push(await listener.peer.next());
    const expected =
      endpoint.isLines || says.length === 1 ? arrives : inOrderOf(heard, arrives, listener.names);
    for (const [index, template] of expected.entries())
      learn(template, heard[index] as Buffer, listener.names);
  }
  if (endpoint.keepsIds)
    for (const [name, raw] of server.names) assert.equal(raw, client.names.get(name) ?? raw, `name ${name}`);
  assert.deepEqual([wire.client.unread, wire.server.unread], [0, 0], 'nothing else has come');
}

/** What belongs to several requests comes on several connections: any order will do. */
function inOrderOf(heard: readonly Buffer[], arrives: readonly string[], names: Names): string[] {
  const left = [...arrives];
  return heard.map((bytes) => {
    const index = left.findIndex((template) => fill(template, names).equals(bytes));
    return left.splice(Math.max(index, 0), 1)[0] as string;
  });
}

export interface Differences {
  /** Why a row makes no sense here. */
  readonly skip?: (row: Row) => string | undefined;
  /** How a conversation begins, where that is not {@link greeting}. */
  readonly greet?: (wire: Wire) => Promise<void>;
  /** The row as it is said here. */
  readonly as?: (row: Row) => Row;
}

/** All rows, in one conversation except for those that open one. */
export function everyRow(
  endpoint: () => Endpoint,
  { skip, greet, as = (row) => row }: Differences = {},
): void {
  let current: Wire | undefined;
  const close = (wire: Wire | undefined): void => {
    wire?.client.close();
    wire?.server.close();
  };
  after(() => close(current));

  const open = async (): Promise<Wire> => {
    const wire = await endpoint().open();
    await (greet === undefined ? play(endpoint(), wire, greeting) : greet(wire));
    return wire;
  };

  for (const row of rows.map(as))
    test(row.name, async (t) => {
      const why = skip?.(row);
      if (why !== undefined) return t.skip(why);
      if (row.ownIds && !endpoint().keepsIds) return t.skip('ids are exchanged here');
      if (row.multiline && endpoint().isLines) return t.skip('a line has no line breaks');
      if (row.opens) {
        const wire = await endpoint().open();
        t.after(() => close(wire));
        return play(endpoint(), wire, row);
      }
      current ??= await open();
      try {
        await play(endpoint(), current, row);
      } catch (error) {
        // What is left of it must not fail the next one.
        close(current);
        current = undefined;
        throw error;
      }
    });
}
