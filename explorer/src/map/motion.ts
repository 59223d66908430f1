/** Points on their way from old places to new ones. */

import type { Motion } from "./renderer.ts";

/** One movement of all points; `done` is called when it has come to its end, or was replaced. */
export class Movement {
  readonly motion: Motion;
  #began: number | null = null;

  /** Places by slot; a slot beyond their end, or without a place there, does not move. */
  constructor(
    from: { x: Float32Array; y: Float32Array },
    to: { x: Float32Array; y: Float32Array; size: number },
    readonly lasts_ms: number,
    readonly done: () => void,
  ) {
    const x = to.x.slice(0, to.size);
    const y = to.y.slice(0, to.size);
    const n = Math.min(to.size, from.x.length, from.y.length);
    for (let slot = 0; slot < n; slot++) {
      if (Number.isFinite(from.x[slot]) && Number.isFinite(from.y[slot])) {
        x[slot] = from.x[slot]!;
        y[slot] = from.y[slot]!;
      }
    }
    this.motion = { x, y, come: 0 };
  }

  /** Moves on to a time, in milliseconds from any beginning; false when all points have come. */
  advance(now: number): boolean {
    this.#began ??= now;
    const part = Math.min(1, (now - this.#began) / this.lasts_ms);
    this.motion.come = eased(part);
    return part < 1;
  }
}

/** Slow at both ends: 0 to 1 for 0 to 1. */
export function eased(part: number): number {
  return part < 0.5 ? 4 * part ** 3 : 1 - (2 - 2 * part) ** 3 / 2;
}
