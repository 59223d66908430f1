/** All points of the map, in typed arrays by slot: nothing per point is an object or a text. */

import { type Column, decodePoints, KEY_BYTES, type PointsFile, PointsFileError, UNKNOWN } from "./file.ts";
import { KeyTable, keyText, parseKey, wordsOf } from "./keys.ts";

/** What `apply` did: slots of points that came, that differ now, and that went. */
export interface Delta {
  added: number[];
  changed: number[];
  removed: number[];
}

/**
 * Points by slot. A point keeps its slot for as long as it is there; the slot of a point that went
 * is given to another one, but not within the same `apply`. The arrays may be longer than `size`.
 */
export class PointSet {
  /** Slots in use, and those that points have left. */
  size = 0;
  /** Points that are there. */
  count = 0;
  /** Places, in map units; y grows upwards. */
  x: Float32Array = new Float32Array();
  y: Float32Array = new Float32Array();
  /** Bits: `PROVISIONAL`, `DISAGREES`. */
  flags: Uint8Array = new Uint8Array();
  /** 1 where a slot holds a point, 0 where it went. */
  alive: Uint8Array = new Uint8Array();
  /** Of the newest file. */
  manifest = 0;
  projectionVersion: string | null = null;
  total = 0;
  unplaced = 0;

  #words: Uint32Array = new Uint32Array();
  #table = new KeyTable(new Uint32Array(), 0);
  #columns = new Map<string, Column>();
  #free: number[] = [];

  /** Points out of an answer of `/api/map/points`. Throws a `PointsFileError` on a malformed file. */
  static decode(buffer: ArrayBuffer): PointsFile {
    return decodePoints(buffer);
  }

  /**
   * Takes a whole map; slots are the rows of the file, and the arrays are those of the file.
   * Throws where the file has changes only.
   */
  replace(file: PointsFile): void {
    if (file.since !== null) {
      throw new PointsFileError("changes only: not a whole map");
    }
    this.size = this.count = file.count;
    this.x = file.x;
    this.y = file.y;
    this.flags = file.flags;
    this.alive = new Uint8Array(file.count).fill(1);
    this.#words = wordsOf(file.ids);
    this.#table = new KeyTable(this.#words, file.count);
    this.#columns = new Map(file.columns);
    this.#free = [];
    this.#describe(file);
  }

  /**
   * Takes what has changed since a manifest, or a whole map in place of this one.
   *
   * Points of a file of changes that were there count as changed; those of a whole map only where
   * place, flags or a column differ. Columns that the set has but the file has not keep what they
   * say of old points and are unknown for new ones; columns that only the file has are added.
   * Throws where changes in between are missing.
   */
  apply(delta: PointsFile): Delta {
    if (delta.since !== null && delta.since > this.manifest) {
      throw new PointsFileError("the changes count from a manifest later than these points");
    }
    const words = wordsOf(delta.ids);
    const removed = this.#remove(this.locate(delta.removed));
    const slots = this.#slotsOf(words, delta.count);
    if (delta.since === null) {
      for (const slot of this.#remove(this.#allBut(slots))) {
        removed.push(slot);
      }
    }
    const done: Delta = { added: [], changed: [], removed };
    const codes = this.#translations(delta.columns);
    this.#reserve(this.size + Math.max(0, slots.filter((slot) => slot < 0).length - this.#free.length));
    for (let row = 0; row < delta.count; row++) {
      let slot = slots[row]!;
      if (slot < 0) {
        slot = this.#take(words[2 * row]!, words[2 * row + 1]!);
        this.#write(slot, delta, row, codes);
        done.added.push(slot);
      } else if (this.#write(slot, delta, row, codes) || delta.since !== null) {
        done.changed.push(slot);
      }
    }
    this.#free = this.#free.concat(removed);
    this.#describe(delta);
    return done;
  }

  /** The slot of a short key of 16 hex digits, -1 where it is absent or no short key. */
  find(shortKey: string): number {
    const words = parseKey(shortKey);
    return words === null ? -1 : this.#table.find(...words);
  }

  /** The slots of short keys, 8 bytes each, in their order; -1 where one is absent. */
  locate(ids: Uint8Array): Int32Array {
    return this.#slotsOf(wordsOf(ids), ids.length / KEY_BYTES);
  }

  /** 16 hex digits. */
  shortKey(slot: number): string {
    return keyText(this.#words[2 * slot]!, this.#words[2 * slot + 1]!);
  }

  /** Short keys of slots, 8 bytes each: what `locate` takes. */
  keysOf(slots: ArrayLike<number>): Uint8Array {
    const words = new Uint32Array(2 * slots.length);
    for (let i = 0; i < slots.length; i++) {
      words[2 * i] = this.#words[2 * slots[i]!]!;
      words[2 * i + 1] = this.#words[2 * slots[i]! + 1]!;
    }
    return new Uint8Array(words.buffer);
  }

  get columns(): string[] {
    return [...this.#columns.keys()];
  }

  /** Codes by slot and their values. Throws where the points came without this column. */
  column(name: string): Column {
    const found = this.#columns.get(name);
    if (found === undefined) {
      throw new RangeError(`the points have no column ${name}`);
    }
    return found;
  }

  #slotsOf(words: Uint32Array, n: number): Int32Array {
    const slots = new Int32Array(n);
    for (let i = 0; i < n; i++) {
      slots[i] = this.#table.find(words[2 * i]!, words[2 * i + 1]!);
    }
    return slots;
  }

  #allBut(slots: Int32Array): number[] {
    const listed = new Uint8Array(this.size);
    for (const slot of slots) {
      if (slot >= 0) {
        listed[slot] = 1;
      }
    }
    const rest: number[] = [];
    for (let slot = 0; slot < this.size; slot++) {
      if (listed[slot] === 0) {
        rest.push(slot);
      }
    }
    return rest;
  }

  #remove(slots: Iterable<number>): number[] {
    const gone: number[] = [];
    for (const slot of slots) {
      if (slot >= 0 && this.alive[slot] === 1) {
        this.#table.remove(slot);
        this.alive[slot] = 0;
        gone.push(slot);
      }
    }
    this.count -= gone.length;
    return gone;
  }

  #take(first: number, second: number): number {
    const slot = this.#free.pop() ?? this.size++;
    this.#words[2 * slot] = first;
    this.#words[2 * slot + 1] = second;
    this.#table.insert(slot);
    this.alive[slot] = 1;
    this.count++;
    for (const column of this.#columns.values()) {
      column.codes[slot] = UNKNOWN;
    }
    return slot;
  }

  /** Writes a row into its slot; true where anything differs. */
  #write(slot: number, file: PointsFile, row: number, codes: ReadonlyMap<string, Uint16Array>): boolean {
    const differs =
      this.x[slot] !== file.x[row] || this.y[slot] !== file.y[row] || this.flags[slot] !== file.flags[row];
    this.x[slot] = file.x[row]!;
    this.y[slot] = file.y[row]!;
    this.flags[slot] = file.flags[row]!;
    let recoded = false;
    for (const [name, column] of file.columns) {
      const code = column.codes[row]!;
      const ours = code === UNKNOWN ? UNKNOWN : codes.get(name)![code]!;
      const target = this.#columns.get(name)!.codes;
      recoded ||= target[slot] !== ours;
      target[slot] = ours;
    }
    return differs || recoded;
  }

  /** Our codes by the codes of a file; values that are new here are added behind the old ones. */
  #translations(columns: ReadonlyMap<string, Column>): Map<string, Uint16Array> {
    const translations = new Map<string, Uint16Array>();
    for (const [name, column] of columns) {
      const ours = this.#columns.get(name) ?? {
        codes: new Uint16Array(this.x.length).fill(UNKNOWN),
        values: [],
      };
      const known = new Map(ours.values.map((value, code) => [value, code]));
      const codes = column.values.map((value) => known.get(value) ?? added(ours.values, value));
      this.#columns.set(name, ours);
      translations.set(name, Uint16Array.from(codes));
    }
    return translations;
  }

  #reserve(n: number): void {
    if (n <= this.x.length) {
      return;
    }
    const capacity = Math.max(n, Math.ceil(this.x.length * 1.25));
    this.x = longer(this.x, new Float32Array(capacity));
    this.y = longer(this.y, new Float32Array(capacity));
    this.flags = longer(this.flags, new Uint8Array(capacity));
    this.alive = longer(this.alive, new Uint8Array(capacity));
    this.#words = longer(this.#words, new Uint32Array(2 * capacity));
    this.#table.moved(this.#words);
    for (const column of this.#columns.values()) {
      column.codes = longer(column.codes, new Uint16Array(capacity));
    }
  }

  #describe(file: PointsFile): void {
    this.manifest = file.manifest;
    this.projectionVersion = file.projectionVersion;
    this.total = file.total;
    this.unplaced = file.unplaced;
  }
}

/** The code of a value that is new; a column that is full does not know it. */
function added(values: string[], value: string): number {
  return values.length < UNKNOWN ? values.push(value) - 1 : UNKNOWN;
}

function longer<T extends { set(array: ArrayLike<number>): void }>(old: ArrayLike<number>, into: T): T {
  into.set(old);
  return into;
}
