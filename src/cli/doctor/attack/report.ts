/** What the attacks came to, for people and for programs. */
import type { JudgedAttempt, Verdict } from './judge.ts';
import { titleOf } from './titles.ts';

/** `denied` for the eye, `LEAK` so that nobody overlooks it. */
const words = { leak: 'LEAK', unproven: 'unproven', denied: 'denied', skipped: 'skipped' } as const;

/** The attempts that decided, each reason once. */
function reasons({ outcome, attempts }: Verdict): string {
  const deciding = attempts.filter((one) => one.outcome === outcome);
  const line = ({ what, why, secrets }: JudgedAttempt): string =>
    outcome === 'leak' ? `${what}: ${secrets.length > 0 ? secrets.join(', ') : why}` : `${what}: ${why}`;
  if (outcome === 'denied' || outcome === 'skipped')
    return [...new Set(deciding.map(({ why }) => why))].join(', ');
  return deciding.map(line).join('; ');
}

export function describe(verdicts: readonly Verdict[], level: string): string[] {
  const rows = verdicts.map((verdict) => [
    verdict.attack,
    titleOf(verdict.attack),
    words[verdict.outcome],
    reasons(verdict),
  ]);
  const widths = [0, 1, 2].map((column) => Math.max(0, ...rows.map((row) => (row[column] ?? '').length)));
  const table = rows.map((row) =>
    row.map((cell, column) => (column < 3 ? cell.padEnd(widths[column] ?? 0) : cell)).join('  '),
  );
  const count = (outcome: Verdict['outcome']): number =>
    verdicts.filter((verdict) => verdict.outcome === outcome).length;
  const leaks = count('leak');
  const rest = [
    `${count('denied')} denied`,
    ...(count('skipped') > 0 ? [`${count('skipped')} skipped`] : []),
    ...(count('unproven') > 0 ? [`${count('unproven')} unproven`] : []),
  ].join(', ');
  return [level, '', ...table, '', `${leaks} ${leaks === 1 ? 'attack leaks' : 'attacks leak'}, ${rest}`];
}

/** The shape is documented in `docs/doctor-attack.md`. */
export function toJson(verdicts: readonly Verdict[], level: string): string {
  const attacks = verdicts.map((verdict) => ({ ...verdict, title: titleOf(verdict.attack) }));
  return JSON.stringify({ level, attacks }, null, 2);
}
