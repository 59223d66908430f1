import assert from "node:assert/strict";
import { test } from "node:test";
import { Grid } from "../../src/map/grid.ts";
import { contains } from "../../src/map/polygon.ts";
import { seeded } from "./made_up.ts";

interface Scattered {
  size: number;
  x: Float32Array;
  y: Float32Array;
  alive: Uint8Array;
}

/** Clusters of very different size, with points that have gone or have no place among them. */
function scattered(n: number, random: () => number): Scattered {
  const places = { size: n, x: new Float32Array(n + 5), y: new Float32Array(n + 5), alive: new Uint8Array(n + 5) };
  const wide = random() * 8;
  for (let slot = 0; slot < n; slot++) {
    const spread = random() < 0.5 ? 0.01 : wide;
    places.x[slot] = 3 + spread * (random() - 0.5);
    places.y[slot] = -7 + spread * (random() - 0.5);
    places.alive[slot] = random() < 0.9 ? 1 : 0;
  }
  places.x[0] = NaN;
  places.y[1] = Infinity;
  return places;
}

const isThere = ({ x, y, alive }: Scattered, slot: number) =>
  alive[slot] === 1 && Number.isFinite(x[slot]) && Number.isFinite(y[slot]);

test("the nearest point is the one that a look at all points finds", () => {
  for (let seed = 0; seed < 30; seed++) {
    const random = seeded(seed);
    const places = scattered(2 + Math.floor(random() * 800), random);
    const grid = new Grid(places);
    for (let ask = 0; ask < 60; ask++) {
      const x = 3 + 9 * (random() - 0.5);
      const y = -7 + 9 * (random() - 0.5);
      const radius = random() < 0.5 ? random() * 0.1 : random() * 5;
      let least = Infinity;
      for (let slot = 0; slot < places.size; slot++) {
        const distance = (places.x[slot]! - x) ** 2 + (places.y[slot]! - y) ** 2;
        least = isThere(places, slot) && distance <= radius * radius ? Math.min(least, distance) : least;
      }
      const found = grid.nearest(x, y, radius);
      const distance = found < 0 ? Infinity : (places.x[found]! - x) ** 2 + (places.y[found]! - y) ** 2;
      assert.equal(distance, least);
    }
  }
});

test("a favoured point wins over a nearer one, but not over none within the radius", () => {
  const grid = new Grid({
    size: 3,
    x: Float32Array.of(0, 1, 5),
    y: new Float32Array(3),
    alive: new Uint8Array(3).fill(1),
  });
  assert.equal(grid.nearest(0.1, 0, 2), 0);
  assert.equal(grid.nearest(0.1, 0, 2, (slot) => slot === 1), 1);
  assert.equal(grid.nearest(0.1, 0, 2, (slot) => slot === 2), 0);
  assert.equal(grid.nearest(3, 0, 1), -1);
});

test("a lasso takes the points that lie in its polygon, however it crosses itself", () => {
  for (let seed = 0; seed < 60; seed++) {
    const random = seeded(100 + seed);
    const places = scattered(2 + Math.floor(random() * 1500), random);
    const grid = new Grid(places);
    const size = random() < 0.5 ? 0.02 : 12 * random();
    const polygon: number[] = [];
    for (let corner = 0; corner < 3 + Math.floor(random() * 40); corner++) {
      // Some corners lie exactly on points, some sides are level or upright.
      const on = Math.floor(random() * places.size);
      if (random() < 0.2 && isThere(places, on)) {
        polygon.push(places.x[on]!, places.y[on]!);
      } else if (random() < 0.2 && polygon.length > 0) {
        polygon.push(3 + size * (random() - 0.5), polygon.at(-1)!);
      } else {
        polygon.push(3 + size * (random() - 0.5), -7 + size * (random() - 0.5));
      }
    }
    const expected: number[] = [];
    for (let slot = 0; slot < places.size; slot++) {
      if (isThere(places, slot) && contains(polygon, places.x[slot]!, places.y[slot]!)) {
        expected.push(slot);
      }
    }
    assert.deepEqual([...grid.within(polygon)], expected);
  }
});

test("a polygon holds what lies inside, also where its line overlaps its own beginning", () => {
  const square = [0, 0, 4, 0, 4, 4, 0, 4];
  assert.ok(contains(square, 1, 3));
  assert.ok(!contains(square, 5, 3));
  assert.ok(!contains(square, -1, 0));
  const twice = [...square, ...square];
  assert.ok(contains(twice, 1, 3));
  const backwards = [0, 4, 4, 4, 4, 0, 0, 0];
  assert.ok(contains(backwards, 1, 3));
});

test("no points, one point and points in one place or line are found as well", () => {
  const empty = new Grid({ size: 0, x: new Float32Array(), y: new Float32Array(), alive: new Uint8Array() });
  assert.equal(empty.nearest(0, 0, 9), -1);
  assert.equal(empty.within([-1, -1, 1, -1, 0, 1]).length, 0);
  const n = 1000;
  const ones = new Uint8Array(n).fill(1);
  const level = new Float32Array(n).fill(2);
  const same = new Grid({ size: n, x: level, y: level, alive: ones });
  assert.equal(same.within([0, 0, 5, 0, 5, 5, 0, 5]).length, n);
  assert.ok(same.nearest(2, 2.5, 1) >= 0);
  const line = new Grid({ size: n, x: Float32Array.from(ones, (_, i) => i), y: level, alive: ones });
  assert.equal(line.nearest(500.2, 2, 1), 500);
  assert.equal(line.within([99.5, 0, 199.5, 0, 199.5, 3, 99.5, 3]).length, 100);
  assert.equal(line.within([0, 0, 1, 1]).length, 0);
});
