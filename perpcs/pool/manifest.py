"""What a pool says about itself: manifest.json, sharers.json and examples.json as records.

pools/NAME/manifest.json             this file's Manifest
pools/NAME/base/                     base.json (name and sha256 of the shipped base) and delta.safetensors (its
                                     adaptation to the tasks, a low-rank product a layer); or a whole model in Hugging
                                     Face format
pools/NAME/hypernet.safetensors      the network of Profile-to-PEFT, one for all tasks, where the pool has one
pools/NAME/TASK/pieces.safetensors   per position p: A.p (S, r, n)  B.p (S, d, r)  gate.p (S, n)  prototype.p (S, n)
                                     distilled.p (S, n), where the pool has such gates
pools/NAME/TASK/sharers.json         this file's Sharer records; never text
pools/NAME/TASK/embeddings.safetensors   sharers (S, width): what PEFT retrieval compares a history with
pools/NAME/TASK/map.json             place, cluster and activity of every candidate, without a name
pools/NAME/TASK/examples.json        example people in the Per-Pcs release layout; made up, so their texts may stand
here pools/NAME/TASK/examples/ID.json     their assemblies, computed when the pool was built
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeGuard

from perpcs.errors import PerpcsError
from perpcs.files import write_json
from perpcs.positions import PIECE_KINDS, Position, piece_shape
from perpcs.tasks import Item, Query, get_task

SCHEMA = 3


@dataclass(frozen=True)
class Sharer:
    """A person who shares pieces: numbers about them, never their text."""

    id: str
    items: int
    """History items their pieces were trained on."""
    cluster: int
    terms: tuple[str, ...] = ()
    """Words that set the cluster apart from the others."""
    xy: tuple[float, float] = (0.0, 0.0)
    """Place on the stored 2-D map."""
    loss: tuple[float, ...] = ()
    """Mean training loss per target token, epoch by epoch; the first entry is the base model's."""


@dataclass(frozen=True)
class Example:
    """An example person of the app: made up, neither a base user nor a sharer."""

    id: str
    description: str
    history: tuple[Item, ...]
    queries: tuple[Query, ...]
    traits: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    """What the app calls them."""


@dataclass(frozen=True)
class TaskPool:
    """What the manifest says of one task's sharers and pieces."""

    task: str
    task_version: int
    sharers: int
    candidates: int
    selection: str
    share_ratio: float
    share_seed: int
    files: dict[str, str]
    """sha256 of each file of the task's folder."""
    training: dict[str, Any] = field(default_factory=dict)
    """Settings and final losses of piece and gate training."""
    encoder: str = ""
    """What embedded the candidates, see ``perpcs.pool.embed``; empty where no embeddings are stored."""
    origin: str = ""
    """Who the sharers are, in a sentence; empty where nobody said."""
    labels: tuple[str, ...] = ()
    """The labels of the people's data, where the task may have others than LaMP's."""


@dataclass(frozen=True)
class Manifest:
    """manifest.json."""

    name: str
    title: str
    base: str
    """Folder of the base model inside the pool, or a Hugging Face name."""
    base_hash: str
    """sha256 over the files of the base model's folder; empty for a Hugging Face name."""
    rank: int
    alpha: float
    dtype: str
    """How pieces are stored: ``float32``, ``float16``, or ``int8`` with a scale a row."""
    positions: tuple[Position, ...]
    tasks: tuple[TaskPool, ...]
    licence: str
    users: dict[str, Any]
    """How people were divided: counts and id prefixes of base users, candidates and targets."""
    kind: Literal["lora", "ia3", "adapter", "prefix"] = "lora"
    """What a piece is (perpcs/model/basis.py)."""
    keys: int = 0
    """Numbers of one token's keys at a layer; only a pool of prefixes says."""
    card: dict[str, Any] = field(default_factory=dict)
    """The model card: data, training, quality, limits."""
    hypernet: dict[str, Any] = field(default_factory=dict)
    """sha256, shape, settings and losses of the network of Profile-to-PEFT; empty where there is none."""
    created_with: dict[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def scale(self) -> float:
        """The factor s in front of B A: alpha / r."""
        return self.alpha / self.rank

    @property
    def adapter_bytes(self) -> int:
        """Bytes of one person's trained pieces as half floats: what a method that trains them a person stores."""
        shapes = [shape for one in self.positions for shape in piece_shape(self.kind, self.rank, one, self.keys)]
        return 2 * sum(rows * columns for rows, columns in shapes)

    def task(self, name: str) -> TaskPool:
        """The pool's part for one task.

        Raises:
            PerpcsError: when the pool has no sharers for it.
        """
        for task in self.tasks:
            if task.task == name:
                return task
        known = ", ".join(task.task for task in self.tasks)
        raise PerpcsError(f"The pool {self.name!r} has no sharers for task {name!r}.", f"Choose one of: {known}.")


def write_manifest(folder: Path, manifest: Manifest) -> None:
    write_json(folder / "manifest.json", asdict(manifest))


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one: JSON may come from a stranger or an older program."""
    return value if isinstance(value, Mapping) else {}


def contributed(manifest: Manifest) -> dict[str, tuple[str, ...]]:
    """Ids of those who were added to this copy, by task; a pool that is no copy has none."""
    said = mapping(manifest.users.get("contributed"))
    return {str(task): tuple(map(str, ids)) for task, ids in said.items() if isinstance(ids, list | tuple)}


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value of somebody's JSON can be shown as a number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e18


def read_json(path: Path) -> Any:
    """Read a JSON file of a pool.

    Raises:
        PerpcsError: when it is missing or damaged.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise PerpcsError(f"The pool has no {path.name}.", f"Check {path.parent} or build the pool again.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise PerpcsError(f"The pool's {path.name} cannot be read.", "Fetch or build the pool again.") from error


def read_manifest(folder: Path) -> Manifest:
    """Read manifest.json.

    Raises:
        PerpcsError: when it is missing, damaged or of another schema.
    """
    data = read_json(folder / "manifest.json")
    try:
        if data["schema"] != SCHEMA:
            raise PerpcsError(
                f"The pool has schema {data['schema']}, this program reads {SCHEMA}.", "Build the pool again."
            )
        if data.get("kind", "lora") not in PIECE_KINDS:
            raise PerpcsError(
                f"The pool's pieces are of the kind {data['kind']!r}.", f"Known are {', '.join(PIECE_KINDS)}."
            )
        data["positions"] = tuple(Position(**position) for position in data["positions"])
        data["tasks"] = tuple(TaskPool(**{**task, "labels": tuple(task.get("labels", ()))}) for task in data["tasks"])
        return Manifest(**data)
    except (KeyError, TypeError, AttributeError) as error:
        raise PerpcsError("The pool's manifest.json lacks a field or has one too many.", "Build it again.") from error


def read_sharers(folder: Path) -> tuple[Sharer, ...]:
    """Read sharers.json of a task's folder.

    Raises:
        PerpcsError: when it is missing or damaged.
    """
    tuples = ("terms", "xy", "loss")
    try:
        rows: list[dict[str, Any]] = read_json(folder / "sharers.json")
        for row in rows:
            row.update({key: tuple(row[key]) for key in tuples})
        return tuple(Sharer(**row) for row in rows)
    except (KeyError, TypeError, AttributeError) as error:
        raise PerpcsError("The pool's sharers.json lacks a field or has one too many.", "Build it again.") from error


def read_examples(folder: Path) -> tuple[Example, ...]:
    """Read examples.json of a task's folder; a pool without examples has none.

    Raises:
        PerpcsError: when it is damaged.
    """
    if not (folder / "examples.json").exists():
        return ()
    task = get_task(folder.name)
    try:
        return tuple(
            Example(
                id=row["user_id"],
                description=row["description"],
                history=tuple(task.read_item(fields) for fields in row["profile"]),
                queries=tuple(task.read_query(query["input"], query["gold"], query["id"]) for query in row["query"]),
                traits=row["traits"],
                name=row.get("name", ""),
            )
            for row in read_json(folder / "examples.json")
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise PerpcsError("The pool's examples.json lacks a field or has one too many.", "Build it again.") from error
