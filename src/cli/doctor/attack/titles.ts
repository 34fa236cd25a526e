/** The attacks in words, by number. */
const titles: Readonly<Record<string, string>> = {
  A1: 'environment of an upstream',
  A2: 'environment of the daemon',
  A3: 'memory of upstream and daemon',
  A4: 'descriptors of upstream and daemon',
  A5: 'command lines',
  A6: 'inspector by SIGUSR1',
  A7: 'core dump',
  A8: 'report and heap snapshot by signal',
  A9: 'environment of an upstream’s children',
  A10: 'race against starting upstreams',
  A11: 'vault, key, logs, files on disk',
  A12: 'Secret Service and kernel keyrings',
  A13: 'services outside: sockets, systemd, docker, tmux',
  A14: 'planting what is obeyed later',
  A15: 'undoing the sandbox',
  A16: 'ostiary’s own commands',
  A17: 'all of this as another user',
  A18: 'environment of the job',
  B7: 'control plane by the agent plane',
  F6: 'an upstream against the others',
};

export function titleOf(attack: string): string {
  return titles[attack] ?? attack;
}
