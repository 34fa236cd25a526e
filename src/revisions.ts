/** The revisions of MCP, and the metadata by which the modern ones speak. */

/** Legacy revisions open a session with `initialize`; modern ones say everything in every request. */
export type Era = 'legacy' | 'modern';

/** Revisions with sessions and `initialize`, newest first. */
export const legacyVersions = ['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05'] as const;

/** Stateless revisions, where every request describes itself, newest first. */
export const modernVersions = ['2026-07-28'] as const;

/** Reserved keys of `_meta` (MCP 2026-07-28, "Overview", "_meta"). */
export const metaKeys = {
  protocolVersion: 'io.modelcontextprotocol/protocolVersion',
  clientInfo: 'io.modelcontextprotocol/clientInfo',
  clientCapabilities: 'io.modelcontextprotocol/clientCapabilities',
  logLevel: 'io.modelcontextprotocol/logLevel',
  serverInfo: 'io.modelcontextprotocol/serverInfo',
  subscriptionId: 'io.modelcontextprotocol/subscriptionId',
  /** Of the legacy era. */
  relatedTask: 'io.modelcontextprotocol/related-task',
} as const;

/** Among a client's `extensions`: it may be given tasks. */
export const tasksExtension = 'io.modelcontextprotocol/tasks';

/** Errors that only modern servers give (MCP 2026-07-28, "Overview", "Error Codes"). */
export const modernErrors = {
  headerMismatch: -32020,
  missingClientCapability: -32021,
  unsupportedVersion: -32022,
} as const;

export function isLegacyVersion(version: unknown): version is (typeof legacyVersions)[number] {
  return (legacyVersions as readonly unknown[]).includes(version);
}
