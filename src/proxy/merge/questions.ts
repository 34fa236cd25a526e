/**
 * What upstreams ask the client. Each upstream counts its requests on its own, so the client sees ids of ours; its
 * answer goes back to the one upstream that asked, with that one's id in its own spelling (B10, C4).
 */
import { idKey, type MessageId } from '../../jsonrpc.ts';
import { type Edit, locate, splice, textAt } from './splice.ts';

export interface Question {
  readonly upstream: string;
  /** As the upstream chose and wrote it. */
  readonly id: MessageId;
  readonly idText: string;
  /** What it wants to hear progress under, as it wrote it. */
  readonly tokenText: string | undefined;
}

function keyOf(upstream: string, id: MessageId): string {
  return `${upstream} ${idKey(id)}`;
}

export class Questions {
  readonly #asked = new Map<number, Question>();
  readonly #ours = new Map<string, number>();
  #next = 1;

  /** The request as the client gets it; `null` when the upstream asks under an id that it waits on already. */
  ask(upstream: string, id: MessageId, bytes: Buffer): Buffer | null {
    const key = keyOf(upstream, id);
    const span = locate(bytes, ['id']);
    if (span === undefined || this.#ours.has(key)) return null;
    const ours = this.#next++;
    const token = locate(bytes, ['params', '_meta', 'progressToken']);
    const tokenText = token === undefined ? undefined : textAt(bytes, token);
    this.#asked.set(ours, { upstream, id, idText: textAt(bytes, span), tokenText });
    this.#ours.set(key, ours);
    const edits: Edit[] = [{ ...span, text: String(ours) }];
    if (token !== undefined) edits.push({ ...token, text: String(ours) });
    return splice(bytes, edits);
  }

  /** Which question this is the answer to; it can be answered once. */
  settle(id: unknown): Question | undefined {
    const question = this.of(id);
    if (question === undefined) return undefined;
    this.#asked.delete(id as number);
    this.#ours.delete(keyOf(question.upstream, question.id));
    return question;
  }

  /** @param id ours: of the request, and of its progress */
  of(id: unknown): Question | undefined {
    return typeof id === 'number' ? this.#asked.get(id) : undefined;
  }

  /** Our id for what the upstream asked under `id`. */
  oursFor(upstream: string, id: MessageId): number | undefined {
    return this.#ours.get(keyOf(upstream, id));
  }

  /** The upstream has ended: nobody waits for its answers any more. */
  forget(upstream: string): void {
    for (const [ours, question] of this.#asked) if (question.upstream === upstream) this.settle(ours);
  }
}
