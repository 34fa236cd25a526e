/** The trusted end of the kit's standard input and output. */
import type { Readable, Writable } from 'node:stream';
import type {
  Answers,
  AttackResult,
  Attempt,
  Brief,
  FromKit,
  Question,
} from '../../../agents/attack/brief.ts';
import { readLines, sendLine } from '../../../agents/attack/lines.ts';
import { programFile } from '../../../paths.ts';

/** What `run`, or whoever else, is to start. */
export const kitFile = programFile('agents/attack/kit.js');

/** What the kit may ask for. */
export type Trusted = { readonly [Q in Question]: () => Promise<Answers[Q]> };

/**
 * @param brief asked for once the kit runs: only then are there processes to name
 * @returns the results; fewer than wanted, if the kit ended early
 */
export async function driveKit(
  kit: { readonly stdin: Writable; readonly stdout: Readable },
  brief: () => Promise<Brief>,
  only: readonly string[],
  trusted: Trusted,
): Promise<{ readonly results: AttackResult[]; readonly whole: boolean }> {
  const results: AttackResult[] = [];
  kit.stdin.on('error', () => {});
  // What an ended kit has asked for may never come.
  const ended = new Promise<null>((resolve) => kit.stdout.once('close', () => resolve(null)));
  for await (const message of readLines<FromKit>(kit.stdout)) {
    if ('ready' in message) sendLine(kit.stdin, { brief: await brief(), only });
    else if ('ask' in message) {
      const answer = await Promise.race([trusted[message.ask](), ended]);
      if (answer === null) break;
      sendLine(kit.stdin, answer);
    } else if ('result' in message) results.push(message.result);
    else {
      // It waits for this, so that nothing of what it said is lost.
      kit.stdin.end();
      return { results, whole: true };
    }
  }
  return { results, whole: false };
}

/** The attempts of several attacks as those of one. */
export function attemptsOf(results: readonly AttackResult[]): Attempt[] {
  return results.flatMap(({ attack, attempts }) =>
    attempts.map((attempt) => ({ ...attempt, what: `${attack}: ${attempt.what}` })),
  );
}
