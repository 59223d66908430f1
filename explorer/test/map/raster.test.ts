import assert from "node:assert/strict";
import { test } from "node:test";
import { Emphasis, type Looks, looks } from "../../src/map/look.ts";
import { HOLLOW } from "../../src/map/paint.ts";
import { Raster, Stamps } from "../../src/map/raster.ts";
import type { Motion } from "../../src/map/renderer.ts";

const WHITE = 0xffffff;
const BLACK = 0x000000;
const BLUE = 0xeb6325; // 0xBBGGRR
const MARGIN = 64;

interface Point {
  x: number;
  y: number;
  colour?: number;
  style?: number;
}

/** Pixels of a small image, in which a map unit is a pixel and y grows upwards from the lower left corner. */
function drawn(
  points: Point[],
  { look = looks(10, 1), ratio = 1, background = WHITE, selected = 0, motion = null as Motion | null } = {},
) {
  const [width, height] = [60, 40];
  const raster = new Raster(width, height, MARGIN);
  raster.clear(background);
  const stamps = new Stamps(look, ratio, raster.stride, background, BLACK);
  const arrays = {
    x: Float32Array.from(points, ({ x }) => x),
    y: Float32Array.from(points, ({ y }) => y),
    paints: Uint32Array.from(points, ({ colour = BLUE, style = Emphasis.plain }) => colour | (style << 24)),
    order: { slots: Uint32Array.from(points, (_, slot) => slot), selected },
  };
  raster.draw(arrays, { scale: 1, originX: 0, originY: height }, stamps, motion);
  return (x: number, y: number) => {
    const pixel = raster.pixels[(y + MARGIN) * raster.stride + x + MARGIN]!;
    assert.equal(pixel >>> 24, 0xff, "the image is opaque");
    return pixel & 0xffffff;
  };
}

// Centres lie where a stamp has its own, so that pixels are known to the last bit.
test("a point is a disc of its colour where the map says, and nothing else changes", () => {
  const at = drawn([{ x: 30.625, y: 29.625 }]);
  assert.equal(at(30, 10), BLUE);
  assert.equal(at(33, 10), BLUE);
  let coloured = 0;
  for (let y = 0; y < 40; y++) {
    for (let x = 0; x < 60; x++) {
      const away = Math.hypot(x + 0.5 - 30.625, y + 0.5 - 10.375);
      const isWhite = at(x, y) === WHITE;
      assert.ok(away < 5 ? at(x, y) === BLUE : away < 6.2 || isWhite, `${x} ${y}`);
      coloured += isWhite ? 0 : 1;
    }
  }
  assert.ok(Math.abs(coloured - Math.PI * 5.9 ** 2) < 20, `${coloured}`);
});

test("the edge is soft: its pixels sum up to the disc's area", () => {
  for (const [x, y] of [[30.1, 20.3], [30.5, 20.5], [30.99, 20.01]] as const) {
    const at = drawn([{ x, y, colour: BLACK }]);
    let area = 0;
    for (let row = 0; row < 40; row++) {
      for (let column = 0; column < 60; column++) {
        area += 1 - (at(column, row) & 0xff) / 255;
      }
    }
    assert.ok(Math.abs(area - Math.PI * 5.5 ** 2) < 2, `${area}`);
  }
});

test("a later point lies above an earlier one, with a ring of the background between them", () => {
  const at = drawn([{ x: 30.625, y: 20.625, colour: 0x0000ff }, { x: 36.625, y: 20.625 }]);
  assert.equal(at(36, 19), BLUE);
  assert.equal(at(27, 19), 0x0000ff);
  assert.equal(at(30, 19), WHITE);
});

test("dimmed points are pale, hollow ones have a hole, selected ones a ring, new ones a halo", () => {
  const dimmed = drawn([{ x: 30.625, y: 20.625, style: Emphasis.dimmed }])(30, 19);
  assert.ok((dimmed & 0xff) > 0xc0 && dimmed !== WHITE, dimmed.toString(16));
  const hollow = drawn([{ x: 30.625, y: 20.625, style: Emphasis.plain | HOLLOW }]);
  assert.equal(hollow(30, 19), WHITE);
  assert.equal(hollow(35, 19), BLUE);
  const selected = drawn([{ x: 30.625, y: 20.625, style: Emphasis.selected }], { selected: 1 });
  assert.equal(selected(30, 19), BLUE);
  assert.equal(selected(38, 19), BLACK);
  const fresh = drawn([{ x: 30.625, y: 20.625, style: Emphasis.fresh }]);
  assert.equal(fresh(30, 19), BLUE);
  const halo = fresh(40, 19);
  assert.ok(halo !== WHITE && (halo & 0xff) > 0x80, halo.toString(16));
});

test("rings of selected points that lie close hide none of their colours", () => {
  const row = [24.625, 30.625, 36.625].map((x) => ({ x, y: 20.625, style: Emphasis.selected }));
  const at = drawn(row, { selected: 3 });
  for (const x of [25, 31, 36]) {
    assert.equal(at(x, 19), BLUE);
  }
});

test("points at the edge are cut off, not left out, and those outside change nothing", () => {
  const at = drawn([{ x: -2, y: 20.5 }, { x: 30.5, y: -3 }, { x: -500, y: 9e9 }, { x: NaN, y: 3 }]);
  assert.equal(at(0, 19), BLUE);
  assert.equal(at(30, 39), BLUE);
  assert.equal(at(59, 0), WHITE);
});

test("points on their way are drawn in between", () => {
  const from = { x: Float32Array.of(10.5), y: Float32Array.of(20.5) };
  const places = (come: number) => drawn([{ x: 50.5, y: 20.5 }], { motion: { ...from, come } });
  assert.equal(places(0)(10, 19), BLUE);
  assert.equal(places(0.5)(30, 19), BLUE);
  assert.equal(places(1)(50, 19), BLUE);
  assert.equal(places(1)(10, 19), WHITE);
});

test("no channel overflows into another, whatever lies above what", () => {
  const primary = [0x000000, 0xffffff, 0xff0000, 0x00ff00, 0x0000ff];
  for (const background of primary) {
    for (const colour of primary) {
      const allowed = (shift: number) => {
        const channels = [background, colour, BLACK].map((each) => (each >>> shift) & 0xff);
        return [Math.min(...channels), Math.max(...channels)] as const;
      };
      for (const style of [0, 1, 2, 3, 4, 1 | HOLLOW, 3 | HOLLOW]) {
        const stack = Array.from({ length: 9 }, (_, i) => ({ x: 30 + i / 3, y: 20 + i / 7, colour, style }));
        const at = drawn(stack, { background, look: looks(200_000, 1), ratio: 2, selected: 9 });
        for (let x = 28; x < 36; x++) {
          for (const shift of [0, 8, 16]) {
            const [least, most] = allowed(shift);
            const channel = (at(x, 19) >>> shift) & 0xff;
            assert.ok(channel >= least && channel <= most, `${channel} of ${shift}`);
          }
        }
      }
    }
  }
});

test("a look is drawn at twice its size on a sharp screen", () => {
  const width = (ratio: number, look: Looks) => {
    const at = drawn([{ x: 30.625, y: 20.625 }], { ratio, look });
    return Array.from({ length: 60 }, (_, x) => at(x, 19)).filter((pixel) => pixel === BLUE).length;
  };
  const look = looks(100, 1);
  assert.deepEqual([width(1, look), width(2, look)], [10, 21]);
});
