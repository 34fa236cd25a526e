/** An entry of the operating system's keychain, by the two names that every such store has. */
export interface KeychainItem {
  readonly service: string;
  readonly account: string;
}
