/** Making attacks, each in a process of its own: one that crashes, hangs or loses its rights takes no other along. */
import { spawn } from 'node:child_process';
import { sealedForSpawn } from '../../environment.ts';
import { limits } from '../../limits.ts';
import { programFile } from '../../paths.ts';
import type { Attack } from './attack.ts';
import { attacks } from './attacks.ts';
import type { Answers, AttackResult, Attempt, Brief, FromKit, Question } from './brief.ts';
import { readLines, sendLine } from './lines.ts';

export interface Order {
  readonly brief: Brief;
  /** Numbers of attacks; empty: all. */
  readonly only: readonly string[];
}

/** What the trusted side sends after the brief. */
export type Answer = Answers[Question];

export type Ask = (question: Question) => Promise<Answer>;

const kitFile = programFile('agents/attack/kit.js');

/** Two at a time: one alone would leave half of a small machine idle. */
const together = 2;

function wanted({ only }: Order): Attack[] {
  return attacks.filter(({ number }) => only.length === 0 || only.includes(number));
}

/** Killed when it takes too long. @param ask relays a question */
async function attackInChild(attack: Attack, order: Order, ask: Ask): Promise<AttackResult> {
  const child = spawn(process.execPath, [kitFile, `${attack.number} ${attack.name}`], {
    env: sealedForSpawn(process.env as Record<string, string>),
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const unproven = (why: string): AttackResult => {
    const attempt: Attempt = { what: attack.name, outcome: 'unproven', why, sightings: [] };
    return { attack: attack.number, attempts: [attempt] };
  };
  let result = unproven('its process ended early');
  const timer = setTimeout(() => {
    result = unproven(`took longer than ${limits.attackMs / 1000} s`);
    child.kill('SIGKILL');
  }, limits.attackMs);
  const ended = new Promise<void>((resolve) => {
    child.on('close', () => resolve());
    child.on('error', () => resolve());
  });
  child.stdin.on('error', () => {});
  sendLine(child.stdin, order);
  for await (const message of readLines<FromKit>(child.stdout)) {
    if ('ask' in message) sendLine(child.stdin, await ask(message.ask));
    else if ('result' in message) {
      result = message.result;
      child.stdin.end();
    }
  }
  await ended;
  clearTimeout(timer);
  return result;
}

/** Makes those that disturb nobody, then, one by one, those that run alone. */
export async function attackAll(order: Order, ask: Ask, tell: (result: AttackResult) => void): Promise<void> {
  const perform = async (attack: Attack): Promise<void> => tell(await attackInChild(attack, order, ask));
  const quiet = wanted(order).filter(({ alone }) => alone !== true);
  const workers = Array.from({ length: together }, async () => {
    for (let attack = quiet.shift(); attack !== undefined; attack = quiet.shift()) await perform(attack);
  });
  await Promise.all(workers);
  for (const attack of wanted(order).filter(({ alone }) => alone === true)) await perform(attack);
}
