/** An npm package that is an upstream: which one, and where it is installed. */

export interface PackageSpec {
  readonly name: string;
  /** Exact. */
  readonly version: string;
  /** Which of its programs; `null`: its only one, or the one called like the package. */
  readonly bin: string | null;
  /** A directory of ours, which holds this package with everything that it needs, and nothing else. */
  readonly directory: string;
}

export function describePackage({ name, version }: PackageSpec): string {
  return `${name}@${version}`;
}
