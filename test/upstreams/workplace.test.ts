/** The directories of children that run as users of their own: who removes them, and who else at that moment. */
import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { clearForeignPlaces, makeWorkplace } from '../../src/upstreams/stdio/workplace.ts';
import { canBecome } from '../os/support.ts';
import { stranger } from '../support/users.ts';

const notRoot = process.getuid?.() !== 0 && 'needs root';

test('F5 the end of a child and the end of the daemon remove its directories at once', {
  skip: notRoot,
}, async (t) => {
  if (!canBecome(t, stranger)) return;
  const directory = mkdtempSync(join(tmpdir(), 'ostiary-'));
  chmodSync(directory, 0o711);
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const base = join(directory, 'work', 'daemon');
  const place = makeWorkplace({ own: directory, foreign: base }, 'one', { uid: stranger, gid: stranger });
  for (const path of [place.cwd, place.tmp]) {
    mkdirSync(join(path, 'made'));
    writeFileSync(join(path, 'made', 'by-the-child'), '');
    for (const each of [join(path, 'made'), join(path, 'made', 'by-the-child')])
      chownSync(each, stranger, stranger);
  }
  const left = () => readdirSync(base);
  assert.equal(left().length, 1);
  const ends = [place.remove(), clearForeignPlaces(base)].map((end) => end.then(left));
  assert.deepEqual(await Promise.all(ends), [[], []]);
});
