/**
 * The attack kit: an agent that means harm. `ostiary doctor --attack` starts it as `ostiary run` starts any agent; it
 * gets its brief on standard input and says on standard output what it could do. Each attack is a process of its own:
 * one that crashes, hangs or loses its rights takes no other along.
 */
import { spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { sealedForSpawn } from '../../environment.ts';
import { limits } from '../../limits.ts';
import type { Attack, World } from './attack.ts';
import { attackNamed, attacks } from './attacks.ts';
import type { Answers, AttackResult, Attempt, Brief, FromKit, Question } from './brief.ts';
import { readLines, sendLine } from './lines.ts';

/** What the trusted side sends after the brief. */
type Answer = Answers[Question];

export interface Order {
  readonly brief: Brief;
  /** Numbers of attacks; empty: all. */
  readonly only: readonly string[];
}

const thisFile = fileURLToPath(import.meta.url);

function idOf({ number, name }: Attack): string {
  return `${number} ${name}`;
}

/** One attack, in this process. */
async function attackAlone(attack: Attack, from: Readable, to: Writable): Promise<void> {
  const lines = readLines<unknown>(from);
  const next = async <T>(): Promise<T> => {
    const { value, done } = await lines.next();
    if (done === true) throw new Error('the trusted side has gone');
    return value as T;
  };
  const { brief } = await next<Order>();
  const world: World = {
    brief,
    ask: (question) => {
      sendLine(to, { ask: question } satisfies FromKit);
      return next();
    },
  };
  const result: AttackResult = { attack: attack.number, attempts: await attack.run(world) };
  sendLine(to, { result } satisfies FromKit);
  await lines.return(undefined);
}

/** One attack, in a process that is killed when it takes too long. @param ask relays a question */
async function attackInChild(
  attack: Attack,
  order: Order,
  ask: (question: Question) => Promise<Answer>,
): Promise<AttackResult> {
  const child = spawn(process.execPath, [thisFile, idOf(attack)], {
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

/** Two at a time: one alone would leave half of a small machine idle. */
const together = 2;

async function attackAll(from: Readable, to: Writable): Promise<void> {
  const lines = readLines<unknown>(from);
  sendLine(to, { ready: true } satisfies FromKit);
  const order = (await lines.next()).value as Order;
  const ask = async (question: Question): Promise<Answer> => {
    sendLine(to, { ask: question } satisfies FromKit);
    return (await lines.next()).value as Answer;
  };
  const wanted = attacks.filter(({ number }) => order.only.length === 0 || order.only.includes(number));
  const perform = async (attack: Attack): Promise<void> =>
    sendLine(to, { result: await attackInChild(attack, order, ask) } satisfies FromKit);
  const quiet = wanted.filter(({ alone }) => alone !== true);
  const workers = Array.from({ length: together }, async () => {
    for (let attack = quiet.shift(); attack !== undefined; attack = quiet.shift()) await perform(attack);
  });
  await Promise.all(workers);
  for (const attack of wanted.filter(({ alone }) => alone === true)) await perform(attack);
  sendLine(to, { over: true } satisfies FromKit);
  await lines.return(undefined);
}

const single = attackNamed(process.argv[2] ?? '');
await (single === undefined
  ? attackAll(process.stdin, process.stdout)
  : attackAlone(single, process.stdin, process.stdout));
process.exit();
