/** Where secrets were found in a text. */

/** Half-open range of bytes that shows a secret. */
export interface Hit {
  readonly start: number;
  readonly end: number;
  /** Credentials that it shows; the first one names the mark. */
  readonly labels: readonly string[];
}

function mergeTwo(a: Hit, b: Hit): Hit {
  const [long, short] = b.end - b.start > a.end - a.start ? [b, a] : [a, b];
  const others = short.labels.filter((label) => !long.labels.includes(label));
  const labels = others.length === 0 ? long.labels : [...long.labels, ...others];
  return { start: Math.min(a.start, b.start), end: Math.max(a.end, b.end), labels };
}

/** Sorted and disjoint; of overlapping hits the longest names the mark. */
export function mergeHits(hits: readonly Hit[]): Hit[] {
  const merged: Hit[] = [];
  for (const hit of hits.toSorted((a, b) => a.start - b.start)) {
    const last = merged.at(-1);
    if (last === undefined || hit.start >= last.end) merged.push(hit);
    else merged[merged.length - 1] = mergeTwo(last, hit);
  }
  return merged;
}
