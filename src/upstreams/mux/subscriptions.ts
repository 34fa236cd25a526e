/** Which clients watch which resources (legacy `resources/subscribe`); the server knows of one client only. */
import { limits } from '../../limits.ts';
import type { Leg } from './leg.ts';

/**
 * `uri` and all that it is a part of: an update may tell of a sub-resource of what was subscribed to (MCP 2025-11-25,
 * "Resources"). The scheme alone is nobody's parent.
 */
function withParents(uri: string): Set<string> {
  const found = new Set([uri]);
  const authority = uri.indexOf('://');
  const end = Math.min(uri.length, limits.subscriptionUriChars);
  for (let at = authority < 0 ? uri.indexOf(':') + 1 : authority + 3; at < end; at++) {
    const char = uri[at];
    if (char !== '/' && char !== '?' && char !== '#') continue;
    found.add(uri.slice(0, at));
    if (char === '/') found.add(uri.slice(0, at + 1));
  }
  return found;
}

export class Subscriptions {
  readonly #legs = new Map<string, Set<Leg>>();
  readonly #uris = new Map<Leg, Set<string>>();

  /** False beyond the bounds. */
  add(leg: Leg, uri: string): boolean {
    const uris = this.#uris.get(leg) ?? new Set();
    if (uri.length > limits.subscriptionUriChars) return false;
    if (!uris.has(uri) && uris.size >= limits.subscriptionsPerLeg) return false;
    this.#uris.set(leg, uris.add(uri));
    this.#legs.set(uri, (this.#legs.get(uri) ?? new Set()).add(leg));
    return true;
  }

  has(leg: Leg, uri: string): boolean {
    return this.#uris.get(leg)?.has(uri) ?? false;
  }

  remove(leg: Leg, uri: string): void {
    const uris = this.#uris.get(leg);
    if (uris?.delete(uri) && uris.size === 0) this.#uris.delete(leg);
    const legs = this.#legs.get(uri);
    if (legs?.delete(leg) && legs.size === 0) this.#legs.delete(uri);
  }

  watched(uri: string): boolean {
    return this.#legs.has(uri);
  }

  /** @returns what nobody watches any more */
  leave(leg: Leg): string[] {
    const uris = [...(this.#uris.get(leg) ?? [])];
    for (const uri of uris) this.remove(leg, uri);
    return uris.filter((uri) => !this.watched(uri));
  }

  /** Who is told of an update. */
  watchers(uri: string): Set<Leg> {
    const found = new Set<Leg>();
    for (const one of withParents(uri)) for (const leg of this.#legs.get(one) ?? []) found.add(leg);
    return found;
  }
}
