/**
 * The server's answer to one refresh, written by the process that got it before anybody uses it. A server that rotates
 * refresh tokens has forgotten the old one by then: this file is the login, until the vault has it.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { privateDirectory, readTrusted, removeTemporaries, writeAtomic } from '../../files.ts';
import { openJwe, sealJwe } from '../jwe.ts';
import type { TokenOutcome } from './login.ts';
import type { Attempt } from './login-store.ts';

const TYP = 'ostiary-refresh/1';

/** @param directory of the state, {@link refreshDirectory} @param id of the login */
function answerFile(directory: string, id: string): string {
  return join(directory, `${id}.answer`);
}

/** In the state directory; made where it is missing. */
export function refreshDirectory(state: string): string {
  return privateDirectory(join(state, 'refresh'));
}

export async function writeAnswer(
  directory: string,
  id: string,
  { key }: Pick<Attempt, 'key'>,
  outcome: TokenOutcome,
): Promise<void> {
  const plaintext = Buffer.from(JSON.stringify(outcome));
  writeAtomic(
    answerFile(directory, id),
    await sealJwe(plaintext, Buffer.from(key, 'base64url'), { typ: TYP }),
  );
  plaintext.fill(0);
}

/** `null` when that attempt left none; an answer to another one does not open. */
export async function readAnswer(
  directory: string,
  id: string,
  { key }: Pick<Attempt, 'key'>,
): Promise<TokenOutcome | null> {
  const jwe = readTrusted(answerFile(directory, id), 'private');
  const plaintext = jwe === null ? null : await openJwe(jwe.toString(), Buffer.from(key, 'base64url'), TYP);
  if (plaintext === null) return null;
  const outcome = JSON.parse(plaintext.toString()) as TokenOutcome;
  plaintext.fill(0);
  return outcome;
}

/** Also takes away what a process killed while writing left. Only for who holds the login's turn. */
export function removeAnswer(directory: string, id: string): void {
  const file = answerFile(directory, id);
  rmSync(file, { force: true });
  removeTemporaries(file);
}
