/** The kit's eye for secrets: it knows how a canary looks, never which. */
import { createHash } from 'node:crypto';
import type { Sighting } from './brief.ts';

const canary = /canary-attack-([a-z]+)-[0-9a-f]{32}/g;
const start = Buffer.from('canary-attack-');

/** A text in base64 at any of its three alignments, url-safe or not, or in hex: long enough to hold a canary. */
const base64Run = /[A-Za-z0-9+/_-]{60,}/g;
const hexRun = /(?:[0-9a-fA-F]{2}){50,}/g;
/** Memory is searched for the raw form alone: megabytes of it look like base64. */
const decodedBytes = 1024 * 1024;

function rawSightings(text: string): Sighting[] {
  return [...text.matchAll(canary)].map(([value, label = '']) => ({
    label,
    digest: createHash('sha256').update(value).digest('hex'),
  }));
}

function decoded(text: string): string[] {
  const runs = [...text.matchAll(base64Run)].map(([run]) => run.replaceAll('-', '+').replaceAll('_', '/'));
  return [
    ...runs.flatMap((run) =>
      [0, 1, 2, 3].map((skip) => Buffer.from(run.slice(skip), 'base64').toString('latin1')),
    ),
    ...[...text.matchAll(hexRun)].map(([run]) => Buffer.from(run, 'hex').toString('latin1')),
  ];
}

/** Each canary in `bytes` once: raw, or, in up to a MiB, in base64 or hex. */
export function sightingsIn(bytes: Uint8Array): Sighting[] {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const texts: string[] = [];
  if (buffer.includes(start)) texts.push(buffer.toString('latin1'));
  if (buffer.length <= decodedBytes) texts.push(...decoded(buffer.toString('latin1')));
  const found = new Map(texts.flatMap(rawSightings).map((one) => [one.digest, one]));
  return [...found.values()];
}
