"""Generates the messages of the wire contract into the package: `python scripts/generate.py`, with `--check` only compares.

Needs grpcio-tools (see pyproject.toml, extra `dev`).
"""

import filecmp
import re
import shutil
import sys
import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

PACKAGE = Path(__file__).resolve().parent.parent
ROOTS = [PACKAGE.parent.parent / "proto", PACKAGE.parent / "proto"]
OUT = PACKAGE / "outrigger_runtime" / "_gen"
FOLDERS = ["outrigger/runtime/v1", "outrigger/types/v1", "outrigger/client/v1"]
# The generator writes absolute imports; inside the package they begin with its name.
IMPORT = re.compile(r"^from outrigger\.", re.MULTILINE)


def generate(out: Path) -> None:
    files = [
        str(path.relative_to(root)) for root in ROOTS for folder in FOLDERS for path in (root / folder).glob("*.proto")
    ]
    own = Path(grpc_tools.__file__).parent / "_proto"
    arguments = ["protoc", *(f"-I{root}" for root in [*ROOTS, own]), f"--python_out={out}", f"--pyi_out={out}"]
    if protoc.main([*arguments, *sorted(files)]) != 0:
        raise SystemExit("the generator failed")
    for path in [*out.rglob("*.py"), *out.rglob("*.pyi")]:
        path.write_text(IMPORT.sub("from outrigger_runtime._gen.outrigger.", path.read_text()))
    for directory in [out, *(path for path in out.rglob("*") if path.is_dir())]:
        (directory / "__init__.py").write_text("")


def names(directory: Path) -> list[str]:
    return sorted(
        str(path.relative_to(directory)) for path in directory.rglob("*.py*") if "__pycache__" not in path.parts
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        fresh = Path(temporary)
        generate(fresh)
        if "--check" in sys.argv[1:]:
            if names(fresh) != names(OUT) or any(
                not filecmp.cmp(fresh / name, OUT / name, False) for name in names(fresh)
            ):
                raise SystemExit("outrigger_runtime/_gen is not fresh: run scripts/generate.py")
            print("outrigger_runtime/_gen is fresh")
            return
        shutil.rmtree(OUT, ignore_errors=True)
        shutil.copytree(fresh, OUT)
        OUT.chmod(0o755)  # The temporary directory is closed to others.


if __name__ == "__main__":
    main()
