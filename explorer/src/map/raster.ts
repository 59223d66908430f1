/**
 * Draws points into an image by arithmetic alone: for machines without WebGL.
 *
 * What a point of one look does to the pixels around it is worked out once, as a stamp, for sixteen
 * places of its centre within a pixel. Drawing a point is then a short loop over its stamp.
 */

import { HALO, type Look, type Looks, ONCE_MORE, reach } from "./look.ts";
import { HOLLOW, type Order, type Rgb } from "./paint.ts";
import type { Motion } from "./renderer.ts";

const STEPS = 4; // places of a centre within a pixel, each way
const ONE = 256; // weights are of 256
const RED_BLUE = 0xff00ff;
const GREEN = 0x00ff00;
const OPAQUE = 0xff000000;
const HALVES = 0x808080; // of what a shift by 8 cuts off: rounds to the nearest

/** Pixels that one point changes: each becomes kept * before + own * colour + fixed. */
interface Stamp {
  n: number;
  offsets: Int32Array; // from the centre's pixel, in the image's memory
  kept: Int32Array; // weights
  own: Int32Array;
  fixed: Int32Array; // red and blue by their weight
  fixedGreen: Int32Array;
}

/** What an image of points is drawn from. */
export interface Points {
  x: Float32Array;
  y: Float32Array;
  paints: Uint32Array;
  order: Order;
}

/** Where places of the map lie in the image: pixel = place * scale + origin; y of the map grows upwards. */
export interface Placing {
  scale: number;
  originX: number;
  originY: number;
}

/** An image with a rim around it, so that points at its edge need no care. */
export class Raster {
  readonly stride: number;
  readonly rows: number;
  readonly pixels: Uint32Array<ArrayBuffer>;

  /** `margin`: pixels of the rim; at least twice the reach of the stamps, else points vanish before their edges do. */
  constructor(
    readonly width: number,
    readonly height: number,
    readonly margin: number,
  ) {
    this.stride = width + 2 * margin;
    this.rows = height + 2 * margin;
    this.pixels = new Uint32Array(this.stride * this.rows);
  }

  clear(background: Rgb): void {
    this.pixels.fill(background | OPAQUE);
  }

  draw(points: Points, placing: Placing, stamps: Stamps, motion: Motion | null): void {
    const { slots, selected } = points.order;
    this.#stamp(points, slots, placing, stamps, motion, null);
    this.#stamp(points, slots.subarray(slots.length - selected), placing, stamps, motion, ONCE_MORE);
  }

  #stamp(
    { x, y, paints }: Points,
    slots: Uint32Array,
    placing: Placing,
    stamps: Stamps,
    motion: Motion | null,
    look: number | null,
  ): void {
    const { scale, originX, originY } = placing;
    const { pixels, stride } = this;
    const right = this.width + 2 * this.margin - stamps.reach;
    const lower = this.height + 2 * this.margin - stamps.reach;
    const least = stamps.reach;
    const left = originX + this.margin;
    const top = originY + this.margin;
    const stay = motion === null ? 0 : 1 - motion.come;
    for (let at = 0; at < slots.length; at++) {
      const slot = slots[at]!;
      let px = x[slot]!;
      let py = y[slot]!;
      if (motion !== null) {
        px += (motion.x[slot]! - px) * stay;
        py += (motion.y[slot]! - py) * stay;
      }
      px = px * scale + left;
      py = top - py * scale;
      if (!(px >= least && px < right && py >= least && py < lower)) {
        continue;
      }
      const paint = paints[slot]!;
      const column = px | 0;
      const row = py | 0;
      const step = (((py - row) * STEPS) | 0) * STEPS + (((px - column) * STEPS) | 0);
      const { n, offsets, kept, own, fixed, fixedGreen } = stamps.of(look === null ? paint >>> 24 : ((paint >>> 24) & HOLLOW) | look, step);
      const centre = row * stride + column;
      const redBlue = paint & RED_BLUE;
      const green = paint & GREEN;
      for (let i = 0; i < n; i++) {
        const pixel = centre + offsets[i]!;
        const before = pixels[pixel]!;
        const keep = kept[i]!;
        const weight = own[i]!;
        // Two channels in one number, 16 bits apart: neither overflows into the other.
        const first = (Math.imul(before & RED_BLUE, keep) + Math.imul(redBlue, weight) + fixed[i]!) >>> 8;
        const second = (Math.imul(before & GREEN, keep) + Math.imul(green, weight) + fixedGreen[i]!) >>> 8;
        pixels[pixel] = (first & RED_BLUE) | (second & GREEN) | OPAQUE;
      }
    }
  }
}

/** The stamps of all looks, made as they are asked for. */
export class Stamps {
  /** Pixels from the centre's that any stamp may touch. */
  readonly reach: number;
  readonly #made: (Stamp | undefined)[] = [];

  constructor(
    readonly looks: Looks,
    readonly ratio: number,
    readonly stride: number,
    readonly background: Rgb,
    readonly accent: Rgb,
  ) {
    this.reach = Math.ceil(reach(looks) * ratio + 1);
  }

  /** By the style byte of a paint, and the place of the centre within its pixel. */
  of(style: number, step: number): Stamp {
    const at = style * STEPS * STEPS + step;
    return (this.#made[at] ??= this.#make(style, step));
  }

  #make(style: number, step: number): Stamp {
    const look = this.looks[style & (HOLLOW - 1)] ?? this.looks[1]!;
    const hollow = (style & HOLLOW) !== 0;
    const dx = ((step % STEPS) + 0.5) / STEPS;
    const dy = (Math.floor(step / STEPS) + 0.5) / STEPS;
    const { reach: far, ratio, stride } = this;
    const offsets: number[] = [];
    const weights: Weights[] = [];
    for (let row = -far; row <= far; row++) {
      for (let column = -far; column <= far; column++) {
        const away = Math.hypot(column + 0.5 - dx, row + 0.5 - dy);
        const each = weightsAt(look, hollow, away, ratio);
        if (each.kept < 1 - 0.5 / ONE) {
          offsets.push(row * stride + column);
          weights.push(each);
        }
      }
    }
    const parts = weights.map(inParts);
    const fixed = (channels: number) =>
      Int32Array.from(
        parts,
        ({ accent, background }) =>
          Math.imul(this.background & channels, background) +
          Math.imul(this.accent & channels, accent) +
          (HALVES & channels),
      );
    return {
      n: offsets.length,
      offsets: Int32Array.from(offsets),
      kept: Int32Array.from(parts, ({ kept }) => kept),
      own: Int32Array.from(parts, ({ own }) => own),
      fixed: fixed(RED_BLUE),
      fixedGreen: fixed(GREEN),
    };
  }
}

/** Weights as whole numbers that make `ONE` together: a channel must not overflow into the next. */
function inParts({ kept, own, accent }: Weights) {
  const first = Math.round(kept * ONE);
  const second = Math.min(ONE - first, Math.round(own * ONE));
  const third = Math.min(ONE - first - second, Math.round(accent * ONE));
  return { kept: first, own: second, accent: third, background: ONE - first - second - third };
}

/** How much of a pixel is what was there, the point's own colour, and the accent; the rest is background. */
interface Weights {
  kept: number;
  own: number;
  accent: number;
}

function weightsAt(look: Look, hollow: boolean, away: number, ratio: number): Weights {
  const covered = (radius: number) => Math.min(1, Math.max(0, radius * ratio - away + 0.5));
  const weights = { kept: 1, own: 0, accent: 0 };
  const lay = (cover: number, own: number, accent: number) => {
    weights.kept *= 1 - cover;
    weights.own = weights.own * (1 - cover) + own * cover;
    weights.accent = weights.accent * (1 - cover) + accent * cover;
  };
  if (look.halo > 0) {
    lay(covered(look.halo) * HALO, 1, 0);
  }
  if (look.accent > 0) {
    lay(covered(look.accent), 0, 1);
  }
  if (look.gap > 0) {
    lay(covered(look.gap), 0, 0);
  }
  lay(covered(look.disc) * look.opacity, 1 - look.pale, 0);
  if (hollow && look.hole > 0) {
    lay(covered(look.hole) * look.opacity, 0, 0);
  }
  return weights;
}
