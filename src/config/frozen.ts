/** Configuration is read once and decides who may do what; nothing that runs later can change it. */

class FrozenMap<K, V> extends Map<K, V> {
  constructor(entries: Iterable<readonly [K, V]>) {
    super();
    for (const [key, value] of entries) super.set(key, value);
  }

  override set(): this {
    throw new TypeError('configuration cannot be changed');
  }

  override delete(): boolean {
    throw new TypeError('configuration cannot be changed');
  }

  override clear(): void {
    throw new TypeError('configuration cannot be changed');
  }
}

/** A map of these entries that refuses changes. */
export function frozenMap<K, V>(entries: Iterable<readonly [K, V]>): ReadonlyMap<K, V> {
  return Object.freeze(new FrozenMap(entries));
}

/** A frozen copy without prototype: a variable named `__proto__` or `constructor` is one like any other. */
export function frozenRecord<V>(entries: Iterable<readonly [string, V]>): Readonly<Record<string, V>> {
  const record: Record<string, V> = Object.create(null);
  for (const [key, value] of entries) record[key] = value;
  return Object.freeze(record);
}
