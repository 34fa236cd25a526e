/** Processor time of this process, in milliseconds: unlike the time of day, other processes add nothing to it. */
export function processorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
