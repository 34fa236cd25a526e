/** Packages of upstreams, installed while the person who wants them is here. */
import type { Config, PackageConfig, StdioUpstreamConfig, UpstreamConfig } from '../config/types.ts';
import { Failure } from '../errors.ts';
import { installPackage, isIntact } from '../upstreams/packages/install.ts';
import { isInstalled } from '../upstreams/packages/installed.ts';
import { describePackage } from '../upstreams/packages/package.ts';

type PackagedUpstream = StdioUpstreamConfig & { readonly package: PackageConfig };

export function packagedUpstreams(upstreams: Iterable<UpstreamConfig>): PackagedUpstream[] {
  return [...upstreams].filter(
    (each): each is PackagedUpstream => each.transport === 'stdio' && each.package !== null,
  );
}

async function install(spec: PackageConfig, say: (line: string) => void): Promise<void> {
  const name = describePackage(spec);
  say(`installing ${name}`);
  const { packages, integrity, scripts } = await installPackage(spec, process.env.HOME);
  say(`installed ${name}: ${packages} packages, ${integrity}`);
  if (scripts.length > 0) say(`install scripts that were not run: ${scripts.join(', ')}`);
}

/** Also what is there and not as it was installed. */
export async function installIfNeeded(
  { name, package: spec }: PackagedUpstream,
  say: (line: string) => void,
): Promise<void> {
  if (await isIntact(spec)) say(`${name}: ${describePackage(spec)} is installed`);
  else await install(spec, say);
}

/**
 * Before a daemon is started: it installs nothing itself. What cannot be had now, or has changed on disk, is left to the
 * daemon to refuse: the other upstreams work without it.
 */
export async function installMissing(config: Config, say: (line: string) => void): Promise<void> {
  for (const { name, lifecycle, package: spec } of packagedUpstreams(config.upstreams.values())) {
    if (lifecycle === 'disabled' || isInstalled(spec)) continue;
    try {
      await install(spec, say);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      say(`upstream ${name} will not work: ${error.message}`);
    }
  }
}

/** A secret is bound to the files of its upstream, so they have to be there. */
export function demandInstalled(upstream: UpstreamConfig): void {
  const [packaged] = packagedUpstreams([upstream]);
  if (packaged === undefined || isInstalled(packaged.package)) return;
  throw new Failure('config', `package ${describePackage(packaged.package)} is not installed`, {
    hint: `ostiary upstream install ${upstream.name}`,
  });
}
