/**
 * How points look, for both renderers: by emphasis, number of points and zoom.
 *
 * A point is drawn as discs upon each other, from below: a halo, an accent ring, a ring in the
 * colour of the background, the point's own disc, and in a hollow point the background again.
 */

/** What a point is at the moment; the values of `MapView.setEmphasis`. */
export const Emphasis = { dimmed: 0, plain: 1, lit: 2, selected: 3, fresh: 4 } as const;

/** The order in which they are drawn: the last lie on top. */
export const DRAWN = [Emphasis.dimmed, Emphasis.plain, Emphasis.lit, Emphasis.fresh, Emphasis.selected] as const;

/** How points of one emphasis look. Lengths are radii, in CSS pixels. */
export interface Look {
  disc: number;
  /** Radius of the ring in the background's colour, and of the accent ring around that. */
  gap: number;
  accent: number;
  halo: number;
  /** Radius of the hole of a provisional point. */
  hole: number;
  /** Part of the background's colour in the disc's, 0 to 1. */
  pale: number;
  /** Of the disc, 0 to 1. */
  opacity: number;
}

/** By `Emphasis`, and `ONCE_MORE` behind them. */
export type Looks = readonly Look[];

/**
 * The look in which selected points are drawn once more above all their rings: where they lie
 * close, the rings then outline them together, and do not hide their colours.
 */
export const ONCE_MORE = 5;

/** Opacity of a halo. */
export const HALO = 0.32;

const FEW = 100; // points: up to here they are drawn as large as they get
const LARGEST = 11; // diameters, in CSS pixels
const SMALLEST = 1.4;
const CLOSEST = 12;
const THINNING = -0.2; // exponent: 11 px at 100 points, 5 at 5,000, 2.4 at 200,000, 1.7 at 1,000,000
const NEARING = 0.4; // exponent of the zoom: 100 times nearer is 6 times larger

/** Diameter of a plain point in CSS pixels; `zoom` is 1 where the whole map fits. */
export function diameter(n: number, zoom: number): number {
  const thinned = LARGEST * (Math.max(n, FEW) / FEW) ** THINNING;
  return Math.min(CLOSEST, Math.max(SMALLEST, thinned * Math.max(zoom, 0.5) ** NEARING));
}

/** How points of each emphasis look at that size. */
export function looks(n: number, zoom: number): Looks {
  const size = diameter(n, zoom);
  // Small points have no room for a ring; there, being translucent shows where they are dense.
  const room = ramp(size, 3, 7);
  const opacity = 0.6 + 0.4 * room;
  const ring = 1.25 * room;
  const strong = Math.max(0.9, 1.6 * ramp(size, 1, 8));
  const raised = size * 0.56;
  return [
    look({ disc: size * 0.45, ring: ring * 0.6, opacity: opacity * 0.9, pale: 0.8 }),
    look({ disc: size / 2, ring, opacity }),
    look({ disc: raised, ring, opacity: Math.min(1, opacity + 0.15) }),
    look({ disc: raised, ring: 0.8 * room, accent: strong, opacity: 1 }),
    // Few, and to be found at once: never so small as to drown among the others.
    look({ disc: Math.max(2, raised), ring: Math.max(1, ring), halo: Math.max(3.5, size * 0.6), opacity: 1 }),
    look({ disc: raised, ring: 0.8 * room, opacity: 1 }),
  ];
}

/** The farthest that a point's drawing reaches from its place, in CSS pixels. */
export function reach(all: Looks): number {
  return Math.max(...all.map(({ disc, gap, accent, halo }) => Math.max(disc, gap, accent, halo)));
}

function look(parts: {
  disc: number;
  ring: number;
  opacity: number;
  accent?: number;
  halo?: number;
  pale?: number;
}): Look {
  const { disc, ring, opacity, accent = 0, halo = 0, pale = 0 } = parts;
  const gap = disc + ring;
  return {
    disc,
    gap: ring > 0 ? gap : 0,
    accent: accent > 0 ? gap + accent : 0,
    halo: halo > 0 ? gap + halo : 0,
    hole: Math.max(0, disc - Math.max(1, disc * 0.36)),
    pale,
    opacity,
  };
}

/** 0 below `from`, 1 above `to`, even in between. */
function ramp(value: number, from: number, to: number): number {
  return Math.min(1, Math.max(0, (value - from) / (to - from)));
}
