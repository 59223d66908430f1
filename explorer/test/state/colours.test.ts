import assert from "node:assert/strict";
import { test } from "node:test";
import { colouring, KINDS, OTHER, rgb, type Rgb, UNKNOWN_CODE, UNKNOWN_COLOUR } from "../../src/state/colours";

// Machado, Oliveira and Fernandes (2009), severity 1.0, over linear RGB.
const EYES: Record<string, readonly (readonly number[])[]> = {
  "all cones": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  protanopia: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  tritanopia: [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
  deuteranopia: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
};
/** CIE 1976 difference that is seen at a glance, between points that do not touch. */
const TELLABLE = 12;

test("kinds can be told apart by eyes without one kind of cones, on either background", () => {
  for (const theme of ["light", "dark"] as const) {
    const colours = [...KINDS[theme], UNKNOWN_COLOUR[theme]].map(rgb);
    for (const [eyes, matrix] of Object.entries(EYES)) {
      for (const [i, one] of colours.entries()) {
        for (const other of colours.slice(i + 1)) {
          const far = difference(seen(one, matrix), seen(other, matrix));
          assert.ok(far > TELLABLE, `${theme}, ${eyes}: ${one} and ${other} differ by ${far.toFixed(1)}`);
        }
      }
    }
  }
});

test("the kinds with most points get colours, the rest share one, unknown has its own", () => {
  const values = Array.from({ length: 12 }, (_, i) => `kind ${String.fromCharCode(97 + i)}`);
  const codes = new Uint16Array(200);
  let at = 0;
  values.forEach((_, code) => {
    for (let i = 0; i <= code; i++) codes[at++] = code;
  });
  codes.fill(UNKNOWN_CODE, at);
  const alive = new Uint8Array(200).fill(1, 0, at + 5);
  const found = colouring("modality", codes, values, alive, 200, "light");
  assert.deepEqual(found.entries.map((each) => [each.label, each.count]), [
    ["kind l", 12], ["kind k", 11], ["kind j", 10], ["kind i", 9],
    ["kind h", 8], ["kind g", 7], ["kind f", 6], ["kind e", 5],
    ["4 others", 10], ["unknown", 5],
  ]);
  assert.deepEqual([...found.palette.subarray(0, 3)], [...rgb(OTHER.light)]);
  assert.deepEqual([...found.palette.subarray(3 * 11, 3 * 12)], [...rgb(KINDS.light[0] as string)]);
  assert.deepEqual([...found.palette.subarray(3 * 12)], [...rgb(UNKNOWN_COLOUR.light)]);
});

test("a value keeps its colour when others outnumber it, and while it is away", () => {
  const kept = new Map<string, number>();
  const coloured = (codes: number[], values: string[]): Map<string, string> => {
    const alive = new Uint8Array(codes.length).fill(1);
    const found = colouring("modality", Uint16Array.from(codes), values, alive, codes.length, "light", kept);
    return new Map(found.entries.map((each) => [each.label, each.colour]));
  };
  const before = coloured([0, 0, 0, 1, 2], ["MR", "CT", "US"]);
  const after = coloured([0, 1, 1, 1, 1, 2, 3], ["MR", "CT", "US", "DX"]);
  for (const value of ["MR", "CT", "US"]) assert.equal(after.get(value), before.get(value), value);
  assert.equal(new Set(after.values()).size, 4);
  coloured([0], ["CR"]); // takes what is free
  const back = coloured([0, 1, 2, 3, 4], ["MR", "CT", "US", "DX", "CR"]);
  assert.equal(new Set(back.values()).size, 5);
});

test("bands keep their order, whatever comes most often", () => {
  const values = ["10-19", "0-9", "<1", "20-29"];
  const codes = Uint16Array.of(0, 0, 0, 1, 2, 3);
  const found = colouring("ageYears", codes, values, new Uint8Array(6).fill(1), 6, "dark");
  assert.deepEqual(found.entries.map((each) => each.label), ["<1", "0-9", "10-19", "20-29"]);
  assert.equal(new Set(found.entries.map((each) => each.colour)).size, 4);
});

function seen(colour: Rgb, matrix: readonly (readonly number[])[]): number[] {
  const linear = colour.map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return matrix.map((row) => Math.min(1, Math.max(0, row.reduce((sum, each, i) => sum + each * (linear[i] ?? 0), 0))));
}

/** Distance in CIELAB (D65) of two linear RGB colours. */
function difference(one: readonly number[], other: readonly number[]): number {
  const [a, b] = [lab(one), lab(other)];
  return Math.hypot(...a.map((value, i) => value - (b[i] ?? 0)));
}

function lab([r = 0, g = 0, b = 0]: readonly number[]): number[] {
  const f = (t: number): number => (t > 216 / 24389 ? Math.cbrt(t) : (24389 / 27 * t + 16) / 116);
  const x = f((0.4124564 * r + 0.3575761 * g + 0.1804375 * b) / 0.95047);
  const y = f(0.2126729 * r + 0.7151522 * g + 0.072175 * b);
  const z = f((0.0193339 * r + 0.119192 * g + 0.9503041 * b) / 1.08883);
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}
