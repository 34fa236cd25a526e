/** Findings as text for people and as JSON for programs; `docs/doctor.md` has both shapes. */
import { version } from '../../paths.ts';
import { type Examined, groups } from './check.ts';
import type { Level } from './codes.ts';
import { textOf } from './finding.ts';

const colours: Readonly<Record<Level, number>> = { pass: 32, warn: 33, fail: 31, skip: 90 };

/** Upstreams and other programs choose some of the words: nothing of them may steer the terminal. */
function printable(text: string): string {
  return text.replace(/\p{C}+/gu, ' ');
}

function paint(text: string, colour: number, colourful: boolean): string {
  return colourful ? `\u001b[${colour}m${text}\u001b[0m` : text;
}

export function countLevels(examined: readonly Examined[]): Record<Level, number> {
  const counts: Record<Level, number> = { pass: 0, warn: 0, fail: 0, skip: 0 };
  for (const { level } of examined.flatMap(({ findings }) => findings)) counts[level]++;
  return counts;
}

/** One line of each finding, its next step below it, and the numbers at the end. */
export function asText(examined: readonly Examined[], colourful: boolean): string {
  const all = examined.flatMap(({ findings }) => findings);
  const width = Math.max(...all.map(({ code }) => code.length));
  const lines: string[] = [];
  for (const group of groups) {
    const findings = examined.filter(({ check }) => check.group === group).flatMap((one) => one.findings);
    if (findings.length === 0) continue;
    lines.push(group);
    for (const each of findings) {
      const level = paint(each.level, colours[each.level], colourful);
      lines.push(`  ${level}  ${each.code.padEnd(width)}  ${printable(textOf(each))}`);
      if (each.next !== null) lines.push(`        try: ${printable(each.next)}`);
    }
    lines.push('');
  }
  const { pass, warn, fail, skip } = countLevels(examined);
  lines.push(`${pass} pass, ${warn} warn, ${fail} fail, ${skip} skip`);
  return `${lines.join('\n')}\n`;
}

export function asJson(examined: readonly Examined[]): string {
  const summary = countLevels(examined);
  const findings = examined.flatMap(({ check, findings }) =>
    findings.map(({ code, level, message, place, next }) => ({
      group: check.group,
      code,
      level,
      message,
      place,
      next,
    })),
  );
  return `${JSON.stringify({ version, ok: summary.fail === 0, summary, findings }, null, 2)}\n`;
}
