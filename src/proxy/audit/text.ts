/** Records as lines for people: time, who, upstream and what, effect, outcome and duration. */
import type { AuditRecord, CallId } from './record.ts';

type Started = Extract<AuditRecord, { event: 'call.started' }>;

/** Calls and sessions remembered for the lines that only name their id; the oldest are forgotten first. */
const remembered = 4096;

/** Controls, bidi and zero-width characters, unassigned code points, lone surrogates: shown, never obeyed (H3). */
export function visible(text: string): string {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (char) => `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`);
}

function remember<K, V>(map: Map<K, V>, key: K, value: V): void {
  map.set(key, value);
  if (map.size > remembered) map.delete(map.keys().next().value as K);
}

/** A field of a line that somebody may have forged: whatever it holds becomes harmless text. */
function show(value: unknown): string {
  if (value === undefined || value === null) return '-';
  return visible(typeof value === 'string' ? value : JSON.stringify(value));
}

/** Turns records, oldest first, into lines; keeps what later records refer to. */
export class RecordPrinter {
  readonly #labels = new Map<string, string>();
  readonly #calls = new Map<CallId, Started>();

  line(record: AuditRecord): string {
    return [show(record.time), ...this.#columns(record)].join('  ');
  }

  #label(session: string | undefined): string {
    return show(session === undefined ? undefined : (this.#labels.get(session) ?? session));
  }

  #columns(record: AuditRecord): string[] {
    switch (record.event) {
      case 'call.started':
        remember(this.#calls, record.call, record);
        remember(this.#labels, record.session, record.agent);
        return [...callColumns(record), show(record.effect), 'started'];
      case 'call.refused':
        return [
          ...callColumns(record),
          show(record.effect ?? 'refused'),
          `${show(record.code)}: ${show(record.reason)}`,
        ];
      case 'call.finished': {
        const started = this.#calls.get(record.call);
        this.#calls.delete(record.call);
        const what = started === undefined ? ['-', `call ${show(record.call)}`, '-'] : callColumns(started);
        const code = record.code === undefined ? '' : ` (${show(record.code)})`;
        const redacted = record.redactions?.length ? `, redacted ${show(record.redactions.join(' '))}` : '';
        const size = `${show(Math.round(record.durationMs))} ms, ${show(record.bytes)} bytes`;
        return [...what, show(started?.effect), `${show(record.outcome)}${code}, ${size}${redacted}`];
      }
      case 'session.opened':
        remember(this.#labels, record.session, record.label);
        return [
          show(record.label),
          'session opened',
          `profile ${show(record.profile)}, uid ${show(record.uid)}`,
        ];
      case 'session.closed':
        return [this.#label(record.session), 'session closed', show(record.reason)];
      case 'agent.cleared':
        return [show(record.agent), 'agent started clean', describeStatement(record)];
      case 'agent.refused':
        return [show(record.agent), 'agent not started', `exposed: ${show(record.exposed.join('; '))}`];
      case 'session.bound':
        return [
          this.#label(record.session),
          'session bound',
          `to ${show(record.binding)} ${show(record.id)}`,
        ];
      case 'binding.refused':
        return [
          this.#label(record.session),
          'binding refused',
          `${show(record.reason)}, uid ${show(record.uid)}${record.pid === undefined ? '' : `, pid ${show(record.pid)}`}, ${show(record.count)} times`,
        ];
      case 'peer.refused':
        return [
          `uid ${show(record.uid)}`,
          'peer refused',
          `${show(record.reason)}, ${show(record.count)} times`,
        ];
      case 'request.refused':
        return [
          this.#label(record.session),
          'request refused',
          `${show(record.code)}: ${show(record.reason)}, ${show(record.count)} times`,
        ];
      case 'upstream.started':
        return [
          this.#label(record.session),
          `upstream ${show(record.upstream)} started`,
          `${record.pid === undefined ? 'over HTTP' : `pid ${show(record.pid)}`}, credentials ${
            show(record.credentials.join(' ')) || 'none'
          }`,
        ];
      case 'upstream.exited':
        return [
          '-',
          `upstream ${show(record.upstream)} exited`,
          `pid ${show(record.pid)}, ${record.signal === null ? `code ${show(record.code)}` : show(record.signal)}`,
        ];
      case 'daemon.started':
        return ['-', 'daemon started', `version ${show(record.version)}, pid ${show(record.pid)}`];
      case 'daemon.stopped':
        return ['-', 'daemon stopped', `pid ${show(record.pid)}, ${show(record.reason)}`];
      case 'log.recovered':
        return ['-', 'log recovered', `${show(record.bytes)} bytes of half a line cut off`];
      default:
        // A newer version's event, or a forged one.
        return ['-', show((record as { event: unknown }).event), '-'];
    }
  }
}

function counts(numbers: Readonly<Record<string, number>>): string {
  return Object.entries(numbers)
    .filter(([, count]) => count !== 0)
    .map(([what, count]) => `${show(count)} ${show(what)}`)
    .join(', ');
}

/** What a statement says, and under which key. */
export function describeStatement(record: Extract<AuditRecord, { event: 'agent.cleared' }>): string {
  const { isolation, secrets, looked, skipped, key } = record;
  const parts = [
    show(isolation),
    `looked for ${show(secrets.join(' ')) || 'no secret'}`,
    `in ${counts(looked)}`,
    `not looked at: ${counts(skipped) || 'nothing'}`,
    `signed by ${show(key)}`,
  ];
  return parts.join('; ');
}

function callColumns({
  agent,
  upstream,
  method,
  target,
}: Pick<Started, 'agent' | 'upstream' | 'method' | 'target'>): string[] {
  return [
    show(agent),
    show(upstream),
    target === undefined ? show(method) : `${show(method)} ${show(target)}`,
  ];
}
