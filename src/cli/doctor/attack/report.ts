/** What the attacks came to, for people and for programs. */
import type { JudgedAttempt, Verdict } from './judge.ts';
import { titleOf } from './titles.ts';

/** `denied` for the eye, `LEAK` so that nobody overlooks it. */
const words = { leak: 'LEAK', unproven: 'unproven', denied: 'denied', skipped: 'skipped' } as const;

/** What a code of the kernel means for whoever was refused. */
const meanings: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EBUSY: 'pinned',
  ECONNREFUSED: 'nobody listens',
  ECONNRESET: 'cut off',
  ENOENT: 'not there for it',
  ENOKEY: 'no such key for it',
  EPERM: 'not permitted',
  EROFS: 'read-only',
  ESRCH: 'no such process',
};

/** The attempts that decided, each reason once. */
function reasons({ outcome, attempts }: Verdict): string {
  const deciding = attempts.filter((one) => one.outcome === outcome);
  const because = ({ why, secrets }: JudgedAttempt): string =>
    secrets.length > 0 ? secrets.join(', ') : (meanings[why] ?? why);
  const lines =
    outcome === 'leak' || outcome === 'unproven'
      ? deciding.map((one) => `${one.what}: ${because(one)}`)
      : deciding.map(because);
  return [...new Set(lines)].join('; ');
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

/** The shape is documented in `docs/attack.md`. */
export function toJson(verdicts: readonly Verdict[], level: string): string {
  const attacks = verdicts.map((verdict) => ({ ...verdict, title: titleOf(verdict.attack) }));
  return JSON.stringify({ level, attacks }, null, 2);
}
