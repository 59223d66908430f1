import assert from "node:assert/strict";
import { test } from "node:test";
import { PointsFileError } from "../../src/map/file.ts";
import { PointSet } from "../../src/map/points.ts";
import { container, fileOf, keyBytes, madeUpRow, type Row, rowsBy, seeded } from "./made_up.ts";

function setOf(rows: Row[], manifest = 1): PointSet {
  const points = new PointSet();
  points.replace(PointSet.decode(fileOf(rows, { manifest })));
  return points;
}

const someRows = (n: number, random: () => number) => Array.from({ length: n }, () => madeUpRow(random));

test("every key is found in its slot, and no other", () => {
  const rows = someRows(5_000, seeded(1));
  const points = setOf(rows.slice(0, 4_000));
  rows.forEach(({ key }, row) => assert.equal(points.find(key), row < 4_000 ? row : -1));
  assert.equal(points.shortKey(17), rows[17]!.key);
  for (const text of ["", "0123", "x".repeat(16), rows[0]!.key.toUpperCase() + "0"]) {
    assert.equal(points.find(text), -1);
  }
});

test("keys are located in their order, and told for slots", () => {
  const rows = someRows(50, seeded(2));
  const points = setOf(rows);
  const asked = [rows[40]!.key, "0000000000000000", rows[3]!.key];
  assert.deepEqual([...points.locate(keyBytes(asked))], [40, -1, 3]);
  assert.deepEqual([...points.locate(points.keysOf([3, 40, 7]))], [3, 40, 7]);
});

test("keys that differ in one word only are told apart", () => {
  const keys = ["0000000100000000", "0000000000000001", "0000000100000001", "0000000000000000"];
  const points = setOf(keys.map((key) => ({ key, x: 0, y: 0, flags: 0, modality: null })));
  assert.deepEqual(keys.map((key) => points.find(key)), [0, 1, 2, 3]);
});

/** One step of a map's life: rows that go, differ and come. */
function stepped(before: Row[], random: () => number): { rows: Row[]; listed: Row[]; removed: string[] } {
  const removed: string[] = [];
  const listed: Row[] = [];
  const rows = before.flatMap((row) => {
    const chance = random();
    if (chance < 0.15) {
      removed.push(row.key);
      return [];
    }
    if (chance < 0.35) {
      const other = { ...madeUpRow(random), key: row.key };
      listed.push(other);
      return [other];
    }
    return [row];
  });
  const come = someRows(Math.floor(random() * 40), random);
  return { rows: [...rows, ...come], listed: [...listed, ...come], removed };
}

test("changes one after the other give the same map as the whole at once", () => {
  for (let seed = 0; seed < 40; seed++) {
    const random = seeded(seed);
    let rows = someRows(Math.floor(random() * 60), random);
    const points = setOf(rows);
    for (let manifest = 2; manifest < 12; manifest++) {
      const step = stepped(rows, random);
      const known = new Set(rows.map(({ key }) => key));
      const about = { manifest, since: manifest - 1, removed: step.removed, total: step.rows.length };
      const gone = step.removed.map((key) => points.find(key));
      const delta = points.apply(PointSet.decode(fileOf(step.listed, about)));
      rows = step.rows;
      assert.deepEqual(rowsBy(points), rowsBy(setOf(rows)));
      assert.deepEqual([points.count, points.total, points.manifest], [rows.length, rows.length, manifest]);
      const named = (slots: number[]) => slots.map((slot) => points.shortKey(slot)).sort();
      const isKnown = ({ key }: Row) => known.has(key);
      const keys = (of: Row[]) => of.map(({ key }) => key).sort();
      assert.deepEqual(named(delta.added), keys(step.listed.filter((row) => !isKnown(row))));
      assert.deepEqual(named(delta.changed), keys(step.listed.filter(isKnown)));
      assert.deepEqual(delta.removed, gone);
      assert.ok(delta.added.every((slot) => !gone.includes(slot)), "a slot is not given away at once");
      assert.deepEqual(rows.map(({ key }) => points.shortKey(points.find(key))), rows.map(({ key }) => key));
    }
  }
});

test("a whole map in place of another changes what differs, and keeps slots", () => {
  const rows = someRows(30, seeded(5));
  const points = setOf(rows);
  const moved = { ...rows[4]!, x: rows[4]!.x + 1 };
  const come = madeUpRow(seeded(6));
  const now = [...rows.slice(10), moved, come];
  const delta = points.apply(PointSet.decode(fileOf(now, { manifest: 2 })));
  assert.deepEqual(delta.changed, [4]);
  assert.deepEqual(delta.removed, [0, 1, 2, 3, 5, 6, 7, 8, 9]);
  assert.deepEqual(delta.added, [30]);
  assert.deepEqual(rowsBy(points), rowsBy(setOf(now)));
});

test("slots that points have left are given to later ones", () => {
  const rows = someRows(20, seeded(7));
  const points = setOf(rows);
  const random = seeded(8);
  for (let manifest = 2; manifest < 200; manifest++) {
    const come = madeUpRow(random);
    const gone = rows.shift()!;
    rows.push(come);
    const about = { manifest, since: manifest - 1, removed: [gone.key] };
    points.apply(PointSet.decode(fileOf([come], about)));
  }
  assert.equal(points.count, 20);
  assert.ok(points.size <= 21, `${points.size} slots`);
  assert.deepEqual(rowsBy(points), rowsBy(setOf(rows)));
});

test("another column comes in beside the others", () => {
  const points = setOf([
    { key: "00000000000000aa", x: 1, y: 2, flags: 0, modality: "CT" },
    { key: "00000000000000bb", x: 3, y: 4, flags: 0, modality: "MR" },
  ]);
  const header = { manifest: 1, since: null, projectionVersion: "map-1", count: 2, total: 2, unplaced: 0 };
  const file = container({ ...header, columns: { plane: ["axial"] } }, [
    { name: "ids", data: keyBytes(["00000000000000bb", "00000000000000aa"]) },
    { name: "x", data: Float32Array.of(3, 1) },
    { name: "y", data: Float32Array.of(4, 2) },
    { name: "flags", data: new Uint8Array(2) },
    { name: "column:plane", data: Uint16Array.of(0, 65535) },
  ]);
  assert.deepEqual(points.apply(PointSet.decode(file)).removed, []);
  assert.deepEqual(points.columns, ["modality", "plane"]);
  assert.deepEqual([...points.column("plane").codes], [65535, 0]);
  assert.deepEqual([...points.column("modality").codes], [0, 1]);
  assert.throws(() => points.column("sex"), RangeError);
});

test("changes are refused where some in between are missing, and as a whole map", () => {
  const rows = someRows(3, seeded(9));
  const points = setOf(rows, 4);
  const changes = PointSet.decode(fileOf([], { manifest: 9, since: 5 }));
  assert.throws(() => points.apply(changes), PointsFileError);
  assert.throws(() => points.replace(changes), PointsFileError);
  assert.deepEqual(rowsBy(points), rowsBy(setOf(rows)));
});

test("a million points take less than 40 MB, the file among it", () => {
  const n = 1_000_000;
  const words = new Uint32Array(2 * n);
  const random = seeded(10);
  words.forEach((_, at) => {
    words[at] = random() * 2 ** 32;
  });
  const header = { manifest: 1, since: null, projectionVersion: null, count: n, total: n, unplaced: 0 };
  const file = container({ ...header, columns: {} }, [
    { name: "ids", data: new Uint8Array(words.buffer) },
    { name: "x", data: new Float32Array(n) },
    { name: "y", data: new Float32Array(n) },
    { name: "flags", data: new Uint8Array(n) },
  ]);
  const before = process.memoryUsage().arrayBuffers;
  const points = new PointSet();
  points.replace(PointSet.decode(file));
  const taken = process.memoryUsage().arrayBuffers - before + file.byteLength;
  assert.ok(taken < 40e6, `${taken} bytes`);
  assert.equal(points.find(points.shortKey(999_999)), 999_999);
});
