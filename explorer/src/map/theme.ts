/** Colours of the map that are not of points, and how they are read from CSS. */

import type { Rgb } from "./paint.ts";

/** CSS colours, in any notation that the browser reads. */
export interface Theme {
  background: string;
  /** Around selected points, and around the one under the pointer. */
  ring: string;
  lasso: string;
}

export const LIGHT: Theme = { background: "#ffffff", ring: "#111827", lasso: "#2563eb" };

/** The bytes of an opaque CSS colour. Throws a `RangeError` on what is no colour. */
export function rgbOf(colour: string): Rgb {
  if (!CSS.supports("color", colour)) {
    throw new RangeError("not a CSS colour");
  }
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (context === null) {
    throw new Error("this browser can draw on no canvas");
  }
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  const [red, green, blue] = context.getImageData(0, 0, 1, 1).data;
  return red! | (green! << 8) | (blue! << 16);
}
