import assert from "node:assert/strict";
import { test } from "node:test";
import { Problem, type Api } from "../../src/api/client";
import { START } from "../../src/state/place";
import { conditionsOf, Results } from "../../src/state/results";

const ANSWER = {
  value: [{ seriesKey: "a" }],
  manifest: 3,
  nextLink: "/api/search?token=t",
  count: 1,
  interpretation: {
    text: "CT",
    filters: [{ field: "modality", operator: "=", values: ["CT"], from: "query" }],
    unknown: {},
  },
};
const CT = { ...START, text: "CT" };

function results(over: Partial<Record<keyof Api, () => Promise<unknown>>>): { made: Results; failed: unknown[] } {
  const failed: unknown[] = [];
  const api = { search: async () => ANSWER, facets: async () => ({ facets: {} }), ...over };
  return { made: new Results(api as unknown as Api, (error) => failed.push(error)), failed };
}

test("conditions that were read belong to the words that they were read from", async () => {
  const { made } = results({});
  await made.ask(CT, null);
  assert.deepEqual(conditionsOf(made.ready, CT).filters.map((each) => each.field), ["modality"]);
  assert.deepEqual(conditionsOf(made.ready, { ...CT, text: "MR" }).filters, []);
  assert.deepEqual(conditionsOf(made.ready, { ...CT, read: false }).filters, []);
});

test("counts that cannot be had do not take the answer away", async () => {
  const { made, failed } = results({ facets: () => Promise.reject(new Problem(503, "busy", "busy")) });
  await made.ask(CT, null);
  assert.equal(made.found.value.kind, "ready");
  assert.equal(failed.length, 1);
});

test("asking again in the background leaves what is shown, and is due until it goes well", async () => {
  let isAway = false;
  const { made, failed } = results({
    search: () => (isAway ? Promise.reject(new Problem(503, "busy", "busy")) : Promise.resolve(ANSWER)),
  });
  await made.ask(CT, null);
  isAway = true;
  await made.ask(CT, null, true);
  assert.equal(made.found.value.kind, "ready");
  assert.ok(made.isDue);
  assert.equal(failed.length, 1);
  isAway = false;
  await made.ask(CT, null, true);
  assert.ok(!made.isDue);
  isAway = true;
  await made.ask({ ...CT, text: "MR" }, null);
  assert.equal(made.found.value.kind, "failed");
});

test("a further page that fails leaves those before, unless its manifest has gone", async () => {
  let code = "busy";
  const { made, failed } = results({ next: () => Promise.reject(new Problem(410, code, "no")) });
  await made.ask(CT, null);
  await made.more();
  assert.equal(made.found.value.kind, "ready");
  assert.equal(failed.length, 1);
  code = "manifestExpired";
  await made.more();
  assert.equal(made.found.value.kind, "failed");
});

test("only the last question is answered", async () => {
  const waiting: ((answer: unknown) => void)[] = [];
  const { made } = results({ search: () => new Promise((done) => waiting.push(done)) });
  const first = made.ask(CT, null);
  const second = made.ask({ ...CT, text: "MR" }, null);
  waiting[1]?.({ ...ANSWER, count: 2 });
  waiting[0]?.({ ...ANSWER, count: 1 });
  await Promise.all([first, second]);
  assert.equal(made.ready?.count, 2);
});
