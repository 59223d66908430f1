import assert from "node:assert/strict";
import { test } from "node:test";
import { diameter, Emphasis, looks, reach } from "../../src/map/look.ts";
import { eased, Movement } from "../../src/map/motion.ts";

test("few points are large, many are small, and all grow when looked at closely", () => {
  assert.equal(diameter(10, 1), 11);
  assert.equal(diameter(100, 1), 11);
  assert.ok(diameter(5_000, 1) > 4.5 && diameter(5_000, 1) < 5.5);
  assert.ok(diameter(200_000, 1) > 2 && diameter(200_000, 1) < 3);
  assert.ok(diameter(1_000_000, 1) >= 1.4);
  for (let zoom = 1; zoom < 4_000; zoom *= 2) {
    assert.ok(diameter(200_000, 2 * zoom) >= diameter(200_000, zoom));
    assert.ok(diameter(200_000, zoom) <= 12);
  }
});

test("every look is drawn from within outwards, and what is lit is at least as large as what is not", () => {
  for (const n of [1, 100, 5_000, 200_000, 1_000_000]) {
    const all = looks(n, 1);
    for (const { hole, disc, gap, accent, halo } of all) {
      assert.ok(hole >= 0 && hole < disc);
      assert.ok([gap, accent, halo].every((radius) => radius === 0 || radius > disc));
      assert.ok(reach(all) >= Math.max(disc, gap, accent, halo));
    }
    assert.ok(all[Emphasis.dimmed]!.disc <= all[Emphasis.plain]!.disc);
    assert.ok(all[Emphasis.plain]!.disc < all[Emphasis.lit]!.disc);
    assert.ok(all[Emphasis.selected]!.accent > 0 && all[Emphasis.fresh]!.halo > 0);
  }
});

test("a movement begins and ends slowly, and comes to its end", () => {
  assert.deepEqual([eased(0), eased(0.5), eased(1)], [0, 0.5, 1]);
  assert.ok(eased(0.1) < 0.1 && eased(0.9) > 0.9);
  const to = { x: Float32Array.of(5, 6, 7), y: Float32Array.of(8, 9, 10), size: 3 };
  const movement = new Movement({ x: Float32Array.of(1, NaN), y: Float32Array.of(2, 3) }, to, 400, () => {});
  assert.deepEqual([...movement.motion.x], [1, 6, 7]);
  assert.deepEqual([...movement.motion.y], [2, 9, 10]);
  assert.ok(movement.advance(1_000));
  assert.equal(movement.motion.come, 0);
  assert.ok(movement.advance(1_200));
  assert.equal(movement.motion.come, 0.5);
  assert.ok(!movement.advance(1_400));
  assert.equal(movement.motion.come, 1);
});
