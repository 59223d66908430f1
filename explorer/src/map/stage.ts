/** Where points are drawn: one renderer, what it has been given, and what it has still to be given. */

import { CanvasRenderer } from "./canvas.ts";
import { drawingOrder, paints } from "./paint.ts";
import { PointSet } from "./points.ts";
import type { Frame, Renderer } from "./renderer.ts";
import { WebGLRenderer } from "./webgl.ts";

export type RendererName = "webgl" | "canvas";

const PATIENCE_MS = 3_000; // for a lost context to come back
const UNKNOWN_ONLY = Uint8Array.of(128, 128, 128);

/**
 * Draws frames into a canvas at the beginning of a host. When WebGL's context is lost and does not
 * come back, it goes on with our own rasteriser.
 */
export class Stage {
  readonly #host: HTMLElement;
  readonly #changed: () => void;
  #renderer: Renderer;
  #points = new PointSet();
  #codes: Uint16Array = new Uint16Array();
  #palette: Uint8Array = UNKNOWN_ONLY;
  #emphasis: Uint8Array = new Uint8Array();
  #stale = { places: true, paints: true, order: true };
  #patience = 0; // a timer

  /** `changed` asks for a frame. Without a wish: WebGL where a graphics card does it. */
  constructor(host: HTMLElement, wish: RendererName | undefined, changed: () => void) {
    this.#host = host;
    this.#changed = changed;
    this.#renderer = this.#open(wish);
    this.#place();
  }

  get renderer(): RendererName {
    return this.#renderer instanceof WebGLRenderer ? "webgl" : "canvas";
  }

  get emphasis(): Uint8Array {
    return this.#emphasis;
  }

  setPoints(points: PointSet): void {
    this.#points = points;
    this.#stale = { places: true, paints: true, order: true };
    this.#changed();
  }

  setColours(codes: Uint16Array, palette: Uint8Array): void {
    this.#codes = codes;
    this.#palette = palette.length >= 3 ? palette : UNKNOWN_ONLY;
    this.#stale.paints = true;
    this.#changed();
  }

  setEmphasis(emphasis: Uint8Array): void {
    this.#emphasis = emphasis;
    this.#stale.paints = this.#stale.order = true;
    this.#changed();
  }

  draw(frame: Frame): void {
    this.#handOver();
    this.#renderer.draw(frame);
  }

  /** What has been drawn last, in the same task: a canvas of WebGL is empty afterwards. */
  png(): Promise<Blob> {
    return new Promise((resolve, reject) => {
      this.#renderer.canvas.toBlob((blob) => {
        if (blob === null) {
          reject(new Error("the browser made no picture of the map"));
        } else {
          resolve(blob);
        }
      }, "image/png");
    });
  }

  destroy(): void {
    clearTimeout(this.#patience);
    this.#renderer.destroy();
    this.#points = new PointSet();
  }

  #open(wish: RendererName | undefined): Renderer {
    const lost = () => {
      this.#patience = window.setTimeout(() => this.#fallBack(), PATIENCE_MS);
    };
    const restored = () => {
      clearTimeout(this.#patience);
      this.#changed();
    };
    const webgl = wish === "canvas" ? null : WebGLRenderer.open({ slow: wish === "webgl", lost, restored });
    return webgl ?? new CanvasRenderer();
  }

  #fallBack(): void {
    this.#renderer.destroy();
    this.#renderer = new CanvasRenderer();
    this.#place();
    this.#stale = { places: true, paints: true, order: true };
    this.#changed();
  }

  #place(): void {
    const { canvas } = this.#renderer;
    canvas.setAttribute("aria-hidden", "true");
    const { style } = canvas;
    style.position = "absolute";
    style.inset = "0";
    style.display = "block";
    style.zIndex = "-1";
    style.width = style.height = "100%";
    this.#host.prepend(canvas);
  }

  /** Gives the renderer what has changed since the last frame. */
  #handOver(): void {
    const points = this.#points;
    const stale = this.#stale;
    this.#stale = { places: false, paints: false, order: false };
    if (stale.places) {
      this.#renderer.setPlaces(points.x, points.y, points.size);
    }
    if (stale.paints) {
      const appearance = { codes: this.#codes, palette: this.#palette, emphasis: this.#emphasis };
      this.#renderer.setPaints(paints(points.size, points.flags, appearance));
    }
    if (stale.order) {
      this.#renderer.setOrder(drawingOrder(points, this.#emphasis));
    }
  }
}
