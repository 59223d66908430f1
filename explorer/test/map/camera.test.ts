import assert from "node:assert/strict";
import { test } from "node:test";
import { boundsOf, boundsOfAll, Camera, fitted, limited } from "../../src/map/camera.ts";
import { seeded } from "./made_up.ts";

const near = (a: number, b: number) => assert.ok(Math.abs(a - b) <= 1e-9 * Math.max(1, Math.abs(a), Math.abs(b)), `${a} ${b}`);

test("places go to the screen and back", () => {
  const random = seeded(1);
  for (let i = 0; i < 500; i++) {
    const view = { x: random() * 20 - 10, y: random() * 20 - 10, scale: 10 ** (random() * 6 - 1) };
    const camera = new Camera(view, 1 + random() * 2000, 1 + random() * 2000);
    const [x, y] = [random() * 20 - 10, random() * 20 - 10];
    const spot = camera.toScreen(x, y);
    const back = camera.toMap(spot);
    near(back.x, x);
    near(back.y, y);
  }
});

test("y of the map grows upwards", () => {
  const camera = new Camera({ x: 0, y: 0, scale: 10 }, 100, 80);
  assert.deepEqual(camera.toScreen(1, 2), { x: 60, y: 20 });
});

test("a drag takes the place under the pointer along", () => {
  const camera = new Camera({ x: 3, y: -1, scale: 25 }, 640, 480);
  const held = camera.toMap({ x: 100, y: 200 });
  const after = new Camera(camera.panned(35, -60), 640, 480).toScreen(held.x, held.y);
  near(after.x, 135);
  near(after.y, 140);
});

test("zooming keeps the place under the pointer, and zooming back the view", () => {
  const random = seeded(2);
  for (let i = 0; i < 200; i++) {
    const camera = new Camera({ x: 3, y: -1, scale: 25 }, 640, 480);
    const spot = { x: random() * 640, y: random() * 480 };
    const held = camera.toMap(spot);
    const closer = new Camera(camera.zoomed(25 * 4 ** (random() * 2 - 1), spot), 640, 480);
    near(closer.toMap(spot).x, held.x);
    near(closer.toMap(spot).y, held.y);
    const back = closer.zoomed(25, spot);
    near(back.x, 3);
    near(back.y, -1);
  }
});

test("what is fitted lies within the host, with a margin, and fills one side of it", () => {
  const bounds = { left: -2, right: 6, bottom: 1, top: 3 };
  const camera = new Camera(fitted(bounds, 800, 400), 800, 400);
  const low = camera.toScreen(bounds.left, bounds.bottom);
  const high = camera.toScreen(bounds.right, bounds.top);
  near(low.x, 48);
  near(high.x, 752);
  near((low.y + high.y) / 2, 200);
  assert.ok(high.y > 24 && low.y < 376);
});

test("a single place is shown in the middle at the scale that was asked for", () => {
  const place = { left: 5, right: 5, bottom: -3, top: -3 };
  assert.deepEqual(fitted(place, 800, 400, 40), { x: 5, y: -3, scale: 40 });
  assert.equal(fitted({ left: 0, right: 0, bottom: 0, top: 0 }, 800, 400).scale, 1);
});

test("scales have limits around that of the whole map", () => {
  assert.equal(limited(50, 40), 50);
  assert.equal(limited(1, 40), 10);
  assert.equal(limited(1e9, 40), 160_000);
});

test("a box leaves out points that have gone or have no place", () => {
  const places = {
    size: 5,
    x: Float32Array.of(1, 2, NaN, 99, 4, 1000),
    y: Float32Array.of(1, 5, 3, 3, 2, 1000),
    alive: Uint8Array.of(1, 1, 1, 0, 1, 1),
  };
  assert.deepEqual(boundsOfAll(places), { left: 1, right: 4, bottom: 1, top: 5 });
  assert.deepEqual(boundsOf(places, [0, 2, 4]), { left: 1, right: 4, bottom: 1, top: 2 });
  assert.equal(boundsOf(places, [2, 3]), null);
});
