import assert from "node:assert/strict";
import { test } from "node:test";
import {
  bandToggled,
  canBeAsked,
  type Filter,
  formatFilter,
  hasBand,
  hasValue,
  parseFilter,
  toggled,
} from "../../src/state/filters";

test("filters are read as the API writes them", () => {
  for (const text of ["modality=MR", "plane=axial,coronal", "ageYears>=60", "model!~syn", "contrast!=unknown"]) {
    assert.equal(formatFilter(parseFilter(text) as Filter), text);
  }
  assert.deepEqual(parseFilter(" plane = axial , coronal "), {
    field: "plane",
    operator: "=",
    values: ["axial", "coronal"],
  });
  for (const text of ["", "modality", "modality=", "modality= , ", "=MR", "a b=c"]) {
    assert.equal(parseFilter(text), null, text);
  }
});

test("a value is asked for, then not, and other conditions stay", () => {
  const start = [parseFilter("plane=axial") as Filter, parseFilter("plane!=oblique") as Filter];
  const both = toggled(start, "plane", "coronal");
  assert.deepEqual(both.map(formatFilter), ["plane=axial,coronal", "plane!=oblique"]);
  assert.ok(hasValue(both, "plane", "Coronal"));
  assert.deepEqual(toggled(both, "plane", "CORONAL").map(formatFilter), start.map(formatFilter));
  assert.deepEqual(toggled([start[0] as Filter], "plane", "axial"), []);
  assert.deepEqual(toggled([], "sex", "F").map(formatFilter), ["sex=F"]);
});

test("one band of a field at a time, open ones too", () => {
  const old = bandToggled([parseFilter("modality=CT") as Filter], "ageYears", { from: 70, below: null });
  assert.deepEqual(old.map(formatFilter), ["modality=CT", "ageYears>=70"]);
  assert.ok(hasBand(old, "ageYears", { from: 70, below: null }));
  const young = bandToggled(old, "ageYears", { from: null, below: 10 });
  assert.deepEqual(young.map(formatFilter), ["modality=CT", "ageYears<10"]);
  assert.deepEqual(bandToggled(young, "ageYears", { from: null, below: 10 }).map(formatFilter), ["modality=CT"]);
  assert.ok(!hasBand(young, "ageYears", { from: null, below: null }));
});

test("values with separators of filters cannot be asked for", () => {
  assert.ok(canBeAsked("GE Medical Systems"));
  assert.ok(!canBeAsked("QIICR, compressed"));
  assert.ok(!canBeAsked("a;b"));
});
