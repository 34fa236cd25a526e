/**
 * Signatures (Ed25519, RFC 8032) over statements and over the log's last head. The key pair is made when the daemon
 * starts and its private half never leaves the daemon's memory, so nobody can sign in its name after it has ended. Which
 * public key was its own says whoever heard it before the agent was started, such as the log of the CI job.
 */
import {
  createPublicKey,
  sign as ed25519Sign,
  verify as ed25519Verify,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Failure } from '../../errors.ts';
import { writeAtomic } from '../../files.ts';
import type { Head } from './head.ts';
import { asciiJson, eventJson, isDigest } from './line.ts';
import type { AuditEvent, AuditRecord, Statement } from './record.ts';

/** A statement as it stands in a log. */
export type SignedStatement = Extract<AuditRecord, { event: 'agent.cleared' }>;

/** A public key: `ed25519:` and 32 bytes in base64url (RFC 8037). */
const KEY = /^ed25519:([A-Za-z0-9_-]{43})$/;

export function isKey(text: unknown): text is string {
  return typeof text === 'string' && KEY.test(text);
}

/** What a signature is for stands before what is signed, so that none can be passed off as another. */
function statementBytes(json: string): Buffer {
  return Buffer.from(`ostiary statement\n${json}`);
}

function headBytes({ seq, hash }: Head): Buffer {
  return Buffer.from(`ostiary audit head\n${seq}:${hash}`);
}

function verifies(bytes: Buffer, key: unknown, signature: unknown): boolean {
  const [, x] = KEY.exec(String(key)) ?? [];
  if (x === undefined || typeof signature !== 'string') return false;
  const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
  return ed25519Verify(null, bytes, publicKey, Buffer.from(signature, 'base64url'));
}

/** Whether the statement is as its key signed it. Whose key that is, is for others to say. */
export function isGenuine({
  seq: _seq,
  time: _time,
  prev: _prev,
  signature,
  ...event
}: SignedStatement): boolean {
  return verifies(statementBytes(asciiJson(event)), event.key, signature);
}

export interface SignedHead extends Head {
  readonly key: string;
}

export function signedHeadFile(log: string): string {
  return `${log}.signed`;
}

/**
 * The signed head beside a log; `null` when there is none.
 * @throws {Failure} when it is none of ours, or its signature is wrong
 */
export function readSignedHead(log: string): SignedHead | null {
  const file = signedHeadFile(log);
  let text: string;
  try {
    text = readFileSync(file, 'latin1');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return null;
    throw new Failure('failure', `signed head cannot be read: ${code}`, { place: { file }, cause: error });
  }
  try {
    const { seq, hash, key, signature } = JSON.parse(text) as Partial<Record<string, unknown>>;
    if (typeof seq === 'number' && isDigest(hash) && isKey(key))
      if (verifies(headBytes({ seq, hash }), key, signature)) return { seq, hash, key };
  } catch {
    // Said below.
  }
  throw new Failure('audit', 'the signature of the head is wrong', {
    place: { file },
    hint: 'it was changed, or is no signed head; compare the log with copies kept elsewhere',
  });
}

export class Signer {
  readonly #privateKey: KeyObject;
  /** The public key. */
  readonly key: string;
  #used = false;

  constructor() {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    this.#privateKey = privateKey;
    this.key = `ed25519:${publicKey.export({ format: 'jwk' }).x}`;
  }

  sign(said: Omit<Statement, 'key'>): Extract<AuditEvent, { event: 'agent.cleared' }> {
    this.#used = true;
    const statement = { ...said, key: this.key };
    // As it will stand in the log, cut to size.
    return { ...statement, signature: this.#sign(statementBytes(eventJson(statement))) };
  }

  /** Keeps the last head beside the log, if anything was signed that it has to hold together. */
  keepHead(log: string, { seq, hash }: Head): void {
    if (!this.#used) return;
    const head = { seq, hash, key: this.key, signature: this.#sign(headBytes({ seq, hash })) };
    writeAtomic(signedHeadFile(log), `${JSON.stringify(head)}\n`);
  }

  #sign(bytes: Buffer): string {
    return ed25519Sign(null, bytes, this.#privateKey).toString('base64url');
  }
}
