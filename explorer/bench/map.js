// Our map: `measure` is called by benchmarks/explorer_map.py.

import { Grid } from "../src/map/grid.ts";
import { MapView, PointSet } from "../src/map/index.ts";
import { fetched, finish, frame, PALETTE, panned } from "./measuring.js";

const rgb = Uint8Array.from(
  PALETTE.flatMap((colour) => [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16))),
);
const ignore = () => {};

window.measure = async ({ file, renderer, pans }) => {
  const host = document.getElementById("map");
  const events = { onHover: ignore, onPick: ignore, onLasso: ignore, onView: ignore };
  const { began, buffer } = await fetched(file);
  const points = new PointSet();
  points.replace(PointSet.decode(buffer));
  const decoded = performance.now();
  const map = new MapView(host, events, renderer === null ? {} : { renderer });
  map.setPoints(points);
  map.setColours(points.column("modality").codes, rgb);
  const gl = map.renderer === "webgl" ? host.querySelector("canvas").getContext("webgl2") : null;
  const drawn = async () => {
    await frame(); // the map has asked for this frame before, and so has drawn when it comes here
    if (gl !== null) {
      finish(gl);
    }
  };
  await drawn();
  const first_ms = performance.now() - began;
  const pans_ms = await panned(pans, (dx, dy) => {
    const { x, y, scale } = map.view;
    map.view = { x: x + (dx * 500) / scale, y: y + (dy * 350) / scale, scale };
    return drawn();
  });
  const index = performance.now();
  const grid = new Grid(points);
  const indexed = performance.now();
  const { x, y, scale } = map.view;
  const circle = Array.from({ length: 400 }, (_, at) => {
    const angle = ((at >> 1) * Math.PI) / 100;
    return at % 2 === 0 ? x + (200 / scale) * Math.cos(angle) : y + (200 / scale) * Math.sin(angle);
  });
  const found = grid.within(circle).length;
  const lassoed = performance.now();
  window.kept = { map, points }; // the heap is measured with all that a page keeps
  return {
    renderer: map.renderer,
    decode_ms: decoded - began,
    first_ms,
    pans_ms,
    index_ms: indexed - index,
    lasso_ms: lassoed - indexed,
    found,
  };
};
