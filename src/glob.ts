/** Globs of `*` (any run of characters) and `?` (one character); everything else stands for itself. */

/** Characters beyond the Basic Multilingual Plane take two UTF-16 units and count as one. */
function widthAt(text: string, at: number): number {
  return (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1;
}

/**
 * Whether `pattern` matches all of `text`.
 *
 * Takes at most `pattern.length × text.length` steps: only the latest `*` is ever retried, since whatever an earlier one
 * could take over, the latest can take as well. A pattern such as `*a*a*a*b` therefore cannot explode (G4), which a
 * translation into a backtracking regular expression could.
 */
export function matchGlob(pattern: string, text: string): boolean {
  let p = 0;
  let t = 0;
  let star = -1;
  let starEnd = 0;
  while (t < text.length) {
    const wanted = pattern[p];
    if (wanted === '*') {
      star = p++;
      starEnd = t;
    } else if (wanted === '?') {
      p++;
      t += widthAt(text, t);
    } else if (wanted === text[t]) {
      p++;
      t++;
    } else if (star >= 0) {
      starEnd += widthAt(text, starEnd);
      p = star + 1;
      t = starEnd;
    } else return false;
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
}
