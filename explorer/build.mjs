// Builds the page: `node build.mjs [FOLDER]`, by default into function_app/explorer/.
//
// The built files are committed, so that nobody who installs the package needs npm; a test builds
// them again and compares. The same sources and the locked packages give the same bytes.

import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, "..", "function_app", "explorer");

const bundle = {
  absWorkingDir: here, // what esbuild writes must not depend on where it was called
  bundle: true,
  minify: true,
  charset: "utf8",
  target: "es2022",
  legalComments: "none", // the licences in full are in THIRD-PARTY.txt
  logLevel: "warning",
};

await mkdir(out, { recursive: true });
const page = await build({
  ...bundle,
  entryPoints: ["src/main.tsx"],
  outfile: join(out, "app.js"),
  format: "esm",
  metafile: true,
});
await build({ ...bundle, entryPoints: ["src/styles/main.css"], outfile: join(out, "app.css") });
for (const name of ["index.html", "icon.svg"]) {
  await copyFile(join(here, "src", name), join(out, name));
}
await writeFile(join(out, "THIRD-PARTY.txt"), await notices(Object.keys(page.metafile.inputs)));

/** The licences of all packages that have come into the page. */
async function notices(inputs) {
  const names = inputs
    .map((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1])
    .filter((name) => name !== undefined);
  const texts = ["app.js contains these packages.\n"];
  for (const name of [...new Set(names)].sort()) {
    const folder = join(here, "node_modules", name);
    const { version } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    const file = (await readdir(folder)).find((each) => /^licen[cs]e/i.test(each));
    if (file === undefined) {
      throw new Error(`${name} comes without its licence`);
    }
    const licence = (await readFile(join(folder, file), "utf8")).trim();
    texts.push(`${"-".repeat(72)}\n${name} ${version}\n\n${licence}\n`);
  }
  return texts.join("\n");
}
