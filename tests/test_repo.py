"""What holds for the repository as a whole."""

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOP = {
    *("app.py", "pages", "perpcs", "assets", "tests", "benchmarks", "results", "docs", "Makefile", "README.md"),
    *("LICENSE", "pyproject.toml", "requirements.txt", "requirements-base.txt"),
    *("requirements-dev.txt", ".streamlit", ".ci", ".gitignore"),
}
LAYERS = ("tasks", "data", "model", "pool", "assembly", "personalizers", "serve", "evaluate", "peftu")
"""From the bottom to the top: a module imports from its own layer and from those before it."""
GROUND = (
    "perpcs",
    "perpcs.errors",
    "perpcs.files",
    "perpcs.schema",
    "perpcs.words",
)
"""Below all layers: they import only one another."""
RECORDS = (
    *("perpcs.assembly.explain", "perpcs.assembly.record"),
    *("perpcs.pool.manifest", "perpcs.pool.portraits", "perpcs.tasks"),
)
"""What figures may read: numbers and words, no tensors."""
MAX_LINES = 600
"""A thought, not a law: one idea a file decides; above this it is hardly one."""
ASSET_BYTES = 100_000_000


def tracked():
    """Every file that git tracks and that is there."""
    listed = subprocess.run(("git", "ls-files", "-z"), cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [Path(name) for name in listed.split("\0") if name and (ROOT / name).is_file()]


def modules(*folders):
    """Python files below the folders, from the root, sorted."""
    return sorted(
        path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*.py") if path.is_file()
    )


def program():
    return [Path("app.py"), *modules("pages", "perpcs", "benchmarks")]


def parse(path):
    return ast.parse((ROOT / path).read_bytes(), filename=str(path))


def dotted(path):
    """perpcs/model/base.py -> perpcs.model.base; a package is named like its folder."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {dotted(path) for path in modules("perpcs")}


def imported(path):
    """Every module that a file imports, wherever it does; submodules named by ``from package import`` included."""
    found = set()
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = path.with_suffix("").parts[: -node.level] if node.level else ()
            stem = ".".join([*package, *([node.module] if node.module else [])])
            inside = {f"{stem}.{alias.name}" for alias in node.names} & NAMES
            found |= inside or {stem}
    return found


def within(name, packages):
    return any(name == package or name.startswith(package + ".") for package in packages)


def layer(name):
    """The number of a module's layer, or None when it has none."""
    parts = name.split(".")
    return LAYERS.index(parts[1]) if len(parts) > 1 and parts[0] == "perpcs" and parts[1] in LAYERS else None


# ---- imports ---------------------------------------------------------------------------------------------------------


def test_imports_run_downward():
    wrong = []
    for path in modules("perpcs"):
        own = layer(dotted(path))
        if own is not None:
            for name in sorted(imported(path)):
                upward = layer(name) is not None and layer(name) > own
                if upward or within(name, ("perpcs.figures", "perpcs.ui", "perpcs.cli")):
                    wrong.append(f"{path} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_no_modules_import_each_other():
    """Not inside a function either, and not for types alone. Importing a module also runs the packages it is in."""
    graph = {}
    for path in modules("perpcs"):
        own = dotted(path)
        outer = {name for imports in imported(path) & NAMES for name in packages(imports)} - {*packages(own), own}
        graph[own] = (imported(path) & NAMES | outer) - {own}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None


def packages(name):
    """The packages below ``perpcs`` that a module is in."""
    parts = name.split(".")
    return {".".join(parts[:depth]) for depth in range(2, len(parts))}


def test_the_ground_imports_nothing_above_it():
    wrong = [
        f"{path} imports {name}"
        for path in modules("perpcs")
        if dotted(path) in GROUND
        for name in imported(path)
        if name.startswith("perpcs") and name not in GROUND
    ]
    assert not wrong, "\n".join(wrong)


def test_every_module_has_its_place():
    """A new folder or file beside the layers must be given a place here."""
    places = {*LAYERS, "figures", "ui", "cli", "cli_build", "cli_sharing"}
    strays = [name for name in NAMES if name not in GROUND and name.split(".")[1] not in places]
    assert not strays


def test_figures_read_records_and_nothing_else():
    allowed = (*GROUND[1:], *RECORDS, "perpcs.figures")
    wrong = [
        f"{path} imports {name}"
        for path in modules("perpcs/figures")
        for name in sorted(imported(path))
        if (name.startswith("perpcs") and not within(name, allowed))
        or within(name, ("streamlit", "torch", "transformers", "peft"))
    ]
    assert not wrong, "\n".join(wrong)


def test_figures_load_neither_torch_nor_streamlit():
    names = [dotted(path) for path in modules("perpcs/figures")]
    code = f"import sys, {', '.join(names)}; print(sorted({{'torch', 'streamlit', 'transformers'}} & set(sys.modules)))"
    done = subprocess.run((sys.executable, "-c", code), cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_only_the_interface_imports_streamlit_and_nothing_below_imports_the_interface():
    wrong = []
    for path in program():
        interface = path == Path("app.py") or path.parts[0] == "pages" or path.parts[:2] == ("perpcs", "ui")
        for name in sorted(imported(path)):
            if not interface and within(name, ("streamlit", "perpcs.ui")):
                wrong.append(f"{path} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_no_test_module_imports_another():
    """What several of them use is in tests/helpers.py, fakes.py, tiny.py and tests/browser/driver.py."""
    wrong = [
        f"{path} imports {name}"
        for path in modules("tests")
        for name in sorted(imported(path))
        if name.startswith("test_") or name == "conftest"
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_unpickles():
    wrong = []
    for path in [*program(), *modules("tests")]:
        for name in imported(path):
            if within(name, ("pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal")):
                wrong.append(f"{path} imports {name}")
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Attribute) and node.attr == "load" and getattr(node.value, "id", "") == "torch":
                wrong.append(f"{path}:{node.lineno} loads with torch")
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                wrong.append(f"{path}:{node.value.lineno} speaks of pickle to numpy")
    assert not wrong, "\n".join(wrong)


# ---- files -----------------------------------------------------------------------------------------------------------


def test_the_top_holds_only_what_belongs_there():
    strays = {path.parts[0] for path in tracked()} - TOP
    assert not strays, f"These do not belong at the top: {sorted(strays)}"


def test_assets_stay_small():
    size = sum((ROOT / path).stat().st_size for path in tracked() if path.parts[0] == "assets")
    assert size < ASSET_BYTES, f"assets/ holds {size / 1e6:.1f} MB"


def test_no_file_of_the_package_is_long():
    files = [path for path in (ROOT / "perpcs").rglob("*") if path.suffix in (".py", ".css", ".txt")]
    lines = {str(path.relative_to(ROOT)): path.read_text().count("\n") for path in files}
    long = {path: count for path, count in lines.items() if count >= MAX_LINES}
    assert not long, f"Split these: {long}"


def test_requirements_are_pinned():
    wrong = []
    for name in ("requirements.txt", "requirements-dev.txt"):
        for line in (ROOT / name).read_text().splitlines():
            words = line.partition("#")[0].strip()
            if words and words != "-r requirements.txt" and not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9._]+", words):
                wrong.append(f"{name}: {line}")
    assert not wrong, "\n".join(wrong)


def test_no_file_names_a_machine_or_a_package_host():
    machine = re.compile(r"(?<![\w.~/-])/(?:work|root|home|Users)/[\w.]")
    ends = {"org": ("pypi", "pythonhosted", "pytorch", "npmjs", "debian", "ubuntu", "anaconda"), "com": ("nvidia",)}
    named = "|".join(rf"\b{name}\.{end}\b" for end, names in ends.items() for name in names)
    hosts = re.compile(named)
    wrong = []
    for path in {*tracked(), *program(), *modules("tests")}:
        try:
            text = (ROOT / path).read_text()
        except UnicodeDecodeError:
            continue  # a picture or weights
        wrong += [f"{path}: {match.group()}" for pattern in (machine, hosts) for match in pattern.finditer(text)]
    assert not wrong, "\n".join(sorted(wrong))


def test_dependencies_are_explained():
    text = (ROOT / "docs" / "DEPENDENCIES.md").read_text()
    pinned = [
        line.partition("==")[0]
        for name in ("requirements.txt", "requirements-base.txt", "requirements-dev.txt")
        for line in (ROOT / name).read_text().splitlines()
        if "==" in line
    ]
    missing = [name for name in pinned if f"`{name}`" not in text]
    assert not missing, f"docs/DEPENDENCIES.md says nothing of {missing}"


def test_readme_names_every_folder_of_the_package():
    text = (ROOT / "README.md").read_text()
    folders = {path.parent for path in modules("perpcs")} - {Path("perpcs")}
    missing = sorted(str(folder) for folder in folders if not re.search(rf"^ +{folder.name}/ ", text, re.MULTILINE))
    assert not missing, f"The map of README.md says nothing of {missing}"


SCREENS = {"G": 15, "H": 3, "A": 12, "C": 8, "S": 4, "R": 3, "P": 2, "M": 2}
"""How many things each page must do, by the letter of its ids in docs/ui-coverage.md; G is for all pages."""


def test_everything_a_screen_must_do_names_tests_and_files_that_are_there():
    rows = re.findall(
        r"^\| ([A-Z]\d+)[^|]*\|[^|]*\|([^|]*)\|([^|]*)\|$", (ROOT / "docs/ui-coverage.md").read_text(), re.M
    )
    assert sorted(id for id, *_ in rows) == sorted(
        f"{page}{n + 1}" for page, count in SCREENS.items() for n in range(count)
    )
    for id, where, tests in rows:
        files = re.findall(r"[a-z_/]+(?:\.py|\.css|/(?=[,\s]))", where)
        assert files, id
        assert [file for file in files if not (ROOT / "perpcs" / file).exists() and not (ROOT / file).exists()] == [], (
            id
        )
        named = re.findall(r"([a-z_/]+)::(test_\w+)", tests)
        assert named, id
        for file, test in named:
            folder, _, name = file.rpartition("/")
            text = (ROOT / "tests" / folder / f"test_{name}.py").read_text()
            assert f"\ndef {test}(" in text, (id, file, test)
