// regl-scatterplot with the same points: `measure` is called by benchmarks/explorer_map.py.

import createScatterplot from "regl-scatterplot";
import { decodePoints } from "../src/map/file.ts";
import { fetched, finish, PALETTE, panned } from "./measuring.js";

/** Into -1 to 1, as the peer wants its places. */
function scaled(values) {
  const least = values.reduce((a, b) => Math.min(a, b));
  const most = values.reduce((a, b) => Math.max(a, b));
  return values.map((value) => ((value - least) / (most - least)) * 2 - 1);
}

window.measure = async ({ file, pans, size }) => {
  const { began, buffer } = await fetched(file);
  const points = decodePoints(buffer);
  const { codes } = points.columns.get("modality");
  const unknown = PALETTE.length - 1;
  const data = {
    x: scaled(points.x),
    y: scaled(points.y),
    valueA: Float32Array.from(codes, (code) => Math.min(code, unknown)),
  };
  const decoded = performance.now();
  const scatterplot = createScatterplot({
    canvas: document.getElementById("map"),
    width: 1000,
    height: 700,
    pointSize: size,
    opacity: 0.6,
    colorBy: "valueA",
    pointColor: PALETTE,
    backgroundColor: "#ffffff",
  });
  const gl = scatterplot.get("renderer").canvas.getContext("webgl");
  await scatterplot.draw(data);
  finish(gl);
  const first_ms = performance.now() - began;
  const pans_ms = await panned(pans, async (dx, dy) => {
    const view = Float32Array.from(scatterplot.get("cameraView"));
    view[12] -= dx;
    view[13] -= dy;
    const drawn = new Promise((resolve) => scatterplot.subscribe("draw", resolve, 1));
    scatterplot.view(view);
    await drawn;
    finish(gl);
  });
  window.kept = { scatterplot, points };
  return { renderer: "peer", decode_ms: decoded - began, first_ms, pans_ms };
};
