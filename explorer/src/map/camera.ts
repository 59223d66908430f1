/** Where the map is looked at from, and what that makes of places. */

/** Centre in map units, and CSS pixels per map unit. y of the map grows upwards. */
export interface View {
  x: number;
  y: number;
  scale: number;
}

/** A place on the screen, in CSS pixels from the upper left corner of the host. */
export interface Spot {
  x: number;
  y: number;
}

export interface Bounds {
  left: number;
  right: number;
  bottom: number;
  top: number;
}

/** Where points are; arrays by slot, of which the first `size` count. */
export interface Places {
  readonly size: number;
  readonly x: Float32Array;
  readonly y: Float32Array;
  readonly alive: Uint8Array;
}

const MARGIN = 0.06; // of the host's sides, left free around what is fitted
const LONE = 1e-6; // a box smaller than this part of its place counts as one place
const MOST_IN = 4_000; // times the scale of the whole map: beyond it float32 shows
const MOST_OUT = 1 / 4;

/** The view of a host of so many CSS pixels. All methods give a new view and change nothing. */
export class Camera {
  constructor(
    readonly view: View,
    readonly width: number,
    readonly height: number,
  ) {}

  toScreen(x: number, y: number): Spot {
    const { view } = this;
    return {
      x: (x - view.x) * view.scale + this.width / 2,
      y: (view.y - y) * view.scale + this.height / 2,
    };
  }

  toMap(spot: Spot): { x: number; y: number } {
    const { view } = this;
    return {
      x: (spot.x - this.width / 2) / view.scale + view.x,
      y: view.y - (spot.y - this.height / 2) / view.scale,
    };
  }

  /** The view after the map was dragged by so many CSS pixels. */
  panned(dx: number, dy: number): View {
    const { x, y, scale } = this.view;
    return { x: x - dx / scale, y: y + dy / scale, scale };
  }

  /** The view at another scale, with the place under `spot` kept there. */
  zoomed(scale: number, spot: Spot): View {
    const held = this.toMap(spot);
    return {
      x: held.x - (spot.x - this.width / 2) / scale,
      y: held.y + (spot.y - this.height / 2) / scale,
      scale,
    };
  }
}

/** The view that shows a box with a margin; `lone` is the scale for a box that is one place. */
export function fitted(bounds: Bounds, width: number, height: number, lone = 1): View {
  const across = bounds.right - bounds.left;
  const up = bounds.top - bounds.bottom;
  const far = Math.max(Math.abs(bounds.left), Math.abs(bounds.right), Math.abs(bounds.top), Math.abs(bounds.bottom));
  const single = Math.max(across, up) <= far * LONE;
  const room = 1 - 2 * MARGIN;
  return {
    x: bounds.left + across / 2,
    y: bounds.bottom + up / 2,
    scale: single ? lone : Math.min((width * room) / across, (height * room) / up),
  };
}

/** A scale that is neither too far in nor too far out, by the scale at which the whole map fits. */
export function limited(scale: number, whole: number): number {
  return Math.min(whole * MOST_IN, Math.max(whole * MOST_OUT, scale));
}

/** The box around points, by slot; null where none of them has a place. */
export function boundsOf(places: Places, slots: ArrayLike<number>): Bounds | null {
  const bounds = { left: Infinity, right: -Infinity, bottom: Infinity, top: -Infinity };
  for (let i = 0; i < slots.length; i++) {
    stretch(bounds, places, slots[i]!);
  }
  return bounds.left <= bounds.right ? bounds : null;
}

/** The box around all points; null where none has a place. */
export function boundsOfAll(places: Places): Bounds | null {
  const bounds = { left: Infinity, right: -Infinity, bottom: Infinity, top: -Infinity };
  for (let slot = 0; slot < places.size; slot++) {
    stretch(bounds, places, slot);
  }
  return bounds.left <= bounds.right ? bounds : null;
}

/** Whether a slot holds a point that has a finite place. */
export function isPlaced({ x, y, alive }: Places, slot: number): boolean {
  return alive[slot] === 1 && Number.isFinite(x[slot]) && Number.isFinite(y[slot]);
}

function stretch(bounds: Bounds, places: Places, slot: number): void {
  if (isPlaced(places, slot)) {
    const x = places.x[slot]!;
    const y = places.y[slot]!;
    bounds.left = Math.min(bounds.left, x);
    bounds.right = Math.max(bounds.right, x);
    bounds.bottom = Math.min(bounds.bottom, y);
    bounds.top = Math.max(bounds.top, y);
  }
}
