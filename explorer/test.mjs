// Runs the tests below test/: bundles every *.test.ts for node, and hands them to `node --test`.

import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const found = await readdir(join(here, "test"), { recursive: true });
const tests = found.filter((name) => name.endsWith(".test.ts")).sort();
const out = await mkdtemp(join(tmpdir(), "explorer-test-"));
try {
  await build({
    absWorkingDir: here,
    bundle: true,
    entryPoints: tests.map((name) => join("test", name)),
    format: "esm",
    logLevel: "warning",
    outbase: "test",
    outdir: out,
    outExtension: { ".js": ".mjs" },
    platform: "node",
    sourcemap: "inline",
    target: "node20",
  });
  const files = tests.map((name) => join(out, name.replace(/\.ts$/, ".mjs")));
  const done = spawnSync(
    process.execPath,
    ["--enable-source-maps", "--test", "--test-reporter=spec", ...files],
    { cwd: here, stdio: "inherit" },
  );
  process.exitCode = done.status ?? 1;
} finally {
  await rm(out, { recursive: true, force: true });
}
