/** A page with nothing but the map on it, for tests/browser/test_map.py: `open` makes it. */

import { decodePoints } from "../../src/map/file.ts";
import { type MapOptions, MapView, PointSet } from "../../src/map/index.ts";
import { contains } from "../../src/map/polygon.ts";
import { fileOf, madeUpRow, seeded } from "./made_up.ts";

const PALETTE = Uint8Array.of(37, 99, 235, 217, 119, 6, 5, 150, 105, 219, 39, 119, 139, 149, 165);

interface Told {
  event: string;
  value: unknown;
}

/** A map of made-up points; `told` has all that it tells. */
function open(n: number, options: MapOptions) {
  const random = seeded(7);
  const rows = Array.from({ length: n }, () => madeUpRow(random));
  const points = new PointSet();
  points.replace(decodePoints(fileOf(rows, { manifest: 1 })));
  const told: Told[] = [];
  const tell = (event: string) => (value: unknown) => told.push({ event, value });
  const host = document.getElementById("map")!;
  const events = {
    onHover: tell("hover"),
    onPick: tell("pick"),
    onLasso: (slots: Int32Array, additive: boolean) => told.push({ event: "lasso", value: { slots: [...slots], additive } }),
    onView: tell("view"),
    onMode: tell("mode"),
  };
  const map = new MapView(host, events, options);
  map.setPoints(points);
  map.setColours(points.column("modality").codes, PALETTE);

  /** Where a point is drawn, in CSS pixels. */
  const spot = (slot: number): [number, number] => {
    const { x, y, scale } = map.view;
    return [
      (points.x[slot]! - x) * scale + host.clientWidth / 2,
      (y - points.y[slot]!) * scale + host.clientHeight / 2,
    ];
  };
  /** Slots within a polygon of CSS pixels, by a look at every point. */
  const inside = (polygon: number[]): number[] =>
    rows.flatMap((_, slot) => (contains(polygon, ...spot(slot)) ? [slot] : []));
  /** Waits until what was asked for is drawn and told; gives what has been told since, by event. */
  const settled = async (): Promise<Record<string, unknown>> => {
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    return Object.fromEntries(told.splice(0).map(({ event, value }) => [event, value]));
  };
  Object.assign(window, { map, points, spot, inside, settled, host });
}

Object.assign(window, { open });
