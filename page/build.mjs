// Bundles src/ into kdbench/report/page/page.js and page.css, with the hash of what they were made from.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const out = new URL("../kdbench/report/page/", import.meta.url).pathname;
const shared = { bundle: true, minify: true, write: false, metafile: true, charset: "utf8", legalComments: "none", target: "es2022" };
const [script, style] = await Promise.all([
  build({ ...shared, entryPoints: ["src/main.tsx"], format: "iife", jsx: "automatic", jsxImportSource: "preact" }),
  build({ ...shared, entryPoints: ["src/page.css"] }),
]);
const [js, css] = [script, style].map((result) => result.outputFiles[0].text.trim());
if (/<\/script|<!--/i.test(js) || /<\//.test(css)) throw new Error("the bundle would end its own element");
if (/\bnew Function\(|\beval\(/.test(js)) console.warn("note: the bundle names eval or Function; the page's policy forbids them");
writeFileSync(`${out}page.js`, js);
writeFileSync(`${out}page.css`, css);

// The licences of what is bundled go with it, into the page too.
const packages = [...new Set(Object.keys(script.metafile.inputs).map((name) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(name)?.[0]))];
const texts = packages.filter(Boolean).sort().map((folder) => {
  const { name, version, license } = JSON.parse(readFileSync(`${folder}/package.json`));
  const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
  return [`${name} ${version} (${license})`, file ? readFileSync(`${folder}/${file}`, "utf8").trim() : ""];
});
const bodies = texts.reduce((map, each) => map.set(each[1], [...(map.get(each[1]) ?? []), each]), new Map());
const licences = [...bodies].map(([text, members]) => `${members.map(([name]) => name).join(", ")}\n\n${text}\n`).join(`\n${"-".repeat(72)}\n\n`);
if (/<\/|<!--/.test(licences)) throw new Error("a licence would end its own element");
writeFileSync(`${out}page.licences.txt`, licences);

const hash = createHash("sha256");
const sources = readdirSync("src").sort().map((name) => `src/${name}`);
for (const name of ["build.mjs", "package-lock.json", "package.json", ...sources]) {
  hash.update(`${name}\0`).update(readFileSync(name)).update("\0");
}
for (const text of [js, css, licences]) hash.update(text);
writeFileSync(`${out}page.sha256`, hash.digest("hex") + "\n");
console.log(`page.js ${(js.length / 1024).toFixed(0)} KiB, page.css ${(css.length / 1024).toFixed(0)} KiB`);
