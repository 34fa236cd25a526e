/** A11: what lies on disk: state, vault with its key, logs, sockets' directory, files of upstreams. */
import { createDecipheriv } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Attack } from '../attack.ts';
import { attempt } from '../attempt.ts';

/** Larger are programs. */
const fileBytes = 16 * 1024 * 1024;

/** What can be read below, as one; throws as the first refusal when nothing can. */
function below(directory: string): Buffer {
  const read: Buffer[] = [];
  let refusal: unknown;
  const readOne = (path: string): void => {
    try {
      if (statSync(path).size <= fileBytes) read.push(readFileSync(path));
    } catch (error) {
      refusal ??= error;
    }
  };
  const visit = (path: string): void => {
    try {
      for (const entry of readdirSync(path, { withFileTypes: true })) {
        const inner = join(path, entry.name);
        if (entry.isDirectory()) visit(inner);
        else if (entry.isFile()) readOne(inner);
      }
    } catch (error) {
      refusal ??= error;
    }
  };
  visit(directory);
  if (read.length === 0 && refusal !== undefined) throw refusal;
  return Buffer.concat(read);
}

/** A compact JWE with `dir` and `A256GCM` (RFC 7516), opened with nothing but its key. */
function openJwe(jwe: string, key: Buffer): Buffer {
  const [header = '', , nonce = '', text = '', tag = ''] = jwe.split('.');
  const decipher = createDecipheriv('aes-256-gcm', key, Buffer.from(nonce, 'base64url'));
  decipher.setAAD(Buffer.from(header)).setAuthTag(Buffer.from(tag, 'base64url'));
  return Buffer.concat([decipher.update(Buffer.from(text, 'base64url')), decipher.final()]);
}

/** The vault's entries hold their values in base64. */
function openVault(state: string): string {
  const key = Buffer.from(readFileSync(join(state, 'vault.key'), 'latin1').split('\n')[0] ?? '', 'base64url');
  const { payload } = JSON.parse(readFileSync(join(state, 'vault.json'), 'utf8')) as { payload: string };
  const { secrets } = JSON.parse(openJwe(payload, key).toString()) as {
    secrets: Record<string, { value: string }>;
  };
  return Object.values(secrets)
    .map(({ value }) => Buffer.from(value, 'base64').toString('latin1'))
    .join('\n');
}

export const files: readonly Attack[] = [
  {
    number: 'A11',
    name: 'files',
    run: async ({ brief: { places } }) => [
      await attempt('vault.json, opened with vault.key', () => openVault(places.state)),
      await attempt('state directory: logs, audit, temporary files', () =>
        Buffer.concat([readFileSync(places.stateMarker), below(places.state)]),
      ),
      await attempt('runtime directory: sockets, files of upstreams', () => below(places.runtime)),
      await attempt('configuration', () => below(places.config)),
      await attempt('file of a file: reference', () => readFileSync(places.plain)),
    ],
  },
];
