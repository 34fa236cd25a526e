/** The report as text. */

const number = (value) =>
  value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(value >= 10 ? 3 : 2);

function quantity(value, unit) {
  if (!Number.isFinite(value)) return '–';
  if (unit === 'µs' && value >= 1_000) return `${number(value / 1_000)} ms`;
  return `${number(value)} ${unit}`.trim();
}

function ratio(cell, note) {
  if (note?.startsWith('failed')) return 'failed';
  if (!cell || cell.ratio === null) return '–';
  return `${cell.ratio.toFixed(2)}${note ? ` (${note})` : ''}`;
}

/** All columns but the floor's are ratios to it. */
export function table({ rows, absent, node, machine, load, quick }, targets, base) {
  const columns = targets.filter(
    (name) => name !== base && rows.some(({ cells, notes }) => cells[name] || notes[name]),
  );
  const lines = [['× floor', base, ...columns, 'goal']];
  for (const { label, unit, better, goal, cells, notes } of rows) {
    lines.push([
      label,
      quantity(cells[base]?.value ?? Number.NaN, unit),
      ...columns.map((name) => ratio(cells[name], notes[name])),
      goal === undefined ? '' : `${better === 'low' ? '≤' : '≥'} ${goal}`,
    ]);
  }
  const widths = lines[0].map((_, i) => Math.max(...lines.map((line) => line[i].length)));
  const format = (line) =>
    `| ${line.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join(' | ')} |`;
  const rule = `|${widths.map((width, i) => (i === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  const [head, ...body] = lines.map(format);
  const failures = rows.flatMap(({ label, notes }) =>
    Object.entries(notes).flatMap(([name, note]) =>
      note.startsWith('failed') ? [`${name}, ${label}: ${note}`] : [],
    ),
  );
  return [
    head,
    rule,
    ...body,
    '',
    `${node}, ${machine}, load ${load.map((value) => value.toFixed(1)).join(' ')}${quick ? ', quick' : ''}`,
    ...Object.entries(absent).map(([name, why]) => `absent: ${name}: ${why}`),
    ...failures,
  ].join('\n');
}
