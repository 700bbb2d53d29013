#!/usr/bin/env python3
"""What tools/new_model.py writes compiles, refuses to run, and never replaces a file. Usage: new_model_test.py COMPILER"""

import ast
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def new_model(root: str, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(ROOT / "tools/new_model.py"), *arguments, "--root", root], capture_output=True, text=True,
                          check=False)


def expect(condition: bool, what: str) -> None:
    if not condition:
        sys.exit(f"expected {what}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        models, golden = Path(folder) / "src/models", Path(folder) / "tools/golden"
        models.mkdir(parents=True)
        golden.mkdir(parents=True)
        for name, kind in (("some-image", "image"), ("some_text", "text")):
            made = new_model(folder, name, "--kind", kind, "--title", "Some-Model", "--reference", "Some")
            expect(made.returncode == 0, f"a skeleton for {name}: {made.stderr}")
            stem = name.replace("-", "_")
            source = models / f"{stem}.cc"
            text = source.read_text(encoding="utf-8")
            expect("is a skeleton" in text and f'.model_type = "{name}"' in text, f"a guarded {source}")
            expect(text.count("\n") <= 300, f"at most 300 lines in {source}")
            compiled = subprocess.run([sys.argv[1], "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Wno-missing-field-initializers",
                                       "-Werror", f"-I{ROOT}/src", f"-I{ROOT}/include", str(source)], capture_output=True, text=True,
                                      check=False)
            expect(compiled.returncode == 0, f"{source} to compile:\n{compiled.stderr}")
            script = (golden / f"{stem}.py").read_text(encoding="utf-8")
            ast.parse(script)
            expect("raise SystemExit" in script, "a guarded golden script")
            again = new_model(folder, name, "--kind", kind)
            expect(again.returncode == 1 and source.read_text(encoding="utf-8") == text, "an existing file to stay as it is")
        for bad in ("../evil", "Upper", "a b", "", "9lives"):
            refused = new_model(folder, bad)
            expect(refused.returncode == 2, f"{bad!r} to be refused")
        expect(len(list(models.iterdir())) == 2, "two files")


if __name__ == "__main__":
    main()
