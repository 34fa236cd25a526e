/** Why the keychain did not do what it was asked, and what the person at the keyboard can do about it. */
import { Failure } from '../../errors.ts';
import { limits } from '../../limits.ts';
import type { KeychainItem } from './item.ts';

/** What the worker found; `detail` is a name of the system's, never a value. */
export interface Problem {
  readonly reason:
    | 'no-bus'
    | 'foreign-bus'
    | 'no-service'
    | 'locked'
    | 'dismissed'
    | 'timed-out'
    | 'prompt-timed-out'
    | 'ambiguous'
    | 'too-long'
    | 'too-large'
    | 'package-missing'
    | 'failed';
  readonly detail?: string;
}

const seconds = (milliseconds: number): string => `${milliseconds / 1000} s`;

const elsewhere = 'or keep the secret in the vault: ostiary secret set NAME';

function describe({ reason, detail }: Problem, promptMs: number): readonly [message: string, hint: string] {
  switch (reason) {
    case 'no-bus':
      return [
        'no D-Bus session, which leads to the keychain',
        `start ostiary from a desktop or systemd user session, ${elsewhere}`,
      ];
    case 'foreign-bus':
      return [
        'the D-Bus session is not of this user: nothing was sent to it',
        'see DBUS_SESSION_BUS_ADDRESS and XDG_RUNTIME_DIR',
      ];
    case 'no-service':
      return [
        'no keychain (Secret Service) answers on D-Bus',
        `install and start gnome-keyring, KeePassXC or KWallet, ${elsewhere}`,
      ];
    case 'locked':
      return [
        'the keychain is locked',
        'ostiary secret list, in a terminal of the desktop: it asks to unlock the keychain',
      ];
    case 'dismissed':
      return ['the keychain is locked, and its prompt was dismissed', 'the same again, and unlock it'];
    case 'timed-out':
      return [
        `the keychain gave no answer within ${seconds(limits.keychainMs)}`,
        'see whether it hangs: systemctl --user status gnome-keyring-daemon',
      ];
    case 'prompt-timed-out':
      return [
        `the keychain is locked, and nobody unlocked it within ${seconds(promptMs)}`,
        'look for its prompt, behind other windows too',
      ];
    case 'ambiguous':
      return [
        'the keychain has several such entries',
        'remove all but one, in Passwords and Keys for example',
      ];
    case 'too-long':
      return [
        'the value is longer than this keychain takes',
        'ostiary secret set NAME, which keeps it in the vault',
      ];
    case 'too-large':
      return [`the entry is longer than ${limits.secretBytes} bytes`, 'see whether it is the right entry'];
    case 'package-missing':
      return ['cannot load @napi-rs/keyring, which asks the keychain', 'reinstall without --omit=optional'];
    case 'failed':
      return [
        `the keychain failed${detail === undefined ? '' : `: ${detail}`}`,
        'see its log: journalctl --user -e',
      ];
  }
}

export function keychainFailure(item: KeychainItem, problem: Problem, promptMs: number): Failure {
  const [message, hint] = describe(problem, promptMs);
  return new Failure('credential', `keychain:${item.service}/${item.account}: ${message}`, { hint });
}
