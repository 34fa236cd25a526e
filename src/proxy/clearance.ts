/**
 * "Agent started clean": before a CI job's agent is started, everything that it is given is compared with every secret.
 * The comparing is done here, so that the command that starts the agent never has the values; and the statement counts
 * what was compared here, whatever that command says.
 */
import { Failure } from '../errors.ts';
import { limits } from '../limits.ts';
import type { AuditEvent } from './audit/record.ts';
import type { Signer } from './audit/signature.ts';
import { plurals, type Text, type TextKind, textKinds } from './frames.ts';

/** Where in a text a secret stands. */
interface Hit {
  readonly start: number;
  readonly labels: readonly string[];
}

export interface ClearancePorts {
  /**
   * Fetches every secret that there is, so that it can be looked for.
   * @throws {Failure} naming one that cannot be had: nothing can be told to be free of it
   */
  readonly fetchSecrets: () => Promise<void>;
  /** By label; `redactable: false` is too short to be looked for. */
  readonly known: () => readonly { readonly label: string; readonly redactable: boolean }[];
  readonly locate: (bytes: Buffer) => readonly Hit[] | 'too much';
  /** With a mark in the place of each secret. */
  readonly scrub: (text: string) => string;
  /** The label of an open session; `null` when there is none of this id. */
  readonly agentOf: (session: string) => string | null;
  readonly record: (event: AuditEvent) => Promise<void>;
  readonly signer: Signer;
}

/** A secret in one of the texts. */
export interface Exposure {
  /** Number of the text among those that were sent, from 0. */
  readonly text: number;
  /** From 1. */
  readonly line: number;
  /** Of the credential. */
  readonly label: string;
}

export interface LookReport {
  readonly exposed: readonly Exposure[];
  /** Labels of secrets that are too short to be looked for. */
  readonly tooShort: readonly string[];
}

/** What the command that starts the agent knows and we do not. */
export interface ClearanceFacts {
  /** Of the agent: `L1 bubblewrap`. */
  readonly isolation: string;
  /** What was not looked at, and how many of each. */
  readonly skipped: Readonly<Record<string, number>>;
}

/** A place as a person knows it, and what is there. */
export interface NamedExposure {
  readonly place: string;
  readonly label: string;
}

interface Looked {
  readonly counts: Record<TextKind, number>;
  bytes: number;
  exposed: boolean;
}

function lineOf(bytes: Buffer, offset: number): number {
  let line = 1;
  for (let at = bytes.indexOf(0x0a); at >= 0 && at < offset; at = bytes.indexOf(0x0a, at + 1)) line++;
  return line;
}

export class Clearance {
  readonly #ports: ClearancePorts;
  /** By session: what was looked at and not stated yet. */
  readonly #looked = new Map<string, Looked>();

  constructor(ports: ClearancePorts) {
    this.#ports = ports;
  }

  /** @throws {Failure} no such session, a secret that cannot be had, or a stream that broke off */
  async look(session: string, texts: AsyncIterable<Text>): Promise<LookReport> {
    this.#agentOf(session);
    await this.#ports.fetchSecrets();
    const counts = Object.fromEntries(textKinds.map((kind) => [kind, 0])) as Looked['counts'];
    const looked: Looked = { counts, bytes: 0, exposed: false };
    const exposed: Exposure[] = [];
    let text = 0;
    for await (const { kind, bytes } of texts) {
      looked.counts[kind]++;
      looked.bytes += bytes.length;
      for (const [line, label] of this.#linesIn(bytes))
        if (exposed.length < limits.exposedPlaces) exposed.push({ text, line, label });
      text++;
    }
    looked.exposed = exposed.length > 0;
    this.#looked.set(session, looked);
    const tooShort = this.#ports.known().flatMap(({ label, redactable }) => (redactable ? [] : [label]));
    return { exposed, tooShort };
  }

  /** Each line and label once. */
  #linesIn(bytes: Buffer): Map<number, string> {
    const hits = this.#ports.locate(bytes);
    if (hits === 'too much') return new Map([[1, 'a secret, or what looks like one very often']]);
    return new Map(hits.map(({ start, labels }) => [lineOf(bytes, start), labels[0] ?? 'a secret']));
  }

  /**
   * Records and signs that nothing was found; once, for what was looked at last.
   * @returns the key that signed
   * @throws {Failure} when something was found, or nothing was looked at
   */
  async state(session: string, { isolation, skipped }: ClearanceFacts): Promise<string> {
    const agent = this.#agentOf(session);
    const looked = this.#looked.get(session);
    this.#looked.delete(session);
    if (looked === undefined || looked.exposed)
      throw new Failure('usage', 'this agent was not found to be clean');
    const secrets = this.#ports.known().flatMap(({ label, redactable }) => (redactable ? [label] : []));
    const { counts, bytes } = looked;
    const event = { event: 'agent.cleared', session, agent, isolation, secrets } as const;
    const named = Object.fromEntries(textKinds.map((kind) => [plurals[kind], counts[kind]]));
    const signed = this.#ports.signer.sign({ ...event, looked: { ...named, bytes }, skipped });
    await this.#ports.record(signed);
    return this.#ports.signer.key;
  }

  /**
   * Records that the agent was not started, and why.
   * @returns the same places, fit to be shown: the name of a file may hold a secret, too
   */
  async refuse(session: string, exposed: readonly NamedExposure[]): Promise<readonly NamedExposure[]> {
    const agent = this.#agentOf(session);
    this.#looked.delete(session);
    const clean = exposed.map(({ place, label }) => ({ place: this.#ports.scrub(place), label }));
    await this.#ports.record({
      event: 'agent.refused',
      session,
      agent,
      exposed: clean.map(({ place, label }) => `${place}: ${label}`),
    });
    return clean;
  }

  #agentOf(session: string): string {
    const agent = this.#ports.agentOf(session);
    if (agent === null) throw new Failure('usage', 'no such session');
    return agent;
  }
}
