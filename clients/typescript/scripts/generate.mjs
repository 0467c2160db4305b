// Generates the messages of the wire contract into src/gen; with --check only compares.
//
// The compiler is that of grpcio-tools, which the tests need anyway: a Python environment in OUTRIGGER_PYTHON, default
// ../../target/python, which `cargo test` makes.

import { execFileSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const own = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const roots = [resolve(own, "../../proto"), resolve(own, "../proto")];
const folders = ["outrigger/runtime/v1", "outrigger/types/v1", "outrigger/client/v1"];
const python = join(process.env.OUTRIGGER_PYTHON ?? resolve(own, "../../target/python"), "venv/bin/python");
const out = join(own, "src/gen");

const below = (directory, ending) =>
  readdirSync(directory, { recursive: true })
    .map(String)
    .filter((name) => name.endsWith(ending))
    .sort();

const files = roots.flatMap((root) =>
  folders
    .filter((folder) => existsSync(join(root, folder)))
    .flatMap((folder) => below(join(root, folder), ".proto").map((name) => join(folder, name))),
);

const fresh = mkdtempSync(join(own, ".fresh-"));
try {
  const plugin = `--plugin=protoc-gen-es=${join(own, "node_modules/.bin/protoc-gen-es")}`;
  const options = [plugin, `--es_out=${fresh}`, "--es_opt=target=ts,import_extension=js"];
  const paths = roots.map((root) => `-I${root}`);
  execFileSync(python, ["-m", "grpc_tools.protoc", ...paths, ...options, ...files], { stdio: "inherit" });
  if (!process.argv.includes("--check")) {
    rmSync(out, { recursive: true, force: true });
    cpSync(fresh, out, { recursive: true });
    chmodSync(out, 0o755); // The temporary directory is closed to others.
  } else {
    const names = below(fresh, ".ts");
    const same = (name) => readFileSync(join(fresh, name)).equals(readFileSync(join(out, name)));
    if (names.join() !== below(out, ".ts").join() || !names.every(same)) {
      console.error("src/gen is not fresh: run `npm run generate`");
      process.exitCode = 1;
    } else {
      console.log(`src/gen is fresh: ${names.length} files`);
    }
  }
} finally {
  rmSync(fresh, { recursive: true });
}
