// Writes the table of SECURITY.md anew from what the attack kit finds on this machine, which should have all that is
// attacked: root to make an ordinary user, bubblewrap, a Secret Service. Needs the build of `npm test`.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const { allRuns } = await import(join(root, 'build', 'test', 'attacks', 'kit-runs.js'));
const { replaceTable } = await import(join(root, 'build', 'test', 'attacks', 'kit-table.js'));
const ends = [];
try {
  const runs = await allRuns({ after: (end) => void ends.push(end) });
  for (const [level, { code, stderr, report }] of Object.entries(runs))
    if (report === null) throw new Error(`${level}: ${code}: ${stderr}`);
  const path = join(root, 'SECURITY.md');
  writeFileSync(path, replaceTable(readFileSync(path, 'utf8'), runs));
} finally {
  for (const end of ends.reverse()) await end();
}
