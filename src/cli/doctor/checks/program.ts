/** What runs us: Node, npm, and the package that asks the kernel. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import inspector from 'node:inspector';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { Failure } from '../../../errors.ts';
import { tcpPeer } from '../../../os/index.ts';
import { packageRoot, version } from '../../../paths.ts';
import type { Check } from '../check.ts';
import type { Context } from '../context.ts';
import { type Finding, fine, problem, problemOf } from '../finding.ts';

/** Whether a version is in a range of package.json: alternatives of `^A.B.C` and `>=A.B.C`. */
export function inRange(node: string, range: string): boolean {
  const numbers = (text: string): number[] => (text.match(/\d+/g) ?? []).map(Number);
  const [major = 0, minor = 0, patch = 0] = numbers(node);
  return range.split('||').some((part) => {
    const [least = 0, leastMinor = 0, leastPatch = 0] = numbers(part);
    if (major !== least) return part.includes('>=') && major > least;
    return minor > leastMinor || (minor === leastMinor && patch >= leastPatch);
  });
}

function manifest(file: string): { version?: string; engines?: { node?: string } } | null {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return null;
  }
}

export function judgeNode(node: string): Finding[] {
  const range = manifest(join(packageRoot, 'package.json'))?.engines?.node ?? '';
  if (inRange(node, range)) return [];
  return [
    problem(
      'program.node-unsupported',
      `Node ${node}: expected ${range}`,
      'install a supported Node: nodejs.org',
    ),
  ];
}

/** Of the Node that runs us: the place where its own installers, and version managers, put it; else of the system. */
function npmVersion({ machine }: Context): string | null {
  const lib = join(dirname(process.execPath), '..', 'lib', 'node_modules', 'npm', 'package.json');
  const beside = manifest(lib)?.version;
  if (beside !== undefined) return beside;
  const found = machine.find('npm');
  if (found === null) return null;
  return manifest(join(dirname(found), '..', 'package.json'))?.version ?? 'of unknown version';
}

/** @param npm its version, `null` when it is not there */
export function judgeNpm(npm: string | null): Finding[] {
  if (npm !== null) return [];
  return [
    problem('program.npm-missing', 'npm is not there; servers from npm cannot be installed', 'install npm'),
  ];
}

/** @param url of the inspector of this process */
export function judgeInspector(url: string | undefined): Finding[] {
  if (url === undefined) return [];
  return [
    problem(
      'program.inspector-open',
      "NODE_OPTIONS opened this command's inspector: whoever connects reads its environment and memory",
      'unset NODE_OPTIONS',
    ),
  ];
}

/** Asks the kernel whose a loopback connection of our own is, as the daemon does of each. */
export async function judgePeer({ machine }: Context, peerOf: typeof tcpPeer = tcpPeer): Promise<Finding[]> {
  if (machine.platform !== 'linux') return [];
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = connect(port, '127.0.0.1');
  const [accepted] = (await once(server, 'connection')) as [Socket];
  try {
    const peer = await peerOf(accepted);
    if (peer?.uid === machine.uid) return [];
    const said = peer === null ? 'nobody' : `uid ${peer.uid}`;
    return [
      problem(
        'program.peer-unknown',
        `the kernel names ${said} as the peer of our own loopback connection, expected uid ${machine.uid}`,
        'use the shim, which needs no TCP; see whether this is a container that denies netlink and hides /proc/net',
      ),
    ];
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return [problemOf('program.koffi-missing', error, 'reinstall without --omit=optional')];
  } finally {
    client.destroy();
    accepted.destroy();
    server.close();
  }
}

async function judge(context: Context): Promise<Finding[]> {
  const npm = npmVersion(context);
  const needed = [...judgeNode(process.versions.node), ...(await judgePeer(context))];
  const ok = fine(
    'program.ok',
    `ostiary ${version}, Node ${process.versions.node}${npm === null ? '' : `, npm ${npm}`}; the kernel tells peers`,
  );
  return [...(needed.length === 0 ? [ok] : needed), ...judgeNpm(npm), ...judgeInspector(inspector.url())];
}

export const program: Check = { group: 'program', title: 'Node and its packages', run: judge };
