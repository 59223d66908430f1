import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeMatches, PointsFileError } from "../../src/map/file.ts";
import { PointSet } from "../../src/map/points.ts";
import { container, fileOf, keyBytes, type Row } from "./made_up.ts";

const ROWS: Row[] = [
  { key: "00000000000000ff", x: 1.5, y: -2, flags: 0, modality: "CT" },
  { key: "0123456789abcdef", x: 0, y: 3.25, flags: 1, modality: null },
  { key: "ffffffffffffffff", x: -1, y: 0.5, flags: 2, modality: "MR" },
];

test("a file is read as it was written", () => {
  const file = PointSet.decode(fileOf(ROWS, { manifest: 7, total: 9 }));
  assert.equal(file.manifest, 7);
  assert.equal(file.since, null);
  assert.equal(file.projectionVersion, "map-1");
  assert.deepEqual([file.count, file.total, file.unplaced], [3, 9, 2]);
  assert.deepEqual([...file.x], [1.5, 0, -1]);
  assert.deepEqual([...file.y], [-2, 3.25, 0.5]);
  assert.deepEqual([...file.flags], [0, 1, 2]);
  assert.deepEqual(file.columns.get("modality")?.values, ["CT", "MR"]);
  assert.deepEqual([...(file.columns.get("modality")?.codes ?? [])], [0, 65535, 1]);
  assert.equal(file.removed.length, 0);
});

test("decoding copies nothing", () => {
  const buffer = fileOf(ROWS, { manifest: 7 });
  const file = PointSet.decode(buffer);
  for (const array of [file.ids, file.x, file.y, file.flags, file.columns.get("modality")!.codes]) {
    assert.equal(array.buffer, buffer);
  }
});

test("a file of changes tells what went", () => {
  const file = PointSet.decode(fileOf(ROWS.slice(0, 1), { manifest: 8, since: 5, removed: ["0123456789abcdef"] }));
  assert.equal(file.since, 5);
  assert.deepEqual([...file.removed], [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
});

test("an empty map is a map", () => {
  assert.equal(PointSet.decode(fileOf([], { manifest: 0 })).count, 0);
});

test("matches have keys only", () => {
  const ids = keyBytes(["0123456789abcdef"]);
  const file = decodeMatches(container({ manifest: 3, count: 1 }, [{ name: "ids", data: ids }]));
  assert.deepEqual(file, { manifest: 3, count: 1, ids });
});

const refused = (buffer: ArrayBuffer, message: RegExp) => {
  assert.throws(
    () => PointSet.decode(buffer),
    (error) => error instanceof PointsFileError && message.test(error.message),
  );
};

test("what is no file of points is refused", () => {
  refused(new ArrayBuffer(0), /DXP1/);
  refused(new TextEncoder().encode("<!doctype html>").buffer, /DXP1/);
  const broken = fileOf(ROWS, { manifest: 7 });
  new DataView(broken).setUint32(4, 1 << 30, true);
  refused(broken, /header does not fit/);
  const garbled = fileOf(ROWS, { manifest: 7 });
  new Uint8Array(garbled)[8] = 0x21;
  refused(garbled, /not JSON/);
});

test("a file cut off anywhere is refused", () => {
  const whole = fileOf(ROWS, { manifest: 7 });
  for (let length = 0; length <= whole.byteLength - 8; length++) {
    assert.throws(() => PointSet.decode(whole.slice(0, length)), PointsFileError, `${length} bytes`);
  }
});

test("sections that do not agree with the header are refused", () => {
  const header = { manifest: 1, since: null, projectionVersion: null, count: 1, total: 1, unplaced: 0 };
  const sections = [
    { name: "ids", data: new Uint8Array(8) },
    { name: "x", data: new Float32Array(1) },
    { name: "y", data: new Float32Array(1) },
    { name: "flags", data: new Uint8Array(1) },
  ];
  assert.equal(PointSet.decode(container(header, sections)).count, 1);
  refused(container({ ...header, count: 2 }, sections), /section ids/);
  refused(container({ ...header, count: -1 }, sections), /count is not/);
  refused(container({ ...header, manifest: "1" }, sections), /manifest is not/);
  refused(container({ ...header, projectionVersion: 4 }, sections), /projectionVersion/);
  refused(container(header, sections.slice(0, 3)), /section flags/);
  refused(container(header, [...sections.slice(0, 3), { name: "flags", data: new Uint16Array(1) }]), /section flags/);
  refused(container(header, [...sections, { name: "removed", data: new Uint8Array(9) }]), /removed/);
  refused(container({ ...header, columns: { plane: ["axial"] } }, sections), /column:plane/);
  const plane = { name: "column:plane", data: Uint16Array.of(1) };
  refused(container({ ...header, columns: { plane: ["axial"] } }, [...sections, plane]), /without a value/);
  refused(container({ ...header, columns: { plane: [1] } }, [...sections, plane]), /not texts/);
});
