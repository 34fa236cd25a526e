/** What we ask of the operating system beyond Node's API. Anything a system lacks is `null` or reported as not in force. */
export { type Bubblewrap, bubblewrap } from './bubblewrap.ts';
export { replaceProcess } from './exec.ts';
export { type HardeningReport, harden, hide, type Measure } from './harden.ts';
export { lockFile, tryLockFile, unlockFile } from './lock.ts';
export { releaseFreeMemory } from './memory.ts';
export { type TcpPeer, tcpPeer, type UnixPeer, unixPeer } from './peer.ts';
export { filledPipe } from './pipe.ts';
export { type PortHolder, portHolder } from './port-holder.ts';
export { processStart } from './process.ts';
