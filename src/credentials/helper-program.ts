/** May we run this file? Whoever can change it is given the secret, and whatever else a program of ours may do (E9, I2). */
import { realpathSync, statSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { Failure, formatPlace } from '../errors.ts';
import { checkAncestors } from '../files.ts';

function changeable(label: string, how: string, hint: string | undefined): Failure {
  return new Failure(
    'config',
    `${label}: the helper's executable ${how}`,
    hint === undefined ? {} : { hint },
  );
}

/**
 * Throws unless only root and we can change the executable or what leads to it. One that does not exist is left to
 * `spawn`. What an interpreter reads, such as a script among the arguments, is not looked at.
 */
export function checkHelperProgram(label: string, file: string | undefined): asserts file is string {
  if (file === undefined || !isAbsolute(file))
    throw changeable(
      label,
      'is not an absolute path',
      'a relative one could be replaced by whoever controls PATH or the working directory',
    );
  let real: string;
  try {
    real = realpathSync(file);
  } catch {
    return;
  }
  const { uid, mode } = statSync(real);
  if (uid !== 0 && uid !== process.getuid?.())
    throw changeable(label, `is owned by uid ${uid}, who could replace it`, `ls -l ${real}`);
  if ((mode & 0o022) !== 0) throw changeable(label, 'is writable by others', `chmod go-w ${real}`);
  try {
    checkAncestors(file);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const where = error.place === undefined ? '' : `${formatPlace(error.place)}: `;
    throw changeable(label, `could be replaced: ${where}${error.message}`, error.hint);
  }
}
