/**
 * A URL on its way to a browser (E5). What opens one has been made to run commands by `file:`, `javascript:` and shell
 * metacharacters (CVE-2025-6514); whoever opens this one uses no shell, and nothing in it would mean anything to one.
 */
import { checkedUrl } from './http.ts';

/** What shells, `cmd.exe` and AppleScript read otherwise than as themselves; `&` alone is needed, and stays. */
const escaped = /["'`$;|<>()\\^!*{}[\]\s]/g;

/**
 * The same URL, absolute, https (or http to loopback), with everything else percent-encoded.
 * @throws {HttpProblem} a URL of another kind
 */
export function browserUrl(text: string): URL {
  const { origin, pathname, search } = checkedUrl(text);
  const path = `${pathname}${search}`.replace(
    escaped,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  );
  return new URL(`${origin}${path}`);
}
