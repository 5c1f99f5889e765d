/** The words of a row: a number, which is 0 where the row was removed; the cookie that it is by; the hash of its name. */
const NUMBER = 0;
const COOKIE = 1;
const HASH = 2;
const WORDS = 3;
/** Up to here V8 has no memory of its own for them. */
const FEWEST = 5;
/** So many are looked at one after the other. */
const FEW = 16;

const NONE = new Int32Array(0);

/**
 * Numbers under names, by growing cookies. It has no names, but their hashes, and asks whether a row that has the hash has the name too. A row stays where
 * it is until others are added or removed.
 */
export abstract class NameTable<Name> {
  #rows = NONE;
  /** Where the rows begin that are not all removed, and where they end. */
  #start = 0;
  #end = 0;
  #length = 0;
  /** Once there are many: where the row of a name is, and 1, at its hash or in the places after that, up to a 0. */
  #slots: Int32Array | undefined;

  get length(): number {
    return this.#length;
  }

  /** Whether the row of an entry is that of this name. */
  protected abstract isNamed(row: number, name: Name): boolean;

  /** The row of a name, or -1. */
  find(hash: number, name: Name): number {
    const rows = this.#rows;
    const slots = this.#slots;
    if (slots) {
      const mask = slots.length - 1;
      for (let slot = hash & mask, row = 0; (row = slots[slot]! - 1) >= 0; slot = (slot + 1) & mask)
        if (rows[row + HASH] === hash && this.isNamed(row, name)) return row;
    } else {
      for (let row = this.#start; row < this.#end; row += WORDS)
        if (rows[row + HASH] === hash && rows[row + NUMBER] !== 0 && this.isNamed(row, name)) return row;
    }
    return -1;
  }

  numberAt(row: number): number {
    return this.#rows[row + NUMBER]!;
  }

  cookieAt(row: number): number {
    return this.#rows[row + COOKIE]!;
  }

  hashAt(row: number): number {
    return this.#rows[row + HASH]!;
  }

  setNumber(row: number, number: number): void {
    this.#rows[row + NUMBER] = number;
  }

  /** The last cookie that was put here, unless all is gone since. */
  get lastCookie(): number {
    return this.#end ? this.cookieAt(this.#end - WORDS) : 0;
  }

  /** The row with a cookie, or -1. */
  rowOfCookie(cookie: number): number {
    const row = this.rowAfter(cookie - 1);
    return row >= 0 && this.cookieAt(row) === cookie ? row : -1;
  }

  /** The first row with a larger cookie, or -1. `near`: of the cookie itself, if it is known. */
  rowAfter(cookie: number, near = -WORDS): number {
    const rows = this.#rows;
    let row = near + WORDS;
    if (near < this.#start || near >= this.#end || rows[near + COOKIE] !== cookie) {
      let [low, high] = [this.#start / WORDS, this.#end / WORDS];
      while (low < high) {
        const middle = (low + high) >>> 1;
        if (rows[middle * WORDS + COOKIE]! <= cookie) low = middle + 1;
        else high = middle;
      }
      row = low * WORDS;
    }
    for (; row < this.#end; row += WORDS) if (rows[row + NUMBER] !== 0) return row;
    return -1;
  }

  /** Puts a row at the end: {@link order} has to follow where its cookie is not the largest. */
  put(number: number, cookie: number, hash: number): void {
    if (this.#end === this.#rows.length) this.#makeRoom();
    const row = this.#end;
    this.#rows[row + NUMBER] = number;
    this.#rows[row + COOKIE] = cookie;
    this.#rows[row + HASH] = hash;
    this.#end += WORDS;
    this.#length++;
    this.#index(row);
  }

  remove(row: number): void {
    this.#rows[row + NUMBER] = 0;
    this.#length--;
    this.#forget(row);
    if (this.#length === 0) this.clear();
    else if (this.#length * 4 * WORDS < this.#rows.length) this.#makeRoom();
    else if (row === this.#start) this.#start = this.rowAfter(0);
  }

  clear(): void {
    this.#rows = NONE;
    this.#start = this.#end = this.#length = 0;
    this.#slots = undefined;
  }

  /** Has what `other` has, which is not to be used any more. */
  take(other: NameTable<unknown>): void {
    this.#rows = other.#rows;
    this.#start = other.#start;
    this.#end = other.#end;
    this.#length = other.#length;
    this.#slots = other.#slots;
  }

  /** Makes room for so many more. */
  reserve(count: number): void {
    this.#resize(this.#length + count);
  }

  /** Puts rows in the order of their cookies. Returns one that occurs twice. */
  order(): number | undefined {
    const rows = this.#rows;
    let isOrdered = true;
    for (let row = this.#start + WORDS; row < this.#end && isOrdered; row += WORDS)
      isOrdered = rows[row + COOKIE]! > rows[row + COOKIE - WORDS]!;
    if (isOrdered) return undefined;
    const order = new Uint32Array((this.#end - this.#start) / WORDS);
    for (let n = 0; n < order.length; n++) order[n] = this.#start + n * WORDS;
    order.sort((a, b) => rows[a + COOKIE]! - rows[b + COOKIE]!);
    const ordered = new Int32Array(rows.length);
    let double: number | undefined;
    order.forEach((row, n) => {
      const to = n * WORDS;
      for (let word = 0; word < WORDS; word++) ordered[to + word] = rows[row + word]!;
      if (n && ordered[to + COOKIE] === ordered[to + COOKIE - WORDS]) double = ordered[to + COOKIE];
    });
    this.#rows = ordered;
    this.#start = 0;
    this.#end = order.length * WORDS;
    this.#resize(ordered.length / WORDS);
    return double;
  }

  #index(row: number): void {
    const slots = this.#slots;
    if (!slots) return;
    const mask = slots.length - 1;
    let slot = this.#rows[row + HASH]! & mask;
    while (slots[slot] !== 0) slot = (slot + 1) & mask;
    slots[slot] = row + 1;
  }

  /** Takes a row out of {@link #slots}: those after it that are where they are because of it move up. */
  #forget(row: number): void {
    const slots = this.#slots;
    if (!slots) return;
    const mask = slots.length - 1;
    let hole = this.#rows[row + HASH]! & mask;
    while (slots[hole] !== row + 1) hole = (hole + 1) & mask;
    for (let slot = (hole + 1) & mask; slots[slot] !== 0; slot = (slot + 1) & mask) {
      const home = this.#rows[slots[slot]! - 1 + HASH]! & mask;
      if (((slot - home) & mask) < ((slot - hole) & mask)) continue;
      slots[hole] = slots[slot]!;
      hole = slot;
    }
    slots[hole] = 0;
  }

  /** Takes removed rows away; makes the table larger or smaller where they are few or many. */
  #makeRoom(): void {
    const capacity = this.#rows.length / WORDS;
    const isSome = this.#length * 4 <= capacity * 3 && this.#length * 4 >= capacity;
    this.#resize(isSome ? capacity : Math.ceil(this.#length * 1.5));
  }

  #resize(capacity: number): void {
    const before = this.#rows;
    const length = Math.max(FEWEST, capacity) * WORDS;
    const rows = length === before.length ? before : new Int32Array(length);
    let end = 0;
    for (let row = this.#start; row < this.#end; row += WORDS) {
      if (before[row + NUMBER] === 0) continue;
      for (let word = 0; word < WORDS; word++) rows[end + word] = before[row + word]!;
      end += WORDS;
    }
    this.#rows = rows;
    this.#start = 0;
    this.#end = end;
    if (capacity <= FEW) this.#slots = undefined;
    else {
      const slots = 2 ** Math.ceil(Math.log2((capacity * 4) / 3));
      if (this.#slots?.length === slots) this.#slots.fill(0);
      else this.#slots = new Int32Array(slots);
      for (let row = 0; row < end; row += WORDS) this.#index(row);
    }
  }
}
