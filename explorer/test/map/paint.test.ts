import assert from "node:assert/strict";
import { test } from "node:test";
import { Emphasis } from "../../src/map/look.ts";
import { drawingOrder, paints } from "../../src/map/paint.ts";
import { seeded } from "./made_up.ts";

test("a paint is the colour of the code, the emphasis and whether the point is hollow", () => {
  const palette = Uint8Array.of(0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x80, 0x81, 0x82);
  const painted = paints(5, Uint8Array.of(0, 1, 2, 3, 0), {
    codes: Uint16Array.of(0, 1, 65535, 2),
    palette,
    emphasis: Uint8Array.of(3, 0, 1),
  });
  assert.deepEqual(
    [...painted].map((paint) => paint.toString(16).padStart(8, "0")),
    ["03332211", "08665544", "01828180", "09828180", "01828180"],
  );
});

test("points are drawn by emphasis, each once, and those without a place not at all", () => {
  const random = seeded(3);
  const size = 1000;
  const places = { size, x: new Float32Array(size), y: new Float32Array(size), alive: new Uint8Array(size).fill(1) };
  places.alive[10] = 0;
  places.x[11] = NaN;
  const emphasis = Uint8Array.from({ length: 900 }, () => Math.floor(random() * 5));
  const { slots, selected } = drawingOrder(places, emphasis);
  const rank = [Emphasis.dimmed, Emphasis.plain, Emphasis.lit, Emphasis.fresh, Emphasis.selected];
  const ranks = [...slots].map((slot) => rank.indexOf((emphasis[slot] ?? Emphasis.plain) as never));
  assert.deepEqual(ranks, [...ranks].sort());
  assert.equal(new Set(slots).size, 998);
  assert.equal(slots.length, 998);
  assert.equal(selected, ranks.filter((each) => each === 4).length);
});

test("points that came last are spread over the whole order", () => {
  const size = 6100;
  const places = { size, x: new Float32Array(size), y: new Float32Array(size), alive: new Uint8Array(size).fill(1) };
  const { slots } = drawingOrder(places, new Uint8Array());
  const early = [...slots.subarray(0, size / 2)].filter((slot) => slot >= size / 2).length;
  assert.ok(Math.abs(early - size / 4) < size / 40, `${early}`);
});
