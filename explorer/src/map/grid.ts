/** Finds points by place: a uniform grid over the box around them, filled by a counting sort. */

import { boundsOfAll, isPlaced, type Places } from "./camera.ts";
import { contains, type Polygon } from "./polygon.ts";

const PER_CELL = 2; // points, were they spread evenly
const MOST_CELLS = 1 << 20;

/**
 * An index of places as they were when it was made. Points without a finite place are left out.
 *
 * It holds slots sorted by cell (int32) and where each cell begins: 6 bytes a point.
 */
export class Grid {
  readonly #x: Float32Array;
  readonly #y: Float32Array;
  readonly #slots: Int32Array; // by cell, row after row from the bottom
  readonly #begins: Int32Array; // by cell; one more, for the end of the last
  readonly #left: number = 0;
  readonly #bottom: number = 0;
  readonly #cell: number = 1; // side of a cell, in map units
  readonly #columns: number = 1;
  readonly #rows: number = 1;

  constructor(places: Places) {
    this.#x = places.x;
    this.#y = places.y;
    const placed = countPlaced(places);
    const bounds = boundsOfAll(places);
    if (bounds !== null) {
      const across = bounds.right - bounds.left;
      const up = bounds.top - bounds.bottom;
      const cells = Math.min(MOST_CELLS, Math.max(1, placed / PER_CELL));
      // A long thin box must not get more cells than points: its longer side alone bounds them.
      const cell = Math.max(Math.sqrt((across * up) / cells), Math.max(across, up) / cells);
      this.#cell = cell > 0 ? cell : 1;
      this.#left = bounds.left;
      this.#bottom = bounds.bottom;
      this.#columns = Math.floor(across / this.#cell) + 1;
      this.#rows = Math.floor(up / this.#cell) + 1;
    }
    this.#begins = new Int32Array(this.#columns * this.#rows + 1);
    this.#slots = new Int32Array(placed);
    this.#fill(places);
  }

  #fill(places: Places): void {
    const begins = this.#begins;
    for (let slot = 0; slot < places.size; slot++) {
      if (isPlaced(places, slot)) {
        begins[this.#cellOf(slot) + 1]!++;
      }
    }
    for (let cell = 1; cell < begins.length; cell++) {
      begins[cell]! += begins[cell - 1]!;
    }
    // Backwards, with each end moved down to its beginning: slots rise within a cell.
    const next = begins.slice(1);
    for (let slot = places.size - 1; slot >= 0; slot--) {
      if (isPlaced(places, slot)) {
        this.#slots[--next[this.#cellOf(slot)]!] = slot;
      }
    }
  }

  /**
   * The nearest point no farther than `radius`, in map units; -1 where there is none.
   *
   * Where `favoured` is given, points for which it holds win over all others within the radius.
   */
  nearest(x: number, y: number, radius: number, favoured?: (slot: number) => boolean): number {
    let best = -1;
    let bestFavoured = false;
    let bestDistance = radius * radius;
    const first = this.#column(x - radius);
    const last = this.#column(x + radius);
    for (let row = this.#row(y - radius); row <= this.#row(y + radius); row++) {
      const end = this.#begins[row * this.#columns + last + 1]!;
      for (let at = this.#begins[row * this.#columns + first]!; at < end; at++) {
        const slot = this.#slots[at]!;
        const distance = (this.#x[slot]! - x) ** 2 + (this.#y[slot]! - y) ** 2;
        if (distance > radius * radius) {
          continue;
        }
        const isFavoured = favoured?.(slot) ?? false;
        const wins = isFavoured === bestFavoured ? distance <= bestDistance : isFavoured;
        if (wins) {
          best = slot;
          bestFavoured = isFavoured;
          bestDistance = distance;
        }
      }
    }
    return best;
  }

  /** Slots of all points within a polygon, rising. */
  within(polygon: Polygon): Int32Array {
    const found: number[] = [];
    if (polygon.length < 6) {
      return Int32Array.from(found);
    }
    const { left, right, bottom, top } = boxOf(polygon);
    const first = this.#column(left);
    const last = this.#column(right);
    for (let row = this.#row(bottom); row <= this.#row(top); row++) {
      const crossed = this.#crossed(polygon, row, first, last);
      // Between two cells that a side crosses, all cells lie on one side of the polygon.
      let inside: boolean | null = null;
      for (let column = first; column <= last; column++) {
        const isCrossed = crossed[column - first] === 1;
        if (isCrossed) {
          inside = null;
        } else {
          inside ??= contains(polygon, this.#middle(this.#left, column), this.#middle(this.#bottom, row));
        }
        const cell = row * this.#columns + column;
        for (let at = this.#begins[cell]!; at < this.#begins[cell + 1]!; at++) {
          const slot = this.#slots[at]!;
          if (inside ?? contains(polygon, this.#x[slot]!, this.#y[slot]!)) {
            found.push(slot);
          }
        }
      }
    }
    return Int32Array.from(found).sort();
  }

  /** 1 for each cell of a row, from `first` to `last`, that a side of the polygon may touch. */
  #crossed(polygon: Polygon, row: number, first: number, last: number): Uint8Array {
    const crossed = new Uint8Array(last - first + 1);
    const slack = this.#cell * 1e-3; // rounding must not leave a touched cell out
    const low = this.#bottom + row * this.#cell - slack;
    const high = this.#bottom + (row + 1) * this.#cell + slack;
    const n = polygon.length;
    for (let i = 0, j = n - 2; i < n; j = i, i += 2) {
      const ax = polygon[j]!;
      const ay = polygon[j + 1]!;
      const bx = polygon[i]!;
      const by = polygon[i + 1]!;
      const from = Math.max(low, Math.min(ay, by));
      const to = Math.min(high, Math.max(ay, by));
      if (from > to) {
        continue;
      }
      const slope = ay === by ? 0 : (bx - ax) / (by - ay);
      const x1 = ay === by ? ax : ax + (from - ay) * slope;
      const x2 = ay === by ? bx : ax + (to - ay) * slope;
      const begin = Math.max(first, this.#column(Math.min(x1, x2) - slack));
      const end = Math.min(last, this.#column(Math.max(x1, x2) + slack));
      crossed.fill(1, begin - first, Math.max(begin, end + 1) - first);
    }
    return crossed;
  }

  #cellOf(slot: number): number {
    return this.#row(this.#y[slot]!) * this.#columns + this.#column(this.#x[slot]!);
  }

  #column(x: number): number {
    return clamped(Math.floor((x - this.#left) / this.#cell), this.#columns - 1);
  }

  #row(y: number): number {
    return clamped(Math.floor((y - this.#bottom) / this.#cell), this.#rows - 1);
  }

  #middle(from: number, index: number): number {
    return from + (index + 0.5) * this.#cell;
  }
}

function countPlaced(places: Places): number {
  let n = 0;
  for (let slot = 0; slot < places.size; slot++) {
    n += isPlaced(places, slot) ? 1 : 0;
  }
  return n;
}

function boxOf(polygon: Polygon): { left: number; right: number; bottom: number; top: number } {
  const box = { left: Infinity, right: -Infinity, bottom: Infinity, top: -Infinity };
  for (let i = 0; i < polygon.length; i += 2) {
    box.left = Math.min(box.left, polygon[i]!);
    box.right = Math.max(box.right, polygon[i]!);
    box.bottom = Math.min(box.bottom, polygon[i + 1]!);
    box.top = Math.max(box.top, polygon[i + 1]!);
  }
  return box;
}

function clamped(value: number, most: number): number {
  return Math.min(most, Math.max(0, value));
}
