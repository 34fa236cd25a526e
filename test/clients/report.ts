/** The matrix as text, and the command line that runs it. */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Bench, cases, type Row } from './matrix.ts';

function negotiationOf({ negotiation, header }: Row): string {
  if (negotiation === null) return '–';
  const { era, version, probed } = negotiation;
  const probe = probed === null ? '' : `, after server/discover: ${probed}`;
  return `${era} ${version}${header === null || header === version ? '' : ` (header ${header})`}${probe}`;
}

const verdicts = { passed: 'ok', failed: 'FAILED', skipped: 'skipped' } as const;

export function table(rows: readonly Row[]): string {
  const lines = [
    ['client', 'version', 'transport', 'upstream', 'negotiated', 'tools', 'called', 's', 'verdict'],
    ...rows.map((row) => [
      row.client,
      row.version,
      row.transport,
      row.upstream,
      negotiationOf(row),
      String(row.tools),
      row.called ? 'yes' : 'no',
      row.seconds.toFixed(1),
      row.why === '' ? verdicts[row.status] : `${verdicts[row.status]}: ${row.why}`,
    ]),
  ];
  const widths = lines[0]?.map((_, i) => Math.max(...lines.map((line) => line[i]?.length ?? 0))) ?? [];
  const format = (line: readonly string[]): string =>
    `| ${line.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |`;
  const [head = [], ...body] = lines;
  const rule = `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`;
  return [format(head), rule, ...body.map(format)].join('\n');
}

/** Runs what the arguments ask for; resolves with the exit code. */
export async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({ args, options: { only: { type: 'string' }, json: { type: 'string' } } });
  const only = values.only?.split(',') ?? [];
  const names = [...new Set(cases.map(({ client }) => client.name.split(' ')[0] ?? ''))];
  const unknown = only.filter((name) => !names.includes(name));
  if (unknown.length > 0) {
    console.error(`matrix: unknown client: ${unknown.join(', ')}`);
    console.error(`hint: clients are ${names.join(', ')}`);
    return 2;
  }
  const rows: Row[] = [];
  const bench = await Bench.start();
  // The daemon is a resident one: it would outlive us.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => void bench.stop().finally(() => process.exit(1)));
  try {
    for (const row of cases.filter(
      ({ client }) => only.length === 0 || only.some((name) => client.name.startsWith(name)),
    )) {
      console.error(`${row.client.name}, ${row.transport}, ${row.upstream} …`);
      rows.push(await bench.run(row));
    }
  } finally {
    await bench.stop();
  }
  console.log(table(rows));
  const strangers = rows.flatMap(({ client, strangers }) => strangers.map((host) => `${client}: ${host}`));
  if (strangers.length > 0)
    console.log(`\nwanted off this machine, and was not let: ${[...new Set(strangers)].join('; ')}`);
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(rows, null, 2)}\n`);
  return rows.some(({ status }) => status === 'failed') ? 1 : 0;
}
