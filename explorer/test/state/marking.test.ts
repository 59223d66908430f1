import assert from "node:assert/strict";
import { test } from "node:test";
import { bytesOf, keysOf } from "../../src/state/marking";

test("short keys and their bytes are the same in both directions", () => {
  const keys = ["00ff10a0b1c2d3e4", "ffffffffffffffff", "0000000000000000"];
  assert.deepEqual(keysOf(bytesOf(keys)), keys);
  assert.deepEqual(keysOf(bytesOf([`${keys[0]}${"7".repeat(48)}`])), [keys[0]]);
  assert.deepEqual(keysOf(new Uint8Array()), []);
});
