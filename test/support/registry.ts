/** A registry of npm packages on loopback, with packages that are made here. */
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';

export interface TestPackage {
  readonly manifest: { readonly name: string; readonly version: string } & Record<string, unknown>;
  /** Path in the package → text. */
  readonly files: Readonly<Record<string, string>>;
}

export interface Registry {
  readonly url: string;
  readonly requests: string[];
  close(): void;
}

/** One file of a ustar archive. */
function entry(path: string, text: string): Buffer {
  const body = Buffer.from(text);
  const header = Buffer.alloc(512);
  const write = (at: number, value: string): void => void header.write(value, at, 'latin1');
  write(0, path);
  write(100, '0000755\0');
  write(108, '0000000\0');
  write(116, '0000000\0');
  write(124, `${body.length.toString(8).padStart(11, '0')}\0`);
  write(136, '00000000000\0');
  write(148, '        ');
  write(156, '0');
  write(257, 'ustar\x0000');
  const sum = header.reduce((total, byte) => total + byte, 0);
  write(148, `${sum.toString(8).padStart(6, '0')}\0 `);
  return Buffer.concat([header, body, Buffer.alloc((512 - (body.length % 512)) % 512)]);
}

function tarball({ manifest, files }: TestPackage): Buffer {
  const all = { 'package.json': JSON.stringify(manifest), ...files };
  const entries = Object.entries(all).map(([path, text]) => entry(`package/${path}`, text));
  return gzipSync(Buffer.concat([...entries, Buffer.alloc(1024)]));
}

export async function startRegistry(packages: readonly TestPackage[]): Promise<Registry> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url ?? '').slice(1);
    requests.push(path);
    const { port } = server.address() as AddressInfo;
    const found = packages.find(({ manifest }) => path === manifest.name || path === `${manifest.name}.tgz`);
    if (found === undefined) return void response.writeHead(404).end('{}');
    const bytes = tarball(found);
    if (path.endsWith('.tgz')) return void response.end(bytes);
    const { name, version } = found.manifest;
    const dist = {
      tarball: `http://127.0.0.1:${port}/${encodeURIComponent(name)}.tgz`,
      integrity: `sha512-${createHash('sha512').update(bytes).digest('base64')}`,
    };
    const versions = { [version]: { ...found.manifest, dist } };
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ name, 'dist-tags': { latest: version }, versions }));
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/`, requests, close: () => void server.close() };
}
