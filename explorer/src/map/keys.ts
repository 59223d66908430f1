/**
 * Slots by short key: a hash table with open addressing over two Uint32 per slot.
 *
 * A `Map` of a million texts takes more than 100 MB; this takes 16 bytes a point at most.
 */

import { KEY_BYTES } from "./file.ts";

const FREE = -1;
const GONE = -2; // was used: a probe must go on behind it
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
const SHORT_KEY = /^[0-9a-f]{16}$/;

/** The two words of a short key of 16 hex digits; null for any other text. */
export function parseKey(text: string): [number, number] | null {
  if (!SHORT_KEY.test(text)) {
    return null;
  }
  const bytes = Uint8Array.from({ length: KEY_BYTES }, (_, i) =>
    Number.parseInt(text.slice(2 * i, 2 * i + 2), 16),
  );
  const words = new Uint32Array(bytes.buffer);
  return [words[0]!, words[1]!];
}

/** 16 hex digits of two words. */
export function keyText(first: number, second: number): string {
  const bytes = new Uint8Array(Uint32Array.of(first, second).buffer);
  return Array.from(bytes, (byte) => HEX[byte]).join("");
}

/** Short keys as words, two per key; a view where the bytes are aligned, else a copy. */
export function wordsOf(bytes: Uint8Array): Uint32Array {
  const whole = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  return new Uint32Array(whole.buffer, whole.byteOffset, whole.length / 4);
}

/** Finds the slot of a key. The words belong to the owner, who hands them in where they grow. */
export class KeyTable {
  #words: Uint32Array;
  #slots = new Int32Array(16).fill(FREE);
  #used = 0; // entries that are not FREE

  /** All of the first `n` slots; `words` holds two per slot. */
  constructor(words: Uint32Array, n: number) {
    this.#words = words;
    this.#grow(n);
    for (let slot = 0; slot < n; slot++) {
      this.insert(slot);
    }
  }

  /** The same words in a longer array. */
  moved(words: Uint32Array): void {
    this.#words = words;
  }

  /** The slot of a key, -1 where it is absent. */
  find(first: number, second: number): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let at = hash(first, second) & mask; ; at = (at + 1) & mask) {
      const slot = slots[at]!;
      if (slot === FREE) {
        return -1;
      }
      if (slot >= 0 && this.#words[2 * slot] === first && this.#words[2 * slot + 1] === second) {
        return slot;
      }
    }
  }

  /** Takes in a slot whose key is not there yet; of two slots with one key the first is found. */
  insert(slot: number): void {
    if (2 * (this.#used + 1) > this.#slots.length) {
      this.#grow(this.#used + 1);
    }
    const slots = this.#slots;
    const mask = slots.length - 1;
    let at = hash(this.#words[2 * slot]!, this.#words[2 * slot + 1]!) & mask;
    while (slots[at] !== FREE) {
      at = (at + 1) & mask;
    }
    slots[at] = slot;
    this.#used++;
  }

  /** Forgets a slot; its words must still be those it came with. */
  remove(slot: number): void {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let at = hash(this.#words[2 * slot]!, this.#words[2 * slot + 1]!) & mask;
    while (slots[at] !== slot) {
      if (slots[at] === FREE) {
        return;
      }
      at = (at + 1) & mask;
    }
    slots[at] = GONE;
  }

  #grow(n: number): void {
    const old = this.#slots;
    let length = 16;
    while (length < 2 * n) {
      length *= 2;
    }
    this.#slots = new Int32Array(length).fill(FREE);
    this.#used = 0;
    for (const slot of old) {
      if (slot >= 0) {
        this.insert(slot);
      }
    }
  }
}

// Keys are digests and so mixed already; a made-up key of a test may not be.
function hash(first: number, second: number): number {
  const mixed = Math.imul(first ^ (second >>> 16) ^ (second << 16), 0x9e3779b1);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}
