/**
 * When a token says that it expires, if it is a JWT (RFC 7519). Nothing is verified, and nothing but the time of the next
 * refresh follows from it.
 */

function part(encoded: string): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(Buffer.from(encoded, 'base64url').toString());
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

/** `exp` in Unix milliseconds; `null` for what is no JWT in compact form (RFC 7515, section 7.1), or has none. */
export function jwtExpiry(token: Buffer): number | null {
  const [, header, payload] = /^([\w-]{2,})\.([\w-]{2,})\.[\w-]*\r?\n?$/.exec(token.toString('latin1')) ?? [];
  if (header === undefined || payload === undefined) return null;
  if (typeof part(header)?.alg !== 'string') return null;
  const exp = part(payload)?.exp;
  // Beyond the range of Date it is no time.
  return typeof exp === 'number' && exp >= 0 && exp <= 8.64e12 ? Math.floor(exp * 1000) : null;
}
