/** Every command line on the machine, looked at all the while: an argv lives as long as its process, which may be short. */
import { readdirSync, readFileSync } from 'node:fs';
import { mainFile } from '../../src/cli/main-file.ts';

export interface Watched {
  /** Command lines of this ostiary, or that mention this test's directory. */
  readonly ours: string[];
  /** Those, and any others, that hold one of the values. */
  readonly holding: number;
}

/** Looks until `stop` is called. */
export function watchCommandLines(directory: string, values: readonly string[]): { stop: () => Watched } {
  const ours = new Set<string>();
  let holding = 0;
  const look = (): void => {
    for (const name of readdirSync('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      let text: string;
      try {
        text = readFileSync(`/proc/${name}/cmdline`, 'utf8');
      } catch {
        continue;
      }
      if (values.some((value) => text.includes(value))) holding++;
      if (text.includes(directory) || text.includes(mainFile)) ours.add(text.replaceAll('\0', ' '));
    }
  };
  const timer = setInterval(look, 10);
  return {
    stop: () => {
      clearInterval(timer);
      look();
      return { ours: [...ours], holding };
    },
  };
}
