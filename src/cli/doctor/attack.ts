/** `ostiary doctor --attack`: what an agent that means harm could get, tried on this machine. */
import { exitCodes, Failure } from '../../errors.ts';
import { judge } from './attack/judge.ts';
import { describe, toJson } from './attack/report.ts';
import { World } from './attack/world.ts';

export interface AttackOptions {
  /** As `run --isolation`; by default what `run` does. */
  readonly isolation?: string;
  /** Numbers of attacks, separated by commas. */
  readonly only?: string;
  readonly json?: boolean;
}

function wanted({ only }: AttackOptions): string[] {
  const numbers = (only ?? '').split(',').filter((number) => number !== '');
  const wrong = numbers.find((number) => !/^[A-I]\d{1,2}$/.test(number));
  if (wrong === undefined) return numbers;
  throw new Failure('usage', '--only: expected numbers of attacks', { hint: 'such as --only A1,A11' });
}

/** @returns the exit code: 0 when nothing leaked and every attack was refused, not merely broken */
export async function runAttack(options: AttackOptions): Promise<number> {
  if (process.platform !== 'linux')
    throw new Failure('failure', `--attack knows Linux only, this is ${process.platform}`);
  const only = wanted(options);
  if (options.json !== true)
    process.stderr.write('ostiary: attacking a private copy of ostiary, for about ten seconds\n');
  const isolation = options.isolation === undefined ? [] : ['--isolation', options.isolation];
  const { results, canaries, level } = await World.attacked(process.env, isolation, only);
  const verdicts = judge(results, canaries);
  const leaks = verdicts.filter(({ outcome }) => outcome === 'leak').length;
  if (options.json === true) process.stdout.write(`${toJson(verdicts, level)}\n`);
  else {
    for (const line of describe(verdicts, level)) process.stdout.write(`${line}\n`);
    if (leaks > 0 && level.startsWith('level L0'))
      process.stdout.write(
        'level L0 is no boundary against a program of your own user: run agents at level L1\n',
      );
  }
  return verdicts.some(({ outcome }) => outcome === 'leak' || outcome === 'unproven') ? exitCodes.failure : 0;
}
