/** Every command, by what loads it. */
import type { Commands } from './program.ts';

/** The head in the running daemon's memory, against which `audit verify` holds the file. */
async function liveHead() {
  const { residentDaemon } = await import('./resident-daemon.ts');
  return (await residentDaemon())?.client.auditHead() ?? null;
}

export const commands: Commands = {
  run: async () => (await import('./run.ts')).runCommand(null),
  up: async () => (await import('./up.ts')).upCommand(),
  down: async () => (await import('./lifecycle.ts')).downCommand(),
  status: async () => (await import('./lifecycle.ts')).statusCommand(),
  serve: async () => (await import('./serve.ts')).serveCommand(),
  service: async () => (await import('./service.ts')).serviceCommand(),
  session: async () => (await import('./session.ts')).sessionCommand(),
  list: async () => (await import('./tools.ts')).listCommand(),
  call: async () => (await import('./tools.ts')).callCommand(),
  upstream: async () => (await import('./upstream.ts')).upstreamCommand(),
  secret: async () => (await import('./secret.ts')).secretCommand(),
  vault: async () => (await import('./vault.ts')).vaultCommand(),
  auth: async () => (await import('./auth.ts')).authCommand(),
  config: async () => (await import('./config.ts')).configCommand(),
  audit: async () => (await import('./audit.ts')).auditCommand({ liveHead }),
  doctor: async () => (await import('./doctor/command.ts')).doctorCommand(),
  demo: async () => (await import('./demo.ts')).demoCommand(),
};
