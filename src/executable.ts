/** Programs are looked for in known places; one is there when it can be executed. */
import { accessSync, constants } from 'node:fs';

/** For us; a directory that we may enter counts, too. */
export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
