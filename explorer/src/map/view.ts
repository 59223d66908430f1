/** The map on the page: draws the points of a set, and tells what the user does with them. */

import { type Bounds, boundsOf, boundsOfAll, Camera, fitted, limited, type Spot, type View } from "./camera.ts";
import { CanvasRenderer } from "./canvas.ts";
import { Gestures, type Gestured, type Mode } from "./gestures.ts";
import { Grid } from "./grid.ts";
import { Emphasis, type Looks, looks } from "./look.ts";
import { Movement } from "./motion.ts";
import { Overlay, type Ring } from "./overlay.ts";
import { drawingOrder, paints, type Rgb } from "./paint.ts";
import { PointSet } from "./points.ts";
import type { Frame, Renderer } from "./renderer.ts";
import { LIGHT, rgbOf, type Theme } from "./theme.ts";
import { WebGLRenderer } from "./webgl.ts";

/** What the user does; points are slots of the set, places CSS pixels of the host. */
export interface MapEvents {
  /** Another point lies under the pointer, and where it is drawn; null where none does. */
  onHover(point: number | null, at: Spot): void;
  onPick(point: number): void;
  /** All points within the line, dimmed ones too; `additive` with the shift key. */
  onLasso(points: Int32Array, additive: boolean): void;
  /** The view is another, at most once a frame; not after the page has set it. */
  onView(view: View): void;
  /** A key has changed the mode. */
  onMode?(mode: Mode): void;
}

export interface MapOptions {
  /** Without it: WebGL where a graphics card does it, else our own rasteriser. */
  renderer?: "webgl" | "canvas";
}

const NEAR = 3; // CSS pixels around a point's disc that still count as on it
const TOUCH = 14; // the least radius that a finger hits
const POINTER = 6;
const CLOSER = 8; // times the scale of the whole map, to look at one point
const AWAY = 0.12; // part of the host's sides: a point nearer to the rim is brought to the middle
const LEAST_AREA = 16; // square CSS pixels: a smaller lasso is a slip
const USUAL_AREA = 700_000; // square CSS pixels of a map on a laptop, for which looks were chosen
const PATIENCE_MS = 3_000; // for a lost context to come back
const SHARPEST = 2; // pixels per CSS pixel; more cost much and show nothing
const UNKNOWN_ONLY = Uint8Array.of(128, 128, 128);

/** Draws only where something has changed. All of it belongs to one host, until `destroy`. */
export class MapView {
  readonly #host: HTMLElement;
  readonly #events: MapEvents;
  readonly #overlay = new Overlay();
  readonly #off = new AbortController();
  readonly #resizes = new ResizeObserver(() => this.#resized());
  readonly #gestures: Gestures;
  #renderer: Renderer;
  #points = new PointSet();
  #codes: Uint16Array = new Uint16Array();
  #palette: Uint8Array = UNKNOWN_ONLY;
  #emphasis: Uint8Array = new Uint8Array();
  #background: Rgb = 0;
  #accent: Rgb = 0;
  #isStale = true; // the picture
  #stale = { places: true, paints: true, order: true };
  #bounds: Bounds | null = null;
  #grid: Grid | null = null;
  #view: View = { x: 0, y: 0, scale: 1 };
  #isFitted = true; // the view follows the points and the host until somebody changes it
  #width = 0;
  #height = 0;
  #mode: Mode = "pan";
  #movement: Movement | null = null;
  #request = 0;
  #tellsView = false;
  #pointer: Spot | null = null;
  #hovered = -1;
  #focused = -1;
  #lostTimer = 0;

  /** Throws where the browser can draw on no canvas at all. */
  constructor(host: HTMLElement, events: MapEvents, options: MapOptions = {}) {
    this.#host = host;
    this.#events = events;
    this.#renderer = this.#open(options.renderer);
    this.#prepareHost();
    this.theme(LIGHT);
    this.#gestures = new Gestures(host, this.#gestured());
    this.#resizes.observe(host);
    this.#watchRatio();
    this.#resized();
  }

  get renderer(): "webgl" | "canvas" {
    return this.#renderer instanceof WebGLRenderer ? "webgl" : "canvas";
  }

  /** Draws the points; to be called again when the set has changed. */
  setPoints(points: PointSet): void {
    this.#points = points;
    this.#bounds = boundsOfAll(points);
    this.#grid = null;
    this.#stale = { places: true, paints: true, order: true };
    this.#endMovement();
    if (this.#isFitted) {
      this.fit();
    }
    this.#forget();
    this.#draw();
  }

  /**
   * A code per slot, and red, green, blue by code; the palette's last colour is that of unknown
   * values. Arrays are read when the next frame is drawn; hand them in again when they have changed.
   */
  setColours(codes: Uint16Array, palette: Uint8Array): void {
    this.#codes = codes;
    this.#palette = palette.length >= 3 ? palette : UNKNOWN_ONLY;
    this.#stale.paints = true;
    this.#draw();
  }

  /** By slot: 0 dimmed, 1 plain, 2 lit, 3 selected, 4 new. Slots beyond the end are plain. */
  setEmphasis(state: Uint8Array): void {
    this.#emphasis = state;
    this.#stale.paints = this.#stale.order = true;
    this.#draw();
  }

  /**
   * Moves points from old places, by slot, to those of the set; slots beyond the end, or without a
   * finite place, do not move. The arrays must be copies: `PointSet.apply` writes into its own.
   * Resolves when all have come, or another movement begins; at once where users want no motion.
   */
  animateFrom(x: Float32Array, y: Float32Array, ms: number): Promise<void> {
    this.#endMovement();
    if (ms <= 0 || document.hidden || matchMedia("(prefers-reduced-motion: reduce)").matches) {
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      this.#movement = new Movement({ x, y }, this.#points, ms, resolve);
      this.#draw();
    });
  }

  /** Shows all points, or these; the whole map then stays fitted until the user moves it. */
  fit(points?: ArrayLike<number>): void {
    const bounds = points === undefined ? this.#bounds : boundsOf(this.#points, points);
    this.#isFitted = points === undefined;
    if (bounds !== null && this.#width > 0 && this.#height > 0) {
      const lone = points === undefined ? 1 : this.#wholeScale() * CLOSER;
      const view = fitted(bounds, this.#width, this.#height, lone);
      this.#look({ ...view, scale: limited(view.scale, this.#wholeScale()) });
    }
  }

  /** Whether the view follows the whole map: nobody has moved it since it was fitted. */
  get isFitted(): boolean {
    return this.#isFitted;
  }

  get view(): View {
    return { ...this.#view };
  }

  /** `onView` is not told. Throws a `RangeError` on a view that shows nothing. */
  set view(view: View) {
    const { x, y, scale } = view;
    if (!Number.isFinite(x) || !Number.isFinite(y) || !(scale > 0 && scale < Infinity)) {
      throw new RangeError("a view has a finite centre and a positive scale");
    }
    this.#isFitted = false;
    this.#view = { x, y, scale: this.#bounds === null ? scale : limited(scale, this.#wholeScale()) };
    this.#draw();
  }

  /** Closer by a factor around a place of the host, or around its middle. */
  zoom(factor: number, spot: Spot = { x: this.#width / 2, y: this.#height / 2 }): void {
    const scale = limited(this.#view.scale * factor, this.#wholeScale());
    this.#moveTo(this.#camera().zoomed(scale, spot));
  }

  get mode(): Mode {
    return this.#mode;
  }

  /** What a drag does; with the shift key it is a lasso in either mode. */
  set mode(mode: Mode) {
    this.#mode = mode;
    this.#host.style.cursor = mode === "lasso" ? "crosshair" : "grab";
  }

  /** Throws a `RangeError` on what is no CSS colour. */
  theme(theme: Theme): void {
    this.#background = rgbOf(theme.background);
    this.#accent = rgbOf(theme.ring);
    this.#overlay.theme(theme);
    this.#host.style.backgroundColor = theme.background;
    this.#draw();
  }

  /** Rings a point, and brings it to the middle where it is not well in view; -1 takes the ring away. */
  focusOn(point: number): void {
    this.#focused = point;
    if (point >= 0) {
      const { x, y } = this.#spotOf(point);
      const isIn = (at: number, length: number) => at >= length * AWAY && at <= length * (1 - AWAY);
      if (!isIn(x, this.#width) || !isIn(y, this.#height)) {
        this.#isFitted = false;
        this.#look({ x: this.#points.x[point]!, y: this.#points.y[point]!, scale: this.#view.scale });
      }
    }
    this.#draw();
  }

  /** The picture as it is now, without the lasso and rings of single points. */
  png(): Promise<Blob> {
    this.#paint();
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

  /** Takes everything out of the host, and stops listening to it. */
  destroy(): void {
    cancelAnimationFrame(this.#request);
    clearTimeout(this.#lostTimer);
    this.#request = -1; // nothing draws any more
    this.#off.abort();
    this.#gestures.stop();
    this.#resizes.disconnect();
    this.#endMovement();
    this.#renderer.destroy();
    this.#overlay.element.remove();
    this.#points = new PointSet();
    this.#grid = null;
  }

  #open(wanted: MapOptions["renderer"]): Renderer {
    const webgl =
      wanted === "canvas"
        ? null
        : WebGLRenderer.open({
            slow: wanted === "webgl",
            lost: () => {
              this.#lostTimer = window.setTimeout(() => this.#fallBack(), PATIENCE_MS);
            },
            restored: () => {
              clearTimeout(this.#lostTimer);
              this.#draw();
            },
          });
    return webgl ?? new CanvasRenderer();
  }

  /** Goes on without WebGL, whose context was lost and does not come back. */
  #fallBack(): void {
    const old = this.#renderer;
    this.#renderer = new CanvasRenderer();
    place(this.#renderer.canvas);
    old.canvas.before(this.#renderer.canvas);
    old.destroy();
    this.#stale = { places: true, paints: true, order: true };
    this.#draw();
  }

  #prepareHost(): void {
    const { style } = this.#host;
    if (getComputedStyle(this.#host).position === "static") {
      style.position = "relative";
    }
    style.overflow = "hidden";
    style.touchAction = "none";
    style.userSelect = "none";
    if (!this.#host.hasAttribute("tabindex")) {
      this.#host.tabIndex = 0;
    }
    place(this.#renderer.canvas);
    this.#host.append(this.#renderer.canvas, this.#overlay.element);
    this.mode = this.#mode;
  }

  #gestured(): Gestured {
    const map = this;
    return {
      get mode() {
        return map.#mode;
      },
      pan: (dx, dy) => this.#moveTo(this.#camera().panned(dx, dy)),
      zoom: (factor, spot) => this.zoom(factor, spot),
      fit: () => this.fit(),
      lasso: (spot) => this.#overlay.draw(spot),
      closeLasso: (additive) => this.#lassoed(this.#overlay.take(), additive),
      dropLasso: () => this.#overlay.take(),
      leaveLasso: () => {
        if (this.#mode === "lasso") {
          this.mode = "pan";
          this.#events.onMode?.("pan");
        }
      },
      pick: (spot, isTouch) => {
        const point = this.#pointAt(spot, isTouch ? TOUCH : POINTER);
        if (point >= 0) {
          this.#events.onPick(point);
        }
      },
      hover: (spot) => {
        this.#pointer = spot;
        this.#draw(false);
      },
    };
  }

  #moveTo(view: View): void {
    this.#isFitted = false;
    this.#look(view);
  }

  #look(view: View): void {
    this.#view = view;
    this.#tellsView = true;
    this.#draw();
  }

  #lassoed(corners: number[], additive: boolean): void {
    if (areaBound(corners) < LEAST_AREA) {
      return;
    }
    const camera = this.#camera();
    const polygon = new Float64Array(corners.length);
    for (let i = 0; i < corners.length; i += 2) {
      const { x, y } = camera.toMap({ x: corners[i]!, y: corners[i + 1]! });
      polygon[i] = x;
      polygon[i + 1] = y;
    }
    this.#events.onLasso(this.#gridNow().within(polygon), additive);
  }

  #pointAt(spot: Spot, least: number): number {
    const { x, y } = this.#camera().toMap(spot);
    const disc = this.#looksNow()[Emphasis.plain]!.disc;
    const radius = Math.max(least, disc + NEAR) / this.#view.scale;
    return this.#gridNow().nearest(x, y, radius, (slot) => this.#emphasis[slot] !== Emphasis.dimmed);
  }

  #gridNow(): Grid {
    return (this.#grid ??= new Grid(this.#points));
  }

  #camera(): Camera {
    return new Camera(this.#view, this.#width, this.#height);
  }

  #spotOf(slot: number): Spot {
    return this.#camera().toScreen(this.#points.x[slot]!, this.#points.y[slot]!);
  }

  /** The scale at which the whole map fits. */
  #wholeScale(): number {
    return this.#bounds === null ? 1 : fitted(this.#bounds, Math.max(1, this.#width), Math.max(1, this.#height)).scale;
  }

  #looksNow(): Looks {
    const crowd = (this.#points.count * USUAL_AREA) / Math.max(1, this.#width * this.#height);
    return looks(crowd, this.#view.scale / this.#wholeScale());
  }

  #ratio(): number {
    return Math.min(SHARPEST, window.devicePixelRatio);
  }

  #resized(): void {
    this.#width = this.#host.clientWidth;
    this.#height = this.#host.clientHeight;
    if (this.#isFitted) {
      this.fit();
    }
    this.#draw();
  }

  /** A window may come to a screen of another sharpness. */
  #watchRatio(): void {
    const changed = () => {
      this.#draw();
      this.#watchRatio();
    };
    matchMedia(`(resolution: ${window.devicePixelRatio}dppx)`).addEventListener("change", changed, {
      once: true,
      signal: this.#off.signal,
    });
  }

  /** Points that were marked may have gone. */
  #forget(): void {
    const isThere = (slot: number) => slot >= 0 && this.#points.alive[slot] === 1;
    this.#focused = isThere(this.#focused) ? this.#focused : -1;
    if (this.#hovered >= 0 && !isThere(this.#hovered)) {
      this.#hovered = -1;
      this.#events.onHover(null, this.#pointer ?? { x: 0, y: 0 });
    }
  }

  #endMovement(): void {
    const movement = this.#movement;
    this.#movement = null;
    movement?.done();
  }

  /** Has the next frame drawn; without `points` only what lies above them. */
  #draw(points = true): void {
    this.#isStale ||= points;
    if (this.#request === 0) {
      this.#request = requestAnimationFrame((now) => this.#onFrame(now));
    }
  }

  #onFrame(now: number): void {
    this.#request = 0;
    if (this.#movement !== null) {
      this.#isStale = true;
      if (this.#movement.advance(now)) {
        this.#draw();
      } else {
        this.#endMovement();
      }
    }
    if (this.#isStale) {
      this.#isStale = this.#movement !== null;
      this.#paint();
    }
    this.#hover();
    if (this.#tellsView) {
      this.#tellsView = false;
      this.#events.onView(this.view);
    }
  }

  #paint(): void {
    if (this.#width === 0 || this.#height === 0) {
      return;
    }
    this.#handOver();
    const ratio = this.#ratio();
    const frame: Frame = {
      view: this.#view,
      width: Math.round(this.#width * ratio),
      height: Math.round(this.#height * ratio),
      ratio,
      looks: this.#looksNow(),
      background: this.#background,
      accent: this.#accent,
      motion: this.#movement?.motion ?? null,
    };
    this.#renderer.draw(frame);
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

  #hover(): void {
    const isStill = this.#movement === null;
    const point = this.#pointer === null || !isStill ? -1 : this.#pointAt(this.#pointer, POINTER);
    this.#overlay.mark(this.#ring(point), isStill ? this.#ring(this.#focused) : null);
    if (point !== this.#hovered) {
      this.#hovered = point;
      const at = point >= 0 ? this.#spotOf(point) : (this.#pointer ?? { x: 0, y: 0 });
      this.#events.onHover(point >= 0 ? point : null, at);
    }
  }

  #ring(slot: number): Ring | null {
    if (slot < 0) {
      return null;
    }
    return { at: this.#spotOf(slot), radius: this.#looksNow()[Emphasis.plain]!.disc + NEAR };
  }
}

function place(canvas: HTMLCanvasElement): void {
  const { style } = canvas;
  style.position = "absolute";
  style.inset = "0";
  style.width = style.height = "100%";
  style.display = "block";
  canvas.setAttribute("aria-hidden", "true");
}

/** Area of the box around corners. */
function areaBound(corners: readonly number[]): number {
  const sides = [0, 1].map((axis) => {
    const along = corners.filter((_, i) => i % 2 === axis);
    return along.length < 3 ? 0 : along.reduce((most, each) => Math.max(most, each)) - along.reduce((least, each) => Math.min(least, each));
  });
  return sides[0]! * sides[1]!;
}
