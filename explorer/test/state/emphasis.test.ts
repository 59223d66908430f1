import assert from "node:assert/strict";
import { test } from "node:test";
import { DIMMED, emphasis, LIT, NEW, PLAIN, SELECTED } from "../../src/state/emphasis";

const NOTHING = { lit: null, circled: null, fresh: null, chosen: -1 };

test("without a question all points are equal", () => {
  assert.deepEqual([...emphasis(3, NOTHING)], [PLAIN, PLAIN, PLAIN]);
  assert.deepEqual([...emphasis(2, { ...NOTHING, lit: new Int32Array(0) })], [DIMMED, DIMMED]);
});

test("the chosen one stands before new ones, those before what was found, that before the rest", () => {
  const found = emphasis(6, {
    lit: Int32Array.of(1, 2, 3, -1, 99),
    circled: null,
    fresh: Int32Array.of(2, 3, -1),
    chosen: 3,
  });
  assert.deepEqual([...found], [DIMMED, LIT, NEW, SELECTED, DIMMED, DIMMED]);
});

test("what was circled is lit until it is known what of it was found", () => {
  assert.deepEqual([...emphasis(3, { ...NOTHING, circled: Int32Array.of(0, 2) })], [LIT, DIMMED, LIT]);
  const both = emphasis(3, { ...NOTHING, circled: Int32Array.of(0, 2), lit: Int32Array.of(2) });
  assert.deepEqual([...both], [DIMMED, DIMMED, LIT]);
});
