// Copies the browser libraries named in package.json to static/vendor/<name>@<version>/ and writes static/vendor/README.md.
// `npm run vendor` after `npm install --no-save`; `npm run vendor:check` fails when what is committed differs from the packages.
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const LIBRARIES = [
  {
    name: "htmx",
    package: "htmx.org",
    use: "partial updates of a page",
    files: { "htmx.min.js": "dist/htmx.min.js", LICENSE: "LICENSE" },
  },
  {
    name: "echarts",
    package: "echarts",
    use: "charts of a benchmark",
    files: { "echarts.min.js": "dist/echarts.min.js", LICENSE: "LICENSE", NOTICE: "NOTICE" },
  },
  {
    name: "tus-js-client",
    package: "tus-js-client",
    use: "resumable uploads",
    files: { "tus.min.js": "dist/tus.min.js", LICENSE: "LICENSE" },
  },
];
const TARGET = "static/vendor";
const checking = process.argv.includes("--check");
const sha256 = (path) => createHash("sha256").update(readFileSync(path)).digest("hex");

const lines = [
  "# Vendored browser libraries",
  "",
  "Unchanged files from the npm packages, so that pages need no CDN and running the studio needs no Node.js.",
  "`npm install --no-save && npm run vendor` writes this folder anew from the versions in `package.json`; then change the version in the",
  "templates' `{% static %}` tags and remove the old folder.",
  "",
  "| library | for | npm package | licence | file | sha256 |",
  "| --- | --- | --- | --- | --- | --- |",
];
let faults = 0;
for (const library of LIBRARIES) {
  const source = join("node_modules", library.package);
  const { version, license } = JSON.parse(readFileSync(join(source, "package.json"), "utf8"));
  const folder = join(TARGET, `${library.name}@${version}`);
  mkdirSync(folder, { recursive: true });
  for (const [file, from] of Object.entries(library.files)) {
    const made = join(folder, file);
    if (checking) {
      if (!existsSync(made) || sha256(made) !== sha256(join(source, from))) {
        console.error(`${made} differs from ${library.package}@${version}`);
        faults += 1;
      }
    } else {
      copyFileSync(join(source, from), made);
    }
    lines.push(
      `| ${library.name} ${version} | ${library.use} | \`${library.package}\` | ${license} | \`${file}\` | \`${sha256(join(source, from))}\` |`,
    );
  }
}
const readme = lines.join("\n") + "\n";
if (!checking) {
  writeFileSync(join(TARGET, "README.md"), readme);
} else if (!existsSync(join(TARGET, "README.md")) || readFileSync(join(TARGET, "README.md"), "utf8") !== readme) {
  console.error(`${TARGET}/README.md is out of date`);
  faults += 1;
}
process.exit(faults ? 1 : 0);
