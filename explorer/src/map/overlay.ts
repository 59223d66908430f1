/** What lies above the points and moves more often than they: the lasso, and rings around single points. */

import type { Spot } from "./camera.ts";
import type { Theme } from "./theme.ts";

const SVG = "http://www.w3.org/2000/svg";
const APART = 2; // CSS pixels between two corners of a lasso

/** A ring around one point: of the pointer, or of the keyboard and the page. */
export interface Ring {
  at: Spot;
  radius: number;
}

/** Attributes only, no style: the page's content security policy allows no style in markup. */
export class Overlay {
  readonly element = document.createElementNS(SVG, "svg");
  readonly #lasso = part("path", { "fill-opacity": "0.12", "stroke-width": "1.5", "stroke-linejoin": "round" });
  readonly #rings = [new RingMark(), new RingMark()] as const;
  #corners: number[] = [];

  constructor() {
    this.element.setAttribute("aria-hidden", "true");
    this.element.setAttribute("width", "100%");
    this.element.setAttribute("height", "100%");
    const { style } = this.element;
    style.position = "absolute";
    style.inset = "0";
    style.zIndex = "-1";
    style.pointerEvents = "none";
    this.element.append(this.#lasso, ...this.#rings.flatMap((ring) => ring.parts));
  }

  theme({ background, ring, lasso }: Theme): void {
    this.#lasso.setAttribute("fill", lasso);
    this.#lasso.setAttribute("stroke", lasso);
    for (const each of this.#rings) {
      each.colour(ring, background);
    }
  }

  /** Goes on with the lasso, or begins it. */
  draw(spot: Spot): void {
    const corners = this.#corners;
    const n = corners.length;
    if (n > 0 && Math.hypot(spot.x - corners[n - 2]!, spot.y - corners[n - 1]!) < APART) {
      return;
    }
    corners.push(spot.x, spot.y);
    this.#lasso.setAttribute("d", `M${corners.join(" ")}Z`);
  }

  /** Takes the lasso away; gives its corners as x, y, x, y, ... in CSS pixels. */
  take(): number[] {
    const corners = this.#corners;
    this.#corners = [];
    this.#lasso.removeAttribute("d");
    return corners;
  }

  /** Rings around the point under the pointer and the point of the focus; null for none. */
  mark(hovered: Ring | null, focused: Ring | null): void {
    this.#rings[0].show(focused);
    this.#rings[1].show(hovered);
  }
}

/** A ring in the accent colour between two thin ones of the background, to be seen on any colour. */
class RingMark {
  readonly #outer = part("circle", { fill: "none", "stroke-width": "5", "stroke-opacity": "0.9" });
  readonly #inner = part("circle", { fill: "none", "stroke-width": "2" });
  readonly parts = [this.#outer, this.#inner];

  colour(ring: string, background: string): void {
    this.#outer.setAttribute("stroke", background);
    this.#inner.setAttribute("stroke", ring);
  }

  show(ring: Ring | null): void {
    for (const circle of this.parts) {
      circle.setAttribute("visibility", ring === null ? "hidden" : "visible");
      if (ring !== null) {
        circle.setAttribute("cx", String(ring.at.x));
        circle.setAttribute("cy", String(ring.at.y));
        circle.setAttribute("r", String(ring.radius));
      }
    }
  }
}

function part(name: "path" | "circle", attributes: Readonly<Record<string, string>>): SVGElement {
  const element = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) {
    element.setAttribute(attribute, value);
  }
  return element;
}
