/** What both renderers do: keep what they are given, and draw it from a view. */

import type { View } from "./camera.ts";
import type { Looks } from "./look.ts";
import type { Order, Rgb } from "./paint.ts";

/** Places that points are moving from, by slot, and how far they have come: 0 to 1. */
export interface Motion {
  x: Float32Array;
  y: Float32Array;
  come: number;
}

/** One picture. */
export interface Frame {
  view: View;
  /** Of the canvas, in its own pixels, and how many of those a CSS pixel takes. */
  width: number;
  height: number;
  ratio: number;
  looks: Looks;
  background: Rgb;
  accent: Rgb;
  motion: Motion | null;
}

export interface Renderer {
  readonly canvas: HTMLCanvasElement;
  /** Places by slot, in map units. Renderers may keep the arrays; they do not change them. */
  setPlaces(x: Float32Array, y: Float32Array, size: number): void;
  /** As `paints` gives them, by slot. */
  setPaints(paints: Uint32Array): void;
  /** As `drawingOrder` gives it; selected points are drawn once more behind all. */
  setOrder(order: Order): void;
  draw(frame: Frame): void;
  destroy(): void;
}
