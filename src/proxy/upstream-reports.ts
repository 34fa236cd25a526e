/** What becomes of what upstreams report: which children ran is recorded, how they fare is logged. */
import type { Log } from '../log.ts';
import type { SupervisorPorts } from '../upstreams/supervisor.ts';
import type { Audit } from './audit/audit.ts';

export type UpstreamReports = Pick<
  SupervisorPorts,
  'started' | 'exited' | 'hardened' | 'problem' | 'stderr' | 'noise' | 'dropped' | 'circuit'
>;

export function upstreamReports(audit: Audit, log: Log): UpstreamReports {
  return {
    started: (child) => audit.note({ event: 'upstream.started', ...child }),
    exited: (child) => audit.note({ event: 'upstream.exited', ...child }),
    hardened: (upstream, measures) => {
      const missing = measures.filter(({ inForce }) => !inForce);
      if (missing.length > 0) log.warn({ upstream, missing }, 'not all hardening is in force');
    },
    problem: (upstream, message) => log.error({ upstream }, message),
    stderr: (upstream, line) => log.info({ upstream, stderr: line }, 'upstream'),
    noise: (upstream, bytes) => log.warn({ upstream, bytes }, 'not a message on standard output: dropped'),
    dropped: (upstream, what) => log.warn({ upstream }, `dropped ${what}`),
    circuit: (upstream, { state, failures, retryInMs }, why) =>
      state === 'closed'
        ? log.info({ upstream }, 'answers again')
        : log.error(
            { upstream, failures, retryInMs: Math.ceil(retryInMs), why },
            'keeps failing: not started for a while',
          ),
  };
}
