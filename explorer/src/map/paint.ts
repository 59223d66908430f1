/** What colour points have and in which order they are drawn: one number each, for both renderers. */

import { PROVISIONAL } from "./file.ts";
import { DRAWN, Emphasis } from "./look.ts";
import { isPlaced, type Places } from "./camera.ts";

/** Emphasis is in the lower bits of a paint's last byte, this bit says hollow. */
export const HOLLOW = 8;

const STRIDE = 61; // points of a sweep lie so many slots apart

/** A colour of three bytes as 0xBBGGRR, as it lies in an image's memory. */
export type Rgb = number;

/** What points are painted by; arrays by slot, and a slot beyond their end has no colour and is plain. */
export interface Appearance {
  codes: Uint16Array;
  palette: Uint8Array; // rgb triples by code; the last one is of unknown values
  emphasis: Uint8Array;
}

/** Paints by slot: red, green, blue, and a byte of emphasis and `HOLLOW`, the lowest byte first. */
export function paints(size: number, flags: Uint8Array, appearance: Appearance): Uint32Array {
  const { codes, emphasis } = appearance;
  const colours = colourTable(appearance.palette);
  const unknown = colours.length - 1;
  const painted = new Uint32Array(size);
  for (let slot = 0; slot < size; slot++) {
    const code = codes[slot] ?? unknown;
    const colour = colours[code < unknown ? code : unknown]!;
    const style = (emphasis[slot] ?? Emphasis.plain) | ((flags[slot]! & PROVISIONAL) === 0 ? 0 : HOLLOW);
    painted[slot] = colour | (style << 24);
  }
  return painted;
}

/** Slots in the order in which they are drawn; the last `selected` of them are selected points. */
export interface Order {
  slots: Uint32Array;
  selected: number;
}

/**
 * Slots of points that have a place, in the order in which they are drawn: by emphasis, and within
 * one in sweeps over all slots, so that no source of points, having come last, hides the others.
 */
export function drawingOrder(places: Places, emphasis: Uint8Array): Order {
  const sizes = new Uint32Array(DRAWN.length);
  const rank = new Uint8Array(256).fill(DRAWN.indexOf(Emphasis.plain));
  DRAWN.forEach((each, at) => {
    rank[each] = at;
  });
  let placed = 0;
  for (let slot = 0; slot < places.size; slot++) {
    if (isPlaced(places, slot)) {
      sizes[rank[emphasis[slot] ?? Emphasis.plain]!]!++;
      placed++;
    }
  }
  const next = new Uint32Array(DRAWN.length);
  for (let at = 1; at < next.length; at++) {
    next[at] = next[at - 1]! + sizes[at - 1]!;
  }
  const slots = new Uint32Array(placed);
  for (let first = 0; first < STRIDE; first++) {
    for (let slot = first; slot < places.size; slot += STRIDE) {
      if (isPlaced(places, slot)) {
        slots[next[rank[emphasis[slot] ?? Emphasis.plain]!]!++] = slot;
      }
    }
  }
  return { slots, selected: sizes[DRAWN.indexOf(Emphasis.selected)]! };
}

function colourTable(palette: Uint8Array): Uint32Array {
  const colours = new Uint32Array(Math.floor(palette.length / 3));
  for (let i = 0; i < colours.length; i++) {
    colours[i] = palette[3 * i]! | (palette[3 * i + 1]! << 8) | (palette[3 * i + 2]! << 16);
  }
  return colours;
}
