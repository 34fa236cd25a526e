/** A time limit and somebody's wish to stop, as one signal. */
export interface Deadline {
  readonly signal: AbortSignal;
  /** Whether time was what ended it. */
  readonly passed: () => boolean;
  /** To be called when nothing waits any more. */
  readonly end: () => void;
}

/** The longest timer that Node has; about 25 days. */
const longest = 2 ** 31 - 1;

/** By hand: of `AbortSignal.any([AbortSignal.timeout(…)])` some versions of Node collect the timeout before it fires. */
export function deadline(ms: number, stop: AbortSignal | undefined): Deadline {
  const controller = new AbortController();
  let passed = false;
  const timer = setTimeout(
    () => {
      passed = true;
      controller.abort();
    },
    Math.min(ms, longest),
  );
  const stopped = (): void => controller.abort();
  if (stop?.aborted === true) stopped();
  stop?.addEventListener('abort', stopped, { once: true });
  return {
    signal: controller.signal,
    passed: () => passed,
    end: () => {
      clearTimeout(timer);
      stop?.removeEventListener('abort', stopped);
    },
  };
}
