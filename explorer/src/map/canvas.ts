/** The renderer for machines without WebGL2: our own rasteriser, shown by a 2D canvas. */

import { reach } from "./look.ts";
import type { Order } from "./paint.ts";
import { type Points, Raster, Stamps } from "./raster.ts";
import type { Frame, Renderer } from "./renderer.ts";

const RIM_STEP = 16; // pixels; the image is made anew only where its rim must grow

export class CanvasRenderer implements Renderer {
  readonly canvas = document.createElement("canvas");
  readonly #context: CanvasRenderingContext2D;
  #points: Points = {
    x: new Float32Array(),
    y: new Float32Array(),
    paints: new Uint32Array(),
    order: { slots: new Uint32Array(), selected: 0 },
  };
  #image: { raster: Raster; data: ImageData } | null = null;
  #stamps: { made: Stamps; from: string } | null = null;

  /** Throws where the browser gives no 2D context. */
  constructor() {
    const context = this.canvas.getContext("2d", { alpha: false });
    if (context === null) {
      throw new Error("this browser can draw on no canvas");
    }
    this.#context = context;
  }

  setPlaces(x: Float32Array, y: Float32Array): void {
    this.#points = { ...this.#points, x, y };
  }

  setPaints(paints: Uint32Array): void {
    this.#points = { ...this.#points, paints };
  }

  setOrder(order: Order): void {
    this.#points = { ...this.#points, order };
  }

  draw(frame: Frame): void {
    const { view, width, height, ratio } = frame;
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    const { raster, data } = this.#imageFor(frame);
    const stamps = this.#stampsFor(frame, raster.stride);
    const scale = view.scale * ratio;
    const placing = {
      scale,
      originX: width / 2 - view.x * scale,
      originY: height / 2 + view.y * scale,
    };
    raster.clear(frame.background);
    raster.draw(this.#points, placing, stamps, frame.motion);
    const { margin } = raster;
    this.#context.putImageData(data, -margin, -margin, margin, margin, width, height);
  }

  destroy(): void {
    this.#image = null;
    this.#stamps = null;
    this.canvas.remove();
  }

  #imageFor({ width, height, looks, ratio }: Frame): { raster: Raster; data: ImageData } {
    const needed = 2 * Math.ceil(reach(looks) * ratio + 1);
    const kept = this.#image;
    if (kept?.raster.width === width && kept.raster.height === height && kept.raster.margin >= needed) {
      return kept;
    }
    const raster = new Raster(width, height, Math.ceil(needed / RIM_STEP) * RIM_STEP);
    const bytes = new Uint8ClampedArray(raster.pixels.buffer);
    this.#image = { raster, data: new ImageData(bytes, raster.stride, raster.rows) };
    return this.#image;
  }

  #stampsFor({ looks, ratio, background, accent }: Frame, stride: number): Stamps {
    const from = JSON.stringify([looks, ratio, stride, background, accent]);
    if (this.#stamps?.from !== from) {
      this.#stamps = { made: new Stamps(looks, ratio, stride, background, accent), from };
    }
    return this.#stamps.made;
  }
}
