/**
 * Hono's router, and nothing else of it: handlers get Node's own request and response. A web Request and Response per call
 * would cost more than all checks together, and what they stand on (undici) as much memory as the rest of a plane.
 */
import { PatternRouter } from 'hono/router/pattern-router';

export type Params = Readonly<Record<string, string>>;

export class Routes<Handler> {
  readonly #router = new PatternRouter<Handler>();

  /** @param path as Hono writes them: `/v1/sessions/:id` */
  on(method: string, path: string, handler: Handler): this {
    this.#router.add(method, path, handler);
    return this;
  }

  /** @param target as the request line has it; parameters are as they stand there, not decoded */
  find(method: string, target: string): { readonly handler: Handler; readonly params: Params } | null {
    const [path = ''] = target.split('?', 1);
    const [first] = this.#router.match(method, path)[0];
    return first === undefined ? null : { handler: first[0], params: { ...first[1] } as Params };
  }
}
