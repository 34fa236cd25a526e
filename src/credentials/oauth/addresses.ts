/**
 * What kind of place an IP address is, so that a server on the internet cannot send us to one inside (E6). Ranges: IANA's
 * special-purpose registries (RFC 6890) and what clouds put their instance metadata at.
 */
import { BlockList, isIP } from 'node:net';

/** `never`: link-local, multicast, documentation, metadata of clouds, tunnels: no authorization server is there. */
export type AddressKind = 'public' | 'private' | 'loopback' | 'never';

function ranges(type: 'ipv4' | 'ipv6', subnets: readonly string[]): BlockList {
  const list = new BlockList();
  for (const subnet of subnets) {
    const [net, bits] = subnet.split('/');
    list.addSubnet(net as string, Number(bits), type);
  }
  return list;
}

const loopback4 = ranges('ipv4', ['127.0.0.0/8']);
const never4 = ranges('ipv4', [
  '0.0.0.0/8',
  '169.254.0.0/16', // link-local, and nearly every cloud's metadata
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24', // relays of 6to4
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/3', // multicast, reserved, broadcast
  '100.100.100.200/32', // metadata of Alibaba Cloud
  '168.63.129.16/32', // the host of an Azure machine
]);
const private4 = ranges('ipv4', ['10.0.0.0/8', '100.64.0.0/10', '172.16.0.0/12', '192.168.0.0/16']);

const global6 = ranges('ipv6', ['2000::/3']);
const never6 = ranges('ipv6', [
  '2001::/23', // protocol assignments, Teredo among them
  '2001:db8::/32',
  '2002::/16', // 6to4: an IPv4 address of anyone's choice
  '3fff::/20',
  'fd00:ec2::/32', // metadata of AWS
  'fd20:ce::/32', // metadata of Google Cloud
]);
const private6 = ranges('ipv6', ['fc00::/7']);

function kindOf4(address: string): AddressKind {
  if (never4.check(address)) return 'never';
  if (loopback4.check(address)) return 'loopback';
  return private4.check(address) ? 'private' : 'public';
}

/** The eight groups of an IPv6 address; the URL parser writes every spelling as one. */
function groupsOf(address: string): number[] {
  const [head = '', tail] = new URL(`http://[${address}]/`).hostname.slice(1, -1).split('::');
  const groups = (text: string): number[] =>
    text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
  const [left, right] = [groups(head), groups(tail ?? '')];
  return [...left, ...Array<number>(8 - left.length - right.length).fill(0), ...right];
}

function dotted(high: number, low: number): string {
  return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.');
}

/** An IPv4 address within an IPv6 address means the former, whatever the latter looks like. */
function kindOf6(address: string): AddressKind {
  const groups = groupsOf(address);
  const prefix = groups.slice(0, 6).join(':');
  const embedded = dotted(groups[6] as number, groups[7] as number);
  if (prefix === '0:0:0:0:0:0') return groups.join(':') === '0:0:0:0:0:0:0:1' ? 'loopback' : 'never';
  if (prefix === '0:0:0:0:0:65535') return kindOf4(embedded);
  // NAT64 (RFC 6052): how an IPv6-only network reaches the IPv4 internet. What lies inside has no business there.
  if (prefix === `${0x64}:${0xff9b}:0:0:0:0`) return kindOf4(embedded) === 'public' ? 'public' : 'never';
  if (never6.check(address, 'ipv6')) return 'never';
  if (private6.check(address, 'ipv6')) return 'private';
  if (!global6.check(address, 'ipv6')) return 'never';
  // ISATAP (RFC 5214).
  const isatap = groups[5] === 0x5efe && ((groups[4] as number) & ~0x0300) === 0;
  return isatap && kindOf4(embedded) !== 'public' ? 'never' : 'public';
}

/** @param address IPv4 or IPv6 in any spelling, without brackets; anything else is `never` */
export function addressKind(address: string): AddressKind {
  if (address.includes('%')) return 'never';
  switch (isIP(address)) {
    case 4:
      return kindOf4(address);
    case 6:
      return kindOf6(address);
    default:
      return 'never';
  }
}
