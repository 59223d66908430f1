import assert from "node:assert/strict";
import { test } from "node:test";
import { Lens } from "../../src/map/lens.ts";

const WHOLE = { left: -10, right: 10, bottom: -5, top: 5 };

function lens(): Lens {
  const made = new Lens();
  made.surround(WHOLE);
  made.resize(1000, 600);
  return made;
}

test("the whole map is shown as soon as there are points and room, in whichever order they come", () => {
  const other = new Lens();
  assert.ok(!other.resize(1000, 600));
  assert.ok(other.surround(WHOLE));
  assert.deepEqual(other.view, lens().view);
  assert.deepEqual([other.view.x, other.view.y, other.zoom], [0, 0, 1]);
});

test("a view that nobody has changed follows the map and the host", () => {
  const followed = lens();
  const { scale } = followed.view;
  assert.ok(followed.resize(500, 600));
  assert.equal(followed.view.scale, scale / 2);
  assert.ok(followed.surround({ ...WHOLE, right: 30 }));
  assert.equal(followed.view.x, 10);
});

test("a view that somebody has changed stays, until all is fitted again", () => {
  const moved = lens();
  moved.pan(50, 0);
  const { view } = moved;
  assert.ok(!moved.isFitted);
  assert.ok(!moved.resize(500, 600));
  assert.ok(!moved.surround({ ...WHOLE, right: 30 }));
  assert.deepEqual(moved.view, view);
  assert.ok(moved.fitWhole());
  assert.ok(moved.isFitted);
  assert.equal(moved.view.x, 10);
});

test("however one zooms, the limits hold", () => {
  const zoomed = lens();
  const whole = zoomed.view.scale;
  zoomed.zoomBy(1e12);
  assert.equal(zoomed.view.scale, whole * 4_000);
  zoomed.zoomBy(1e-12);
  assert.equal(zoomed.view.scale, whole / 4);
  zoomed.look({ x: 0, y: 0, scale: 1e30 });
  assert.equal(zoomed.view.scale, whole * 4_000);
  zoomed.fit({ left: 1, right: 1, bottom: 1, top: 1 });
  assert.deepEqual(zoomed.view, { x: 1, y: 1, scale: whole * 8 });
});

test("a place that is well in view is left where it is, another is brought to the middle", () => {
  const still = lens();
  assert.ok(!still.bring(1, 1));
  assert.ok(still.isFitted);
  assert.ok(still.bring(50, 1));
  assert.deepEqual([still.view.x, still.view.y], [50, 1]);
  assert.ok(still.bring(50 + 480 / still.view.scale, 1), "at the rim it is not well in view");
});
