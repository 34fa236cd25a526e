/** The table level × attack of SECURITY.md, from reports of the kit. */
import type { Verdict } from '../../src/cli/doctor/attack/judge.ts';
import { type KitReport, type Level, levels } from './kit-runs.ts';

export type Reports = Readonly<Record<Level, { readonly report: KitReport | null }>>;

const words: Readonly<Record<Verdict['outcome'], string>> = {
  leak: '**LEAK**',
  denied: 'denied',
  unproven: '?',
  skipped: '–',
};

/** What a machine without something has to say about it: nothing. */
export const nothing = words.skipped;

const heading = ['attack', 'naive proxy', 'L0', 'L1, bubblewrap', 'L1, Landlock'];

/** One row per attack: its number and title, then the outcome per level. */
export function rowsOf(reports: Reports): string[][] {
  const verdicts = (level: Level) => reports[level].report?.attacks ?? [];
  const titles = new Map(levels.flatMap(verdicts).map(({ attack, title }) => [attack, title]));
  const order = [...titles].sort(
    ([a], [b]) => a.charCodeAt(0) - b.charCodeAt(0) || Number(a.slice(1)) - Number(b.slice(1)),
  );
  return order.map(([attack, title]) => [
    `${attack} ${title}`,
    ...levels.map((level) => {
      const verdict = verdicts(level).find((each) => each.attack === attack);
      return words[verdict?.outcome ?? 'skipped'];
    }),
  ]);
}

const markers = ['<!-- attack-table: scripts/attack-table.mjs -->', '<!-- end of attack-table -->'] as const;

/** Rows of the table in `text`, as {@link rowsOf} gives them. */
export function readTable(text: string): string[][] {
  const [, table = ''] = text.split(markers[0]);
  const rows = (table.split(markers[1])[0] ?? '').match(/^\| [A-I]\d.*$/gm) ?? [];
  return rows.map((row) => row.slice(2, -2).split(' | '));
}

/** @throws when `text` has no place for it */
export function replaceTable(text: string, reports: Reports): string {
  const [before, rest] = text.split(markers[0]);
  const after = rest?.split(markers[1])[1];
  if (before === undefined || after === undefined) throw new Error(`expected ${markers.join(' … ')}`);
  const rows = [heading, heading.map(() => '---'), ...rowsOf(reports)];
  const table = rows.map((row) => `| ${row.join(' | ')} |\n`).join('');
  return `${before}${markers[0]}\n\n${table}\n${markers[1]}${after}`;
}
