// Builds ../dist, which is committed: whoever builds the binary needs no Node.
// The same sources and package-lock.json give the same bytes; CI compares them.
import { build } from "esbuild";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const here = dirname(fileURLToPath(import.meta.url));
const dist = `${dirname(here)}/dist`;
process.chdir(here);

// What a page may weigh, gzipped, with everything it loads.
const budget = 150_000;

await rm(dist, { recursive: true, force: true });
await page("console", "/console");
await page("tryit", "/tryit");

/** page builds src/<name>/, whose files browsers will ask for below path. */
async function page(name, path) {
  const out = `${dist}/${name}`;
  await mkdir(`${out}/assets`, { recursive: true });
  const { metafile } = await build({
    entryPoints: { [name]: `src/${name}/main.tsx`, theme: "src/shared/theme.ts", icon: "src/shared/icon.svg" },
    outdir: `${out}/assets`,
    bundle: true,
    minify: true,
    format: "iife",
    target: ["chrome123", "firefox120", "safari17.5"],
    loader: { ".woff2": "file", ".svg": "copy" },
    // What is in a file is in its name, so that browsers may keep it for ever.
    entryNames: "[name]-[hash]",
    assetNames: "[name]-[hash]",
    legalComments: "none", // the licences are in a file of their own, whole
    define: { "process.env.NODE_ENV": '"production"' },
    metafile: true,
  });
  const files = Object.keys(metafile.outputs);
  let html = await readFile(`src/${name}/index.html`, "utf8");
  html = html.replaceAll(/\{\{(\S+)\.(\w+)\}\}/g, (_, file, ext) => {
    const built = files.map((f) => basename(f)).find((f) => f.startsWith(`${file}-`) && f.endsWith(`.${ext}`));
    if (!built) throw new Error(`${name}: there is no ${file}.${ext}`);
    return `${path}/assets/${built}`;
  });
  await writeFile(`${out}/index.html`, html);
  await writeFile(`${out}/licences.txt`, await licences(Object.keys(metafile.inputs)));

  const sizes = await Promise.all([`${out}/index.html`, ...files].map(async (f) => gzipSync(await readFile(f)).length));
  const bytes = sizes.reduce((sum, n) => sum + n, 0);
  console.log(`${name}: ${bytes} bytes gzipped`);
  if (bytes > budget) throw new Error(`${name} weighs ${bytes} bytes, ${budget} are allowed`);
}

/** licences is the licence text of each package that went into a page. */
async function licences(inputs) {
  const packages = new Set(inputs.flatMap((f) => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(f)?.[1] ?? []));
  const texts = [...packages].sort().map(async (name) => {
    const { version, license } = JSON.parse(await readFile(`node_modules/${name}/package.json`, "utf8"));
    return `${name} ${version} (${license})\n\n${(await licence(name)).trim()}\n`;
  });
  return (await Promise.all(texts)).join(`\n${"-".repeat(72)}\n\n`);
}

async function licence(name) {
  for (const file of ["LICENSE", "LICENSE.md", "LICENSE.txt", "license", "license.md"]) {
    const text = await readFile(`node_modules/${name}/${file}`, "utf8").catch(() => "");
    if (text) return text;
  }
  throw new Error(`${name} has no licence file`);
}
