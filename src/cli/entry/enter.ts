/** What every program of ours is in: a failure becomes two lines and an exit code. */
import { exitCodes, Failure, formatPlace } from '../../errors.ts';

/** Two layers: what failed, then what to try. */
function report(error: unknown): number {
  if (!(error instanceof Failure)) {
    process.stderr.write(
      `ostiary: unexpected error: ${error instanceof Error ? error.stack : String(error)}\n`,
    );
    return exitCodes.failure;
  }
  const where = error.place === undefined ? '' : `${formatPlace(error.place)}: `;
  process.stderr.write(`ostiary: ${where}${error.message}\n`);
  if (error.hint !== undefined) process.stderr.write(`  try: ${error.hint}\n`);
  return exitCodes[error.kind];
}

/**
 * Node ends a CommonJS program without a word, and with 0, when nothing is left that could settle what it waits for.
 * @param program with the arguments behind our name
 */
export async function enter(program: (argv: readonly string[]) => Promise<void>): Promise<void> {
  const unsettled = (): void => {
    process.exitCode ??= exitCodes.failure;
  };
  process.once('exit', unsettled);
  try {
    await program(process.argv.slice(2));
  } catch (error) {
    process.exitCode = report(error);
  }
  process.removeListener('exit', unsettled);
}
