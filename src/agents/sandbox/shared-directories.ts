/** Emptied for the agent: others put sockets there, and what is left in them is read and run by others. */
export const sharedDirectories: readonly string[] = ['/tmp', '/var/tmp', '/run', '/dev/shm'];

/** What lies in one of these on some systems, and is needed by programs that have nothing to do with it. */
export const neededOfShared: readonly string[] = [
  '/etc/resolv.conf',
  '/etc/hosts',
  '/run/current-system',
  '/run/opengl-driver',
];
