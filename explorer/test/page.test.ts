import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

test("the page names files beside it, and has no code or style of its own", async () => {
  const page = await readFile("src/index.html", "utf8");
  const named = [...page.matchAll(/(?:src|href)="([^"]*)"/g)].map((each) => each[1]);
  assert.deepEqual(named.sort(), ["app.css", "app.js", "icon.svg"]);
  assert.doesNotMatch(page, /<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)/);
});
