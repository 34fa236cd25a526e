/** What we ask of the operating system beyond Node's API. Anything a system lacks is `null` or reported as not in force. */
export { groupNamed, requireUser, type User, userNamed } from './accounts.ts';
export { type Bubblewrap, bubblewrap } from './bubblewrap.ts';
export { missingCapabilities } from './capabilities.ts';
export {
  type Enclosure,
  type EnclosureKind,
  enclosureKinds,
  openEnclosure,
  tcpPeerWithin,
  unixPeerWithin,
} from './enclosure.ts';
export { replaceProcess } from './exec.ts';
export { type HardeningReport, harden, hide, type Measure } from './harden.ts';
export { lockFile, tryLockFile, unlockFile } from './lock.ts';
export { releaseFreeMemory } from './memory.ts';
export { notifyService } from './notify.ts';
export { type TcpPeer, tcpPeer, type UnixPeer, unixPeer } from './peer.ts';
export { filledPipe } from './pipe.ts';
export { type PortHolder, portHolder } from './port-holder.ts';
export { processName, processStart } from './process.ts';
export { isUser } from './sockets.ts';
export { forgetVariable } from './variables.ts';
