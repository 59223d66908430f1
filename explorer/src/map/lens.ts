/** What of the map is in view: it follows the whole of it until somebody looks elsewhere. */

import { type Bounds, Camera, fitted, limited, type Spot, type View } from "./camera.ts";

const CLOSER = 8; // times the scale of the whole map, to look at one place
const AWAY = 0.12; // part of the host's sides: what is nearer to the rim is not well in view

/** A view, the host's size in CSS pixels, and the box around all points. */
export class Lens {
  #view: View = { x: 0, y: 0, scale: 1 };
  #width = 0;
  #height = 0;
  #whole: Bounds | null = null;
  #isFitted = true;

  get view(): View {
    return { ...this.#view };
  }

  get width(): number {
    return this.#width;
  }

  get height(): number {
    return this.#height;
  }

  /** Nobody has looked elsewhere since the whole map was fitted. */
  get isFitted(): boolean {
    return this.#isFitted;
  }

  /** How much closer than the whole map: 1 where that fits. */
  get zoom(): number {
    return this.#view.scale / this.#wholeScale();
  }

  get camera(): Camera {
    return new Camera(this.#view, this.#width, this.#height);
  }

  /** The host has another size; true where the view has followed. */
  resize(width: number, height: number): boolean {
    if (width === this.#width && height === this.#height) {
      return false;
    }
    this.#width = width;
    this.#height = height;
    return this.#isFitted && this.fitWhole();
  }

  /** The points have come to lie in another box; true where the view has followed. */
  surround(whole: Bounds | null): boolean {
    this.#whole = whole;
    return this.#isFitted && this.fitWhole();
  }

  /** Looks elsewhere, as close as the limits allow. */
  look(view: View): void {
    this.#isFitted = false;
    const scale = this.#whole === null ? view.scale : limited(view.scale, this.#wholeScale());
    this.#view = { ...view, scale };
  }

  pan(dx: number, dy: number): void {
    this.look(this.camera.panned(dx, dy));
  }

  /** By a factor, around a spot or around the middle. */
  zoomBy(factor: number, spot: Spot = { x: this.#width / 2, y: this.#height / 2 }): void {
    const scale = limited(this.#view.scale * factor, this.#wholeScale());
    this.look(this.camera.zoomed(scale, spot));
  }

  /** Shows the whole map, now and after it or the host has changed; false where there is nothing to show. */
  fitWhole(): boolean {
    const can = this.#whole !== null && this.#canShow();
    if (this.#whole !== null && can) {
      this.#view = fitted(this.#whole, this.#width, this.#height);
    }
    this.#isFitted = true;
    return can;
  }

  /** Shows a box. */
  fit(bounds: Bounds): void {
    if (this.#canShow()) {
      this.look(fitted(bounds, this.#width, this.#height, this.#wholeScale() * CLOSER));
    }
  }

  /** Brings a place to the middle where it is not well in view; true where it was not. */
  bring(x: number, y: number): boolean {
    const spot = this.camera.toScreen(x, y);
    const isIn = (at: number, length: number) => at >= length * AWAY && at <= length * (1 - AWAY);
    if (isIn(spot.x, this.#width) && isIn(spot.y, this.#height)) {
      return false;
    }
    this.look({ x, y, scale: this.#view.scale });
    return true;
  }

  #canShow(): boolean {
    return this.#width > 0 && this.#height > 0;
  }

  #wholeScale(): number {
    const [width, height] = [Math.max(1, this.#width), Math.max(1, this.#height)];
    return this.#whole === null ? this.#view.scale : fitted(this.#whole, width, height).scale;
  }
}
