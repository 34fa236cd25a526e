/** "Did you mean": the name that was probably meant. */

/** Beyond this a word is no slip of the fingers for one of ours, and may be a pasted secret. */
const LONGEST = 32;

/** Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`. */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      const edits = [
        (previous[j] ?? 0) + 1,
        (current[j - 1] ?? 0) + 1,
        (previous[j - 1] ?? 0) + (same ? 0 : 1),
      ];
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        edits.push((before[j - 2] ?? 0) + 1);
      current.push(Math.min(...edits));
    }
    before = previous;
    previous = current;
  }
  return previous[b.length] ?? 0;
}

/** `startTimeout`, `start-timeout` and `START_TIMEOUT` are one word. */
function plain(word: string): string {
  return word.toLowerCase().replaceAll(/[-_]/g, '');
}

/** The candidate within a third of its length from `word`, or `null`. */
export function nearest(word: string, candidates: Iterable<string>): string | null {
  if (word.length > LONGEST) return null;
  let best: string | null = null;
  let least = Number.POSITIVE_INFINITY;
  for (const candidate of candidates) {
    if (candidate.length > LONGEST) continue;
    const steps = distance(plain(word), plain(candidate));
    if (steps < least && steps <= Math.max(1, Math.floor(candidate.length / 3))) {
      best = candidate;
      least = steps;
    }
  }
  return best;
}

/** `; did you mean NAME?`, or nothing. */
export function didYouMean(word: string, candidates: Iterable<string>): string {
  const name = nearest(word, candidates);
  return name === null ? '' : `; did you mean ${name}?`;
}
