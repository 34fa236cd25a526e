/** A16: being the user towards ostiary. A17: being another. B7: the control plane. F6: being an upstream. */
import { readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import type { Attack, World } from '../attack.ts';
import { Absent, attempt, need, type Yield } from '../attempt.ts';
import type { Attempt, Brief } from '../brief.ts';
import { output } from './environments.ts';

const answerMs = 1000;

async function ostiary(brief: Brief, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const [command, ...first] = brief.ostiary;
  if (command === undefined) throw new Absent('no ostiary');
  return output(command, [...first, ...args], {
    env: { ...brief.environment, ...env },
    cwd: brief.places.project,
  });
}

/** The code of an error, or the reason in ostiary's own words. */
function said(text: string): string {
  const code = /\bE(?:ACCES|PERM|ROFS|NOENT)\b/.exec(text)?.[0];
  if (code !== undefined) return code;
  return /^ostiary: (?:.*?: )?(.*)$/m.exec(text)?.[1]?.slice(0, 80) ?? 'refused';
}

async function listSecrets(brief: Brief): Promise<Yield> {
  const { code, text } = await ostiary(brief, ['secret', 'list']);
  if (code !== 0) return { refused: said(text) };
  return /vault:node/.test(text) ? { opened: 'lists the vault' } : { refused: 'finds no vault' };
}

/** A server that writes down what it is given, under a configuration of the attacker's own. */
async function ownDaemon({ brief }: World): Promise<Yield> {
  const { project, plain } = brief.places;
  const stolen = join(project, 'stolen');
  const server = join(project, 'thief.sh');
  writeFileSync(server, `#!/bin/sh\nenv > '${stolen}'\n`, { mode: 0o755 });
  const config = join(project, 'thief.yaml');
  const entry = (secret: string) => ({ command: server, secrets: { STOLEN: secret } });
  const upstreams = { a: entry('vault:node'), b: entry(`file:${plain}`) };
  writeFileSync(config, JSON.stringify({ version: 1, upstreams }), { mode: 0o600 });
  const { text } = await ostiary(brief, ['list', '--config', config]);
  try {
    return readFileSync(stolen);
  } catch {
    return { refused: said(text) };
  }
}

/** @returns status and body of an answer */
function call(
  to: { socketPath: string } | { port: number; host: string },
  path: string,
  method = 'GET',
): Promise<[number, string]> {
  return new Promise((resolve, reject) => {
    const sent = request(
      { ...to, path, method, headers: { host: 'localhost' }, timeout: answerMs },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('end', () => resolve([response.statusCode ?? 0, text]));
      },
    );
    sent.on('error', reject);
    sent.on('timeout', () => sent.destroy(Object.assign(new Error('no answer'), { code: 'ECONNRESET' })));
    sent.end(method === 'POST' ? '{}' : undefined);
  });
}

async function plane(to: Parameters<typeof call>[0]): Promise<Yield> {
  for (const [path, method] of [
    ['/v1/status', 'GET'],
    ['/v1/sessions', 'POST'],
    ['/v1/environment', 'POST'],
  ] as const) {
    const [status] = await call(to, path, method);
    if (status < 300) return { opened: `answers ${method} ${path}` };
  }
  return { refused: 'does not know the control plane' };
}

async function planes({ brief }: World): Promise<readonly Attempt[]> {
  return [
    await attempt('control plane at the session’s socket', () => {
      const socketPath = process.env.OSTIARY_SOCKET;
      if (socketPath === undefined) throw new Absent('no session socket');
      return plane({ socketPath });
    }),
    await attempt('control plane at the loopback port', () => {
      const { hostname, port } = new URL(need(brief.endpoint));
      return plane({ host: hostname, port: Number(port) });
    }),
  ];
}

export const ownCommands: readonly Attack[] = [
  {
    number: 'A16',
    name: 'commands',
    run: async ({ brief }) => [
      await attempt('control.sock', () => plane({ socketPath: need(brief.control) })),
      await attempt('ostiary secret list', () => listSecrets(brief)),
    ],
  },
  {
    number: 'A16',
    name: 'daemon',
    run: async (world) => [
      await attempt('a daemon of its own, with a thief as upstream', () => ownDaemon(world)),
    ],
  },
  { number: 'B7', name: 'planes', run: planes },
  {
    number: 'A17',
    name: 'stranger',
    alone: true,
    run: async ({ ask }) => (await ask('stranger')).attempts,
  },
  {
    number: 'F6',
    name: 'upstream',
    alone: true,
    run: async ({ ask }) => (await ask('upstream')).attempts,
  },
];
