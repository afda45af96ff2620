"""Experiments: each answers one question about a pool with one command and writes one JSON file.

    perpcs experiment NAME --pool POOL     ->  results/quality/NAME.json

Every result says what it asked, with which pool, when, at which commit, and the command that makes it again. They are:

table1        methods x tasks, with intervals and controls
cost          storage against users, time against history items
history       likelihood against history items
robustness    fewer sharers, fewer pieces, other sharers, other settings
separation    whether what knows a person is surely ahead of the base model
case-study    one person's weights beside PEFT retrieval's choice

A further experiment is a file and a line in ``EXPERIMENTS``.
"""

import json
import os
import platform
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from perpcs import __version__
from perpcs.data import TARGETS, people_file, read_users, task_folder
from perpcs.data.lamp_files import newest, with_others
from perpcs.data.smalltown import make_people
from perpcs.errors import PerpcsError, unknown
from perpcs.evaluate.findings import KIND
from perpcs.files import hash_file, write_json
from perpcs.model.base import BaseModel
from perpcs.pool.build import versions
from perpcs.pool.manifest import mapping, read_json
from perpcs.pool.store import Pool
from perpcs.tasks import User, get_task

# ---- what an experiment is -------------------------------------------------------------------------------------------


Say = Callable[[str], None]

_ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Setting:
    """The inputs of an experiment."""

    pool: Pool
    pool_name: str
    """The name the pool was given by, for the command that reproduces the result."""
    tasks: tuple[str, ...]
    people: int = 14
    """Held-out people per task, if they are made up."""
    seed: int = 2026
    users: Path | None = None
    """Folder with TASK/target_users.json; None = people of the small town, made up from the seed."""
    items: int | None = None
    """Only the newest so many items of each given history; None = all."""
    results: Path = Path("results/quality")
    """Folder of stored evaluations."""
    again: bool = False
    """Whether to recompute stored evaluations."""
    device: str = "auto"
    say: Say = lambda line: None
    unfinished: Path | None = None
    """File of the finished parts of a run in progress; None = do not store them."""

    def kept(self, part: str, work: Callable[[], Any]) -> Any:
        """A part of the result in JSON types: stored by a stopped run, or else what ``work`` returns."""
        if part not in self._parts:
            self._parts[part] = json.loads(json.dumps(work()))
            if self.unfinished is not None:
                write_json(self.unfinished, {"asked": self._asked, "parts": self._parts})
        return self._parts[part]

    @cached_property
    def _asked(self) -> dict[str, Any]:
        """The inputs that stored parts must agree with."""
        users = self.users
        files = {} if users is None else {task: people_file(task_folder(users, task), TARGETS) for task in self.tasks}
        found = {task: hash_file(file) for task, file in files.items() if file.exists()}
        asked = {"people": self.people, "seed": self.seed, "items": self.items, "users": found}
        return {"pool_hash": self.pool.hash, **asked}

    @cached_property
    def _parts(self) -> dict[str, Any]:
        """The stored parts; empty if the file has other inputs or is damaged."""
        try:
            stored = read_json(self.unfinished) if self.unfinished and self.unfinished.exists() else None
        except PerpcsError:
            return {}
        stored = mapping(stored)
        return dict(mapping(stored.get("parts"))) if stored.get("asked") == self._asked else {}

    @cached_property
    def base(self) -> BaseModel:
        """The pool's base model, loaded when it is first needed."""
        return self.pool.base(self.device)

    @property
    def town(self) -> bool:
        """Whether the pool's people are the small town's: made up, so that their texts may be shown."""
        return "town_seed" in self.pool.manifest.users

    def people_of(self, task: str) -> tuple[list[User], dict[str, dict[str, str]]]:
        """Held-out people of a task, and the oracle's answers by person and query (empty for real people).

        Raises:
            PerpcsError: for a pool that is not of the small town, where no folder of users is given.
        """
        if self.users is not None:
            found = read_users(people_file(task_folder(self.users, task), TARGETS), get_task(task))
            found = with_others(get_task(task), found)
            return found if self.items is None else newest(found, self.items), {}
        if not self.town:
            raise PerpcsError(
                f"The pool {self.pool.manifest.name!r} is not of the small town, so nobody can be made up for it.",
                f"Give --users, a folder with {task}/{TARGETS}.",
            )
        made = make_people(task, seed=self.seed, count=self.people, split="target")
        oracle = {
            person.id: {query.id: said for query, said in zip(person.queries, person.oracle, strict=True)}
            for person in made
        }
        return [person.user for person in made], oracle


@dataclass(frozen=True)
class Experiment:
    """An entry of ``EXPERIMENTS``."""

    says: str
    """The question, in one sentence."""
    run: Callable[[Setting], Mapping[str, Any]]
    """Returns the result in JSON types."""


def run_experiment(name: str, experiment: Experiment, setting: Setting, out: Path) -> dict[str, Any]:
    """Run an experiment and write its result. A stopped run resumes.

    Raises:
        PerpcsError: when the pool cannot answer it, or the file cannot be written.
    """
    setting = replace(setting, unfinished=unfinished(out))
    result = {
        "kind": KIND,
        "experiment": name,
        "says": experiment.says,
        **stamp(),
        "command": command_of(name, setting),
        "pool": setting.pool.manifest.name,
        "pool_hash": setting.pool.hash,
        "versions": {"perpcs": __version__, **versions()},
        **experiment.run(setting),
    }
    write_json(out, result)
    unfinished(out).unlink(missing_ok=True)
    return result


def unfinished(out: Path) -> Path:
    """The file of an incomplete result."""
    return out.with_name(f".{out.stem}.unfinished.json")


def command_of(name: str, setting: Setting) -> str:
    """The command that reproduces a result, without default options."""
    words = [f"perpcs experiment {name} --pool {setting.pool_name}"]
    if setting.tasks != tuple(part.task for part in setting.pool.manifest.tasks):
        words += [f"--task {task}" for task in setting.tasks]
    if setting.users is not None:
        words.append("--users DATA")  # where people's files lie is nobody else's concern
    numbers = {key: getattr(setting, key) for key in ("people", "seed", "items")}
    words += [f"--{key} {value}" for key, value in numbers.items() if value != _usual(key)]
    return " ".join(words)


def _usual(key: str) -> Any:
    return next(field.default for field in fields(Setting) if field.name == key)


def stamp() -> dict[str, str | None]:
    """Today's date and the current commit."""
    return {"date": datetime.now(UTC).strftime("%Y-%m-%d"), "commit": commit()}


def commit(root: Path = _ROOT) -> str | None:
    """The current commit, with ``+`` if tracked files differ; None outside a checkout."""
    head = _git(root, "rev-parse", "--short=12", "HEAD")
    return None if head is None else head + ("+" if _git(root, "status", "--porcelain", "-uno") else "")


def last_change(path: Path) -> dict[str, str | None]:
    """Date and commit of the last change of a tracked file; empty if git does not know it."""
    said = _git(path.parent, "log", "-1", "--format=%cs %h", "--", path.name) or ""
    date, _, short = said.partition(" ")
    return {"date": date, "commit": short} if short else {}


def machine() -> dict[str, Any]:
    """The machine that seconds were measured on."""
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    return {"cpus": os.cpu_count(), "system": platform.system(), "load_before": load}


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(("git", "-C", str(folder), *words), capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


# ---- the registry ----------------------------------------------------------------------------------------------------


EXPERIMENTS = {
    "table1": "table1.EXPERIMENT",
    "separation": "table1.SEPARATION",
    "cost": "cost.EXPERIMENT",
    "history": "cost.HISTORY",
    "robustness": "robustness.EXPERIMENT",
    "case-study": "case_study.EXPERIMENT",
}
"""``module.attribute`` by name; imported on first use."""


def get_experiment(name: str) -> Experiment:
    """The experiment of that name.

    Raises:
        PerpcsError: for an unknown name, with the nearest known one.
    """
    if name not in EXPERIMENTS:
        raise unknown("experiment", name, EXPERIMENTS)
    module, attribute = EXPERIMENTS[name].split(".")
    found: Experiment = getattr(import_module(f"{__name__}.{module}"), attribute)
    return found
