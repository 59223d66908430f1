/** What pointers, the wheel and keys ask of the map. */

import type { Spot } from "./camera.ts";

export type Mode = "pan" | "lasso";

/** What gestures do; places and distances in CSS pixels of the host. */
export interface Gestured {
  mode(): Mode;
  pan(dx: number, dy: number): void;
  /** The pointer has got hold of the map, or lets go of it. */
  hold(isHeld: boolean): void;
  /** By a factor, with what lies under `spot` kept there; without a spot, the middle. */
  zoom(factor: number, spot?: Spot): void;
  fit(): void;
  lasso(spot: Spot): void;
  closeLasso(additive: boolean): void;
  /** Drops a lasso that is being drawn, if any. */
  dropLasso(): void;
  leaveLasso(): void;
  pick(spot: Spot, isTouch: boolean): void;
  /** The pointer rests here; null: it is busy, or elsewhere. */
  hover(spot: Spot | null): void;
}

const STILL = 4; // CSS pixels that a pointer may tremble within a click
const STEP = 60; // CSS pixels that an arrow key pans
const KEY_ZOOM = 1.3;
const WHEEL_ZOOM = 0.0016; // exponent per CSS pixel of a wheel
const PINCH_ZOOM = 0.01; // the same of two fingers on a touch pad, which browsers tell as wheel and Ctrl
const LINE = 16; // CSS pixels, for wheels that count in lines
const MOST_WHEEL = 240; // of one event, so that no wheel jumps

type Drag = "none" | "press" | "pan" | "lasso" | "pinch" | "rest";

/** Listens to a host until it is told to stop. */
export class Gestures {
  readonly #host: HTMLElement;
  readonly #map: Gestured;
  readonly #off = new AbortController();
  readonly #pointers = new Map<number, Spot>();
  #drag: Drag = "none";
  #pressed: Spot = { x: 0, y: 0 };
  #lassoes = false; // what a drag from here will be

  constructor(host: HTMLElement, map: Gestured) {
    this.#host = host;
    this.#map = map;
    const { signal } = this.#off;
    host.addEventListener("pointerdown", (event) => this.#down(event), { signal });
    host.addEventListener("pointermove", (event) => this.#move(event), { signal });
    host.addEventListener("pointerup", (event) => this.#up(event), { signal });
    host.addEventListener("pointercancel", (event) => this.#cancel(event), { signal });
    host.addEventListener("pointerleave", () => this.#map.hover(null), { signal });
    host.addEventListener("wheel", (event) => this.#wheel(event), { signal, passive: false });
    host.addEventListener("keydown", (event) => this.#key(event), { signal });
  }

  stop(): void {
    this.#off.abort();
  }

  #down(event: PointerEvent): void {
    if (event.button > 1) {
      return; // the context menu's
    }
    const spot = this.#spot(event);
    this.#host.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, spot);
    this.#map.hover(null);
    if (this.#pointers.size > 1) {
      this.#map.dropLasso();
      this.#drag = this.#pointers.size === 2 ? "pinch" : "rest";
      return;
    }
    this.#drag = "press";
    this.#pressed = spot;
    this.#lassoes = event.button === 0 && (this.#map.mode() === "lasso" || event.shiftKey);
  }

  #move(event: PointerEvent): void {
    const spot = this.#spot(event);
    const before = this.#pointers.get(event.pointerId);
    if (before === undefined) {
      if (event.pointerType !== "touch" && this.#pointers.size === 0) {
        this.#map.hover(spot);
      }
      return;
    }
    if (this.#drag === "press" && distance(spot, this.#pressed) > STILL) {
      this.#drag = this.#lassoes ? "lasso" : "pan";
      if (this.#lassoes) {
        this.#map.lasso(this.#pressed);
      } else {
        this.#map.hold(true);
      }
    }
    if (this.#drag === "pinch") {
      this.#pinch(event.pointerId, before, spot);
    } else if (this.#drag === "pan") {
      this.#map.pan(spot.x - before.x, spot.y - before.y);
    } else if (this.#drag === "lasso") {
      // Older Safari does not have it; its lassos have fewer corners.
      for (const each of event.getCoalescedEvents?.() ?? []) {
        this.#map.lasso(this.#spot(each));
      }
      this.#map.lasso(spot);
    } else if (this.#drag === "press") {
      return; // the distance still counts from where it was pressed
    }
    this.#pointers.set(event.pointerId, spot);
  }

  #pinch(pointer: number, before: Spot, spot: Spot): void {
    const other = [...this.#pointers].find(([id]) => id !== pointer)?.[1];
    if (other !== undefined) {
      const middle = between(spot, other);
      const old = between(before, other);
      this.#map.pan(middle.x - old.x, middle.y - old.y);
      this.#map.zoom(Math.max(1, distance(spot, other)) / Math.max(1, distance(before, other)), middle);
    }
  }

  #up(event: PointerEvent): void {
    if (!this.#pointers.delete(event.pointerId)) {
      return;
    }
    this.#map.hold(false);
    if (this.#drag === "press") {
      this.#map.pick(this.#pressed, event.pointerType === "touch");
    } else if (this.#drag === "lasso") {
      this.#map.closeLasso(event.shiftKey);
    }
    if (this.#pointers.size === 0 && event.pointerType !== "touch") {
      this.#map.hover(this.#spot(event));
    }
    // The finger that stays after a pinch does nothing, else the map would jump.
    this.#drag = this.#pointers.size === 0 ? "none" : "rest";
  }

  #cancel(event: PointerEvent): void {
    if (this.#pointers.delete(event.pointerId)) {
      this.#map.hold(false);
      this.#map.dropLasso();
      this.#drag = this.#pointers.size === 0 ? "none" : "rest";
    }
  }

  #wheel(event: WheelEvent): void {
    event.preventDefault();
    if (this.#drag === "lasso") {
      return; // its corners are places on the screen
    }
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 1 : LINE;
    const turned = Math.min(MOST_WHEEL, Math.max(-MOST_WHEEL, event.deltaY * unit));
    this.#map.zoom(Math.exp(-turned * (event.ctrlKey ? PINCH_ZOOM : WHEEL_ZOOM)), this.#spot(event));
  }

  #key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target !== this.#host) {
      return;
    }
    const asked = this.#asked(event.key);
    if (asked !== null) {
      event.preventDefault();
      asked();
    }
  }

  #asked(key: string): (() => void) | null {
    const map = this.#map;
    switch (key) {
      case "ArrowLeft":
        return () => map.pan(STEP, 0);
      case "ArrowRight":
        return () => map.pan(-STEP, 0);
      case "ArrowUp":
        return () => map.pan(0, STEP);
      case "ArrowDown":
        return () => map.pan(0, -STEP);
      case "+":
      case "=":
        return () => map.zoom(KEY_ZOOM);
      case "-":
      case "_":
        return () => map.zoom(1 / KEY_ZOOM);
      case "0":
        return () => map.fit();
      case "Escape":
        return this.#drag === "lasso" || map.mode() === "lasso" ? () => this.#leaveLasso() : null;
      default:
        return null;
    }
  }

  #leaveLasso(): void {
    this.#drag = this.#drag === "lasso" ? "rest" : this.#drag;
    this.#map.dropLasso();
    this.#map.leaveLasso();
  }

  #spot(event: MouseEvent): Spot {
    const box = this.#host.getBoundingClientRect();
    return { x: event.clientX - box.left - this.#host.clientLeft, y: event.clientY - box.top - this.#host.clientTop };
  }
}

function distance(a: Spot, b: Spot): number {
  return Math.hypot(a.x - b.x, a.y - b.y);
}

function between(a: Spot, b: Spot): Spot {
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
}
