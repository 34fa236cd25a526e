/** A13: programs outside that work for whoever belongs to the user. */
import { connect } from 'node:net';
import type { Attack } from '../attack.ts';
import { attempt, need, type Yield } from '../attempt.ts';
import type { Brief, Target } from '../brief.ts';
import { targetsOf } from '../processes.ts';
import { output } from './environments.ts';

const answerMs = 1000;

/** What a socket says by itself, or in answer. */
function ask(path: string, question = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    let text = '';
    const timer = setTimeout(() => socket.destroy(), answerMs);
    socket.on('connect', () => socket.write(question));
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
    });
    socket.on('error', reject);
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(text);
    });
  });
}

async function docker(path: string): Promise<Yield> {
  const answer = await ask(path, 'GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n');
  if (!/^HTTP\/1\.[01] 2/.test(answer)) throw new Error('no answer');
  return { opened: 'answers: whoever asks it may mount all of this machine' };
}

async function tmux(path: string): Promise<Yield> {
  const { code, text } = await output('tmux', ['-S', path, 'list-sessions', '-F', 'x']);
  if (code === 0) return { opened: 'answers: whoever asks it may type into its windows' };
  return { refused: text.trim().split('\n')[0] ?? 'refused' };
}

/** Lets the user's own service manager look, which is outside of every sandbox. */
async function userManager(runtime: string, target: Target | undefined): Promise<Yield> {
  if (target === undefined) throw new Error('no upstream to look at');
  const { code, text } = await output(
    'systemd-run',
    ['--user', '--quiet', '--wait', '--collect', '--pipe', 'cat', `/proc/${target.pid}/environ`],
    { env: { XDG_RUNTIME_DIR: runtime, PATH: '/usr/bin:/bin' } },
  );
  if (code === 0) return { opened: 'ran a program outside', shows: text };
  return { refused: text.trim().split('\n')[0]?.slice(0, 80) ?? 'refused' };
}

async function run({ brief }: { readonly brief: Brief }) {
  return [
    await attempt('abstract socket', () => ask(need(brief.abstractSocket))),
    await attempt('socket in the runtime directory', () => ask(need(brief.runtimeSocket))),
    await attempt('docker.sock', () => docker(need(brief.docker))),
    await attempt('tmux', () => tmux(need(brief.tmux))),
    await attempt('systemd-run --user', () =>
      userManager(need(brief.userManager), targetsOf(brief, 'upstream')[0]),
    ),
  ];
}

export const neighbours: readonly Attack[] = [{ number: 'A13', name: 'neighbours', run }];
