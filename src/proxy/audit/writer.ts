/**
 * The audit writer. A call goes ahead only after {@link AuditLog.append} has resolved, so what resolves must be in the
 * kernel's hands: from there it survives kill -9 of this process, and within `limits.auditSyncMs` the loss of power.
 */
import { fdatasync } from 'node:fs';
import { Failure } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { LogFile, type Position } from './file.ts';
import type { Head } from './head.ts';
import { eventJson } from './line.ts';
import type { AuditEvent } from './record.ts';

/** The head file is for noticing a cut at the next start; once a second costs nothing and loses little. */
const headIntervalMs = 1000;

export interface AuditPorts {
  /** Unix time in milliseconds. */
  readonly clock: () => number;
  readonly sync: (descriptor: number, done: (error: Error | null) => void) => void;
}

interface Waiting {
  readonly event: string;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class AuditLog {
  readonly #log: LogFile;
  readonly #ports: AuditPorts;
  #queue: Waiting[] = [];
  /** The queue is written at the end of this turn. */
  #flushing = false;
  #noteTimer: NodeJS.Timeout | null = null;
  #closing: Promise<void> | null = null;
  #synced: Position;
  #syncing: Promise<void> | null = null;
  #syncTimer: NodeJS.Timeout | null = null;
  #headTimer: NodeJS.Timeout | null = null;

  private constructor(log: LogFile, ports: AuditPorts) {
    this.#log = log;
    this.#ports = ports;
    this.#synced = log.position;
  }

  /**
   * @param file in a directory that `privateDirectory` has checked
   * @throws {Failure} when the file can be reached by others, or its chain does not continue the kept head
   */
  static open(file: string, ports: Partial<AuditPorts> = {}): AuditLog {
    return new AuditLog(LogFile.open(file), { clock: Date.now, sync: fdatasync, ...ports });
  }

  /**
   * Resolves once the record's line has been handed to the kernel; records of one turn of the event loop share a
   * write(2) and keep their order. Rejects when any of them could not be written: none is in the log then, and the
   * caller must refuse what it was about to do.
   */
  append(event: AuditEvent): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#enqueue({ event: eventJson(event), resolve, reject });
      if (this.#flushing) return;
      this.#flushing = true;
      setImmediate(() => this.#flush());
    });
  }

  /**
   * For what has happened already and lets nothing go ahead: written with the next record that does, and within
   * `limits.auditNoteMs` in any case. Under load that halves the writes.
   */
  note(event: AuditEvent, failed: (error: unknown) => void): void {
    try {
      this.#enqueue({ event: eventJson(event), resolve: () => {}, reject: failed });
    } catch (error) {
      failed(error);
      return;
    }
    this.#noteTimer ??= setTimeout(() => {
      this.#noteTimer = null;
      this.#flush();
    }, limits.auditNoteMs);
  }

  #enqueue(waiting: Waiting): void {
    if (this.#closing !== null) throw new Failure('audit', 'the audit log is closed');
    this.#queue.push(waiting);
  }

  #flush(): void {
    this.#flushing = false;
    const batch = this.#queue;
    if (batch.length === 0) return;
    this.#queue = [];
    try {
      this.#log.append(
        batch.map(({ event }) => event),
        this.#ports.clock,
      );
    } catch (error) {
      for (const { reject } of batch) reject(error);
      return;
    }
    for (const { resolve } of batch) resolve();
    this.#scheduleSync();
  }

  #scheduleSync(): void {
    if (this.#syncTimer !== null || this.#syncing !== null) return;
    this.#syncTimer = setTimeout(() => {
      this.#syncTimer = null;
      // Its failure is kept in the log: the next append rejects with it.
      this.#sync().catch(() => {});
    }, limits.auditSyncMs).unref();
  }

  /** One fdatasync at a time; what was written meanwhile gets the next. */
  #sync(): Promise<void> {
    const reached = this.#log.position;
    this.#syncing ??= new Promise<void>((resolve, reject) => {
      this.#ports.sync(this.#log.descriptor, (error) => {
        this.#syncing = null;
        if (error !== null) {
          // Linux drops the pages that it failed to write: a later success would say nothing about them.
          this.#log.markBroken('the audit log could not be synced to disk', error);
          reject(error);
          return;
        }
        this.#synced = reached;
        this.#scheduleHead();
        if (this.#log.position.seq !== reached.seq) this.#scheduleSync();
        resolve();
      });
    });
    return this.#syncing;
  }

  /** Only what is on disk becomes the head: after a power loss the log may not end before it. */
  #scheduleHead(): void {
    this.#headTimer ??= setTimeout(() => {
      this.#headTimer = null;
      this.#storeHead();
    }, headIntervalMs).unref();
  }

  #storeHead(): void {
    try {
      this.#log.storeHead(this.#synced, this.#ports.clock);
    } catch {
      // An older head is still true, and a full disk or a changed log makes the next append reject.
    }
  }

  /** The last record that this process wrote, or read of others while writing; `seq` 0 before the first. */
  head(): Head {
    const { seq, hash } = this.#log.position;
    return { seq, hash };
  }

  /** Writes and syncs what is waiting, keeps the head, and closes the file; rejects when the sync failed. */
  close(): Promise<void> {
    this.#closing ??= this.#finish();
    return this.#closing;
  }

  async #finish(): Promise<void> {
    this.#flush();
    if (this.#noteTimer !== null) clearTimeout(this.#noteTimer);
    if (this.#syncTimer !== null) clearTimeout(this.#syncTimer);
    try {
      await this.#syncing;
      await this.#sync();
      this.#storeHead();
    } finally {
      if (this.#syncTimer !== null) clearTimeout(this.#syncTimer);
      if (this.#headTimer !== null) clearTimeout(this.#headTimer);
      this.#log.close();
    }
  }
}
