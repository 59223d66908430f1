/** The map on the page: draws the points of a set, and tells what the user does with them. */

import { boundsOf, boundsOfAll, type Spot, type View } from "./camera.ts";
import { Gestures, type Gestured, type Mode } from "./gestures.ts";
import { Grid } from "./grid.ts";
import { Lens } from "./lens.ts";
import { Emphasis, type Looks, looks } from "./look.ts";
import { Movement } from "./motion.ts";
import { Overlay, type Ring } from "./overlay.ts";
import type { Rgb } from "./paint.ts";
import { PointSet } from "./points.ts";
import { type RendererName, Stage } from "./stage.ts";
import { LIGHT, rgbOf, type Theme } from "./theme.ts";

/** What the user does; points are slots of the set, places CSS pixels of the host. */
export interface MapEvents {
  /** Another point lies under the pointer, or it is drawn elsewhere now; null where none does. */
  onHover(point: number | null, at: Spot): void;
  onPick(point: number): void;
  /** All points within the line, dimmed ones too; `additive` with the shift key. */
  onLasso(points: Int32Array, additive: boolean): void;
  /** The view is another, at most once a frame; not after the page has set `view`. */
  onView(view: View): void;
  /** A key has changed the mode. */
  onMode?(mode: Mode): void;
}

export interface MapOptions {
  /** Without it: WebGL where a graphics card does it, else our own rasteriser. */
  renderer?: RendererName;
}

const NEAR = 3; // CSS pixels around a point's disc that still count as on it
const TOUCH = 14; // the least radius that a finger hits
const POINTER = 6;
const LEAST_AREA = 16; // square CSS pixels: a smaller lasso is a slip
const SHARPEST = 2; // pixels per CSS pixel; more cost much and show nothing
const USUAL_AREA = 700_000; // square CSS pixels of a map on a laptop, for which looks were chosen

/** Draws only where something has changed. All of it belongs to one host, until `destroy`. */
export class MapView {
  readonly #host: HTMLElement;
  readonly #events: MapEvents;
  readonly #stage: Stage;
  readonly #lens = new Lens();
  readonly #overlay = new Overlay();
  readonly #gestures: Gestures;
  readonly #off = new AbortController();
  readonly #resizes = new ResizeObserver(() => this.#resized());
  #points = new PointSet();
  #grid: Grid | null = null;
  #background: Rgb = 0;
  #accent: Rgb = 0;
  #mode: Mode = "pan";
  #movement: Movement | null = null;
  #pointer: Spot | null = null;
  #isHeld = false;
  #hovered: { point: number; at: Spot } | null = null;
  #focused = -1;
  #request = 0; // of the next frame; -1 when there will be none
  #isStale = true; // the picture
  #tellsView = false;

  /** Throws where the browser can draw on no canvas at all. */
  constructor(host: HTMLElement, events: MapEvents, options: MapOptions = {}) {
    this.#host = host;
    this.#events = events;
    this.#prepareHost();
    this.#stage = new Stage(host, options.renderer, () => this.#draw());
    host.append(this.#overlay.element);
    this.theme(LIGHT);
    this.#gestures = new Gestures(host, this.#gestured());
    this.#resizes.observe(host);
    this.#watchRatio();
    this.#resized();
  }

  get renderer(): RendererName {
    return this.#stage.renderer;
  }

  /** Draws the points; to be called again when the set has changed. */
  setPoints(points: PointSet): void {
    this.#points = points;
    this.#grid = null;
    this.#endMovement();
    this.#tellsView = this.#lens.surround(boundsOfAll(points)) || this.#tellsView;
    this.#focused = points.alive[this.#focused] === 1 ? this.#focused : -1;
    this.#stage.setPoints(points);
  }

  /**
   * A code per slot, and red, green, blue by code; the palette's last colour is that of unknown
   * values. Arrays are read when the next frame is drawn; hand them in again when they have changed.
   */
  setColours(codes: Uint16Array, palette: Uint8Array): void {
    this.#stage.setColours(codes, palette);
  }

  /** By slot: 0 dimmed, 1 plain, 2 lit, 3 selected, 4 new. Slots beyond the end are plain. */
  setEmphasis(state: Uint8Array): void {
    this.#stage.setEmphasis(state);
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
    const bounds = points === undefined ? null : boundsOf(this.#points, points);
    if (bounds !== null) {
      this.#lens.fit(bounds);
    } else if (points === undefined) {
      this.#lens.fitWhole();
    }
    this.#looked();
  }

  /** Whether the view follows the whole map: nobody has moved it since it was fitted. */
  get isFitted(): boolean {
    return this.#lens.isFitted;
  }

  get view(): View {
    return this.#lens.view;
  }

  /** `onView` is not told. Throws a `RangeError` on a view that shows nothing. */
  set view(view: View) {
    const { x, y, scale } = view;
    if (!Number.isFinite(x) || !Number.isFinite(y) || !(scale > 0 && scale < Infinity)) {
      throw new RangeError("a view has a finite centre and a positive scale");
    }
    this.#lens.look({ x, y, scale });
    this.#draw();
  }

  /** Closer by a factor around a place of the host, or around its middle. */
  zoom(factor: number, spot?: Spot): void {
    this.#lens.zoomBy(factor, spot);
    this.#looked();
  }

  get mode(): Mode {
    return this.#mode;
  }

  /** What a drag does; with the shift key it is a lasso in either mode. */
  set mode(mode: Mode) {
    this.#mode = mode;
    this.#showCursor();
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
    if (point >= 0 && this.#lens.bring(this.#points.x[point]!, this.#points.y[point]!)) {
      this.#looked();
    }
    this.#draw();
  }

  /** The picture as it is now, without the lasso and rings of single points. */
  png(): Promise<Blob> {
    this.#paint();
    return this.#stage.png();
  }

  /** Takes everything out of the host, and stops listening to it. */
  destroy(): void {
    cancelAnimationFrame(this.#request);
    this.#request = -1;
    this.#off.abort();
    this.#gestures.stop();
    this.#resizes.disconnect();
    this.#endMovement();
    this.#stage.destroy();
    this.#overlay.element.remove();
    this.#points = new PointSet();
    this.#grid = null;
  }

  #prepareHost(): void {
    const { style } = this.#host;
    if (getComputedStyle(this.#host).position === "static") {
      style.position = "relative";
    }
    style.overflow = "hidden";
    style.isolation = "isolate"; // what is drawn lies below the host's own outline, which shows the focus
    style.touchAction = "none";
    style.userSelect = "none";
    if (!this.#host.hasAttribute("tabindex")) {
      this.#host.tabIndex = 0;
    }
    this.mode = this.#mode;
  }

  #gestured(): Gestured {
    return {
      mode: () => this.#mode,
      pan: (dx, dy) => {
        this.#lens.pan(dx, dy);
        this.#looked();
      },
      hold: (isHeld) => {
        this.#isHeld = isHeld;
        this.#showCursor();
      },
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
        this.#request ||= requestAnimationFrame((now) => this.#onFrame(now)); // the picture stays
      },
    };
  }

  #showCursor(): void {
    const free = this.#hovered === null ? "grab" : "pointer";
    const shown = this.#mode === "lasso" ? "crosshair" : free;
    this.#host.style.cursor = this.#isHeld ? "grabbing" : shown;
  }

  #lassoed(corners: number[], additive: boolean): void {
    const { camera } = this.#lens;
    const polygon = new Float64Array(corners.length);
    let [left, right, upper, lower] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let i = 0; i < corners.length; i += 2) {
      const spot = { x: corners[i]!, y: corners[i + 1]! };
      const { x, y } = camera.toMap(spot);
      [polygon[i], polygon[i + 1]] = [x, y];
      [left, right] = [Math.min(left, spot.x), Math.max(right, spot.x)];
      [upper, lower] = [Math.min(upper, spot.y), Math.max(lower, spot.y)];
    }
    if ((right - left) * (lower - upper) >= LEAST_AREA) {
      this.#events.onLasso(this.#gridNow().within(polygon), additive);
    }
  }

  #pointAt(spot: Spot, least: number): number {
    const { x, y } = this.#lens.camera.toMap(spot);
    const radius = Math.max(least, this.#looksNow()[Emphasis.plain]!.disc + NEAR) / this.#lens.view.scale;
    const { emphasis } = this.#stage;
    return this.#gridNow().nearest(x, y, radius, (slot) => emphasis[slot] !== Emphasis.dimmed);
  }

  #gridNow(): Grid {
    return (this.#grid ??= new Grid(this.#points));
  }

  #looksNow(): Looks {
    const area = Math.max(1, this.#lens.width * this.#lens.height);
    return looks((this.#points.count * USUAL_AREA) / area, this.#lens.zoom);
  }

  #resized(): void {
    const { clientWidth, clientHeight } = this.#host;
    this.#tellsView = this.#lens.resize(clientWidth, clientHeight) || this.#tellsView;
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

  #endMovement(): void {
    const movement = this.#movement;
    this.#movement = null;
    movement?.done();
  }

  #looked(): void {
    this.#tellsView = true;
    this.#draw();
  }

  /** Has the picture drawn with the next frame. */
  #draw(): void {
    this.#isStale = true;
    this.#request ||= requestAnimationFrame((now) => this.#onFrame(now));
  }

  #onFrame(now: number): void {
    this.#request = 0;
    if (this.#movement !== null) {
      if (!this.#movement.advance(now)) {
        this.#endMovement();
      }
      this.#draw();
    }
    if (this.#isStale) {
      this.#isStale = this.#movement !== null;
      this.#paint();
    }
    if (this.#tellsView) {
      this.#tellsView = false;
      this.#events.onView(this.view);
    }
    this.#hover();
  }

  #paint(): void {
    const { view, width, height } = this.#lens;
    if (width === 0 || height === 0) {
      return;
    }
    const ratio = Math.min(SHARPEST, window.devicePixelRatio);
    this.#stage.draw({
      view,
      width: Math.round(width * ratio),
      height: Math.round(height * ratio),
      ratio,
      looks: this.#looksNow(),
      background: this.#background,
      accent: this.#accent,
      motion: this.#movement?.motion ?? null,
    });
  }

  /** Rings what is under the pointer, and tells of it where it is another point or place. */
  #hover(): void {
    const isMoving = this.#movement !== null; // no point is where it will be
    const point = this.#pointer === null || isMoving ? -1 : this.#pointAt(this.#pointer, POINTER);
    const ring = this.#ring(point);
    this.#overlay.mark(ring, isMoving ? null : this.#ring(this.#focused));
    const before = this.#hovered;
    if (ring !== null && (before?.point !== point || before.at.x !== ring.at.x || before.at.y !== ring.at.y)) {
      this.#hovered = { point, at: ring.at };
      this.#showCursor();
      this.#events.onHover(point, ring.at);
    } else if (ring === null && before !== null) {
      this.#hovered = null;
      this.#showCursor();
      this.#events.onHover(null, this.#pointer ?? before.at);
    }
  }

  #ring(slot: number): Ring | null {
    if (slot < 0) {
      return null;
    }
    const at = this.#lens.camera.toScreen(this.#points.x[slot]!, this.#points.y[slot]!);
    return { at, radius: this.#looksNow()[Emphasis.plain]!.disc + NEAR };
  }
}
