import assert from "node:assert/strict";
import { test } from "node:test";
import { hashOf, type Place, placeOf, sameQuestion, START } from "../../src/state/place";

const FULL: Place = {
  text: "axial T2 & <b>brain</b> #1 100%",
  read: false,
  filters: [
    { field: "plane", operator: "=", values: ["axial", "coronal"] },
    { field: "ageYears", operator: ">=", values: ["60"] },
  ],
  withUnknown: ["contrast"],
  sort: "-studyDate",
  colour: "plane",
  at: 12,
  since: 9,
  series: "00ff00ff00ff00ff",
  like: null,
  cohort: { name: "trial-7", version: 3 },
  view: { x: -1.25, y: 3, scale: 40 },
  tab: "cohorts",
};

test("a link leads back to the place that it was made of", () => {
  assert.deepEqual(placeOf(hashOf(FULL)), FULL);
  assert.deepEqual(placeOf(hashOf(START)), START);
  assert.equal(hashOf(START), "");
});

test("likeness is asked of the newest state, without words", () => {
  const place = placeOf("#q=chest&read=0&at=3&cohort=a%401&sort=modality&like=1.2.3&f=modality%3DCT");
  const filters = [{ field: "modality", operator: "=", values: ["CT"] }] as const;
  assert.deepEqual(place, { ...START, like: "1.2.3", filters });
});

test("what a link cannot mean is left out", () => {
  const odd =
    "#q=x&at=-1&since=1e9&series=../etc&sort=a%20b&colour=%3Cb%3E&cohort=a/b@0&view=1,2&tab=none&f=nothing&unknown=<x>";
  assert.deepEqual(placeOf(odd), { ...START, text: "x" });
  assert.deepEqual(placeOf("#colour=foo&sort=foo&unknown=__proto__&unknown=constructor&series=.."), START);
  assert.deepEqual(placeOf("#view=1,2,0"), START);
  assert.deepEqual(placeOf("#view=1,2,NaN"), START);
});

test("only what changes the answer makes another question", () => {
  assert.ok(sameQuestion(FULL, { ...FULL, view: null, series: null, colour: "sex", tab: "map", since: null }));
  for (const change of [
    { text: "other" },
    { read: true },
    { filters: [] },
    { withUnknown: [] },
    { sort: null },
    { at: null },
    { like: "1.2.3" },
  ] satisfies Partial<Place>[]) {
    assert.ok(!sameQuestion(FULL, { ...FULL, ...change }), JSON.stringify(change));
  }
});
