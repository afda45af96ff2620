"""What a pool says about itself: manifest.json, sharers.json, examples.json and map.json as records.

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

The map of a task's candidates holds their places, clusters and numbers of items, and from it follows who would share.
Candidates have no names here. A sharer is the candidate at the sharer's own place.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeGuard

import numpy as np
from pydantic import AfterValidator, Field

from perpcs.errors import PerpcsError
from perpcs.files import read_regular, regular_files, write_json
from perpcs.schema import (
    MOST_BYTES,
    Count,
    Facts,
    FileName,
    Kind,
    Name,
    Position,
    Record,
    Sha,
    Text,
    piece_shape,
    read_record,
)
from perpcs.tasks import TASKS, Item, Query, get_task

# ---- the manifest ----------------------------------------------------------------------------------------------------


SCHEMA = 3
FILES = ("pieces.safetensors", "embeddings.safetensors", "map.json", "sharers.json", "examples.json")
"""Files of a task's folder whose hashes a manifest may hold."""
ALLOWED = {".json", ".safetensors", ".txt", ".model", ".md"}
"""Endings of the files that a pool may hold."""
_AGAIN = "Fetch or build the pool again."
_MOST_FILES = 10_000


def _known_task(name: str) -> str:
    if name not in TASKS:
        raise ValueError(f"is none of the tasks {', '.join(TASKS)}")
    return name


def _by_part(training: dict[str, Any]) -> dict[str, Any]:
    if not all(part is None or isinstance(part, dict) for part in training.values()):
        raise ValueError("holds what are no settings")
    return training


Stored = Literal["float32", "float16", "int8"]


@dataclass(frozen=True)
class Sharer(Record):
    """A person who shares pieces: numbers about them, never their text."""

    id: Name
    items: Count
    """History items their pieces were trained on."""
    cluster: Annotated[int, Field(ge=-1, le=10**6)]
    terms: Annotated[tuple[Name, ...], Field(max_length=100)] = ()
    """Words that set the cluster apart from the others."""
    xy: tuple[float, float] = (0.0, 0.0)
    """Place on the stored 2-D map."""
    loss: Annotated[tuple[float, ...], Field(max_length=10_000)] = ()
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
class TaskPool(Record):
    """What the manifest says of one task's sharers and pieces."""

    task: Annotated[str, AfterValidator(_known_task)]
    """It is also the name of a folder."""
    task_version: Count
    sharers: Annotated[int, Field(ge=1, le=32_767)]
    candidates: Count
    selection: Text
    share_ratio: Annotated[float, Field(gt=0, le=1)]
    share_seed: Count
    files: dict[Literal[FILES], Sha]  # type: ignore[valid-type]
    """sha256 of each file of the task's folder."""
    training: Annotated[Facts, AfterValidator(_by_part)] = field(default_factory=dict)
    """Settings of piece, gate and distilled training, each a dictionary or None; ``settings_of`` reads them."""
    encoder: Name = ""
    """What embedded the candidates, see ``perpcs.pool.select``; empty where no embeddings are stored."""
    origin: Text = ""
    """Who the sharers are, in a sentence; empty where nobody said."""
    labels: Annotated[tuple[Name, ...], Field(max_length=1000)] = ()
    """The labels of the people's data, where the task may have others than LaMP's."""


@dataclass(frozen=True)
class Manifest(Record):
    """manifest.json."""

    name: Name
    title: Text
    base: Name
    """Folder of the base model inside the pool, or a Hugging Face name."""
    base_hash: Literal[""] | Sha
    """sha256 over the files of the base model's folder; empty for a Hugging Face name."""
    rank: Annotated[int, Field(ge=1, le=4096)]
    alpha: Annotated[float, Field(gt=0, le=1e6)]
    dtype: Stored
    """How pieces are stored; ``int8`` with a scale a row."""
    positions: Annotated[tuple[Position, ...], Field(min_length=1, max_length=4096)]
    tasks: Annotated[tuple[TaskPool, ...], Field(min_length=1)]
    licence: Text
    users: Facts
    """How people were divided: counts and id prefixes of base users, candidates and targets."""
    kind: Kind = "lora"
    """What a piece is (perpcs/model/basis.py)."""
    keys: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Numbers of one token's keys at a layer; only a pool of prefixes says."""
    card: Facts = field(default_factory=dict)
    """The model card: data, training, quality, limits."""
    hypernet: Facts = field(default_factory=dict)
    """sha256, shape, settings and losses of the network of Profile-to-PEFT; empty where there is none."""
    created_with: dict[str, Name] = field(default_factory=dict)
    schema: Literal[SCHEMA] = SCHEMA  # type: ignore[valid-type]

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
    """Read a JSON file of a pool whose shape the caller checks.

    Raises:
        PerpcsError: when it is missing or damaged.
    """
    try:
        return json.loads(read_regular(path, MOST_BYTES))
    except FileNotFoundError as error:
        raise PerpcsError(f"The pool has no {path.name}.", f"Check {path.parent} or build the pool again.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise PerpcsError(f"The pool's {path.name} cannot be read.", _AGAIN) from error


def read_manifest(folder: Path) -> Manifest:
    """Read manifest.json of a folder that a stranger may have made, before anything else of it is touched.

    Every name in it that becomes part of a path is a known one, and no file of the folder is a link: what is read,
    written or removed at such a path lies inside.

    Raises:
        PerpcsError: when it is missing, damaged or of another schema, or the folder holds what is no file.
    """
    path = folder / "manifest.json"
    if isinstance(said := read_json(path), dict) and said.get("schema", SCHEMA) != SCHEMA:
        raise PerpcsError(f"The pool has another schema than {SCHEMA}, which this program reads.", "Build it again.")
    found = read_record(path, Manifest, "The pool's manifest.json", _AGAIN)
    if found.base_hash and found.base != "base":
        raise PerpcsError("The pool's base model does not lie in its folder base.", _AGAIN)
    if not found.base_hash and (found.base.startswith(("/", "~", ".")) or not set(found.base).isdisjoint("\\:")):
        raise PerpcsError("The pool's base model is a path and not a name.", _AGAIN)
    _all_different("task", (task.task for task in found.tasks))
    _all_different("position", (position.path for position in found.positions))
    if len(regular_files(folder)) > _MOST_FILES:
        raise PerpcsError(f"{folder} holds more than {_MOST_FILES:,} files.", "Give the folder of a pool.")
    return found


def _all_different(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise PerpcsError(f"The pool names the {what} {name!r} twice.", _AGAIN)
        seen.add(name)


def read_sharers(folder: Path) -> tuple[Sharer, ...]:
    """Read sharers.json of a task's folder.

    Raises:
        PerpcsError: when it is missing or damaged.
    """
    found = read_record(folder / "sharers.json", tuple[Sharer, ...], "The pool's sharers.json", _AGAIN)
    _all_different("sharer", (sharer.id for sharer in found))
    return found


_Fields = dict[Name, Text | int | None]
"""An item as releases have it: its fields depend on the task."""


@dataclass(frozen=True)
class _QueryRow(Record):
    input: Text
    id: Name
    gold: Text | None = None


@dataclass(frozen=True)
class _ExampleRow(Record):
    user_id: FileName
    """It is also the name of a file."""
    description: Text
    profile: Annotated[tuple[_Fields, ...], Field(max_length=10_000)]
    query: Annotated[tuple[_QueryRow, ...], Field(max_length=10_000)]
    traits: Facts
    name: Name = ""


def read_examples(folder: Path) -> tuple[Example, ...]:
    """Read examples.json of a task's folder; a pool without examples has none.

    Raises:
        PerpcsError: when it is damaged.
    """
    if not (folder / "examples.json").exists():
        return ()
    task = get_task(folder.name)
    rows = read_record(folder / "examples.json", tuple[_ExampleRow, ...], "The pool's examples.json", _AGAIN)
    _all_different("example person", (row.user_id for row in rows))
    return tuple(
        Example(
            id=row.user_id,
            description=row.description,
            history=tuple(task.read_item(fields) for fields in row.profile),
            queries=tuple(task.read_query(query.input, query.gold, query.id) for query in row.query),
            traits=row.traits,
            name=row.name,
        )
        for row in rows
    )


# ---- the map of candidates -------------------------------------------------------------------------------------------


STRATEGIES: dict[str, str] = {
    "cluster": "History cluster",
    "profile": "Profile cluster",
    "active": "Most active",
    "random": "Random",
}
"""Rules by which candidates become sharers (paper, section 5)."""
_SEED = 0


@dataclass(frozen=True)
class Candidates:
    """C candidates, S of whom share."""

    xy: np.ndarray
    """Places within -1..1, (C, 2)."""
    clusters: np.ndarray
    """(C,)."""
    items: np.ndarray
    """How many items each wrote, (C,)."""
    sharers: np.ndarray
    """The candidate index of each sharer, (S,)."""
    by_profile: np.ndarray | None = None
    """Who would be selected by profile cluster; None if the pool does not say."""
    whole: bool = True
    """False if the pool stores no map, so that only its sharers are known."""


@dataclass(frozen=True)
class _Map(Record):
    """map.json."""

    xy: tuple[tuple[float, float], ...]
    clusters: tuple[Count, ...]
    items: tuple[Count, ...]
    by_profile: tuple[Count, ...] = ()


def read_candidates(path: Path, sharers: Sequence[Sharer], guests: Collection[str] = ()) -> Candidates:
    """Read map.json, and find the sharers in it.

    Args:
        guests: ids of sharers who joined after the map was made; they stand on it at the place of their record.

    Raises:
        PerpcsError: when it is damaged, or a sharer is not in it.
    """
    data = read_record(path, _Map, "The pool's map.json", "Fetch or build the pool again.")
    try:
        xy = np.asarray(data.xy, dtype=np.float64).reshape(-1, 2)
        clusters, items = (np.asarray(of, dtype=np.int64) for of in (data.clusters, data.items))
        if not len(xy) == len(clusters) == len(items):
            raise ValueError("the lists have different lengths")
        by_profile = np.asarray(data.by_profile, dtype=np.int64)
        if not np.isin(by_profile, np.arange(len(xy))).all():
            raise ValueError("by_profile names nobody of the map")
        joined = [sharer for sharer in sharers if sharer.id in guests]
        found = np.array(
            [
                len(xy) + joined.index(sharer) if sharer in joined else _find(sharer, xy, clusters, items)
                for sharer in sharers
            ]
        )
        if joined:
            xy = np.concatenate([xy, [sharer.xy for sharer in joined]])
            clusters = np.append(clusters, [sharer.cluster for sharer in joined])
            items = np.append(items, [sharer.items for sharer in joined])
        return Candidates(xy, clusters, items, found, by_profile if len(by_profile) else None)
    except ValueError as error:
        raise PerpcsError("The pool's map.json does not fit its sharers.", "Fetch or build the pool again.") from error


def _find(sharer: Sharer, xy: np.ndarray, clusters: np.ndarray, items: np.ndarray) -> int:
    """The candidate of a sharer's cluster and number of items who stands nearest to the sharer's place."""
    far = np.abs(xy - np.asarray(sharer.xy)).sum(axis=1)
    far[(clusters != sharer.cluster) | (items != sharer.items)] = np.inf
    found = int(np.argmin(far))
    if not far[found] < 1e-3:
        raise ValueError(f"{sharer.id} is not on the map")
    return found


def only_sharers(sharers: Sequence[Sharer]) -> Candidates:
    """A map of a pool that stores none: its sharers, who are all that is known."""
    return Candidates(
        np.array([sharer.xy for sharer in sharers], dtype=np.float64).reshape(-1, 2),
        np.array([sharer.cluster for sharer in sharers]),
        np.array([sharer.items for sharer in sharers]),
        np.arange(len(sharers)),
        whole=False,
    )


def would_share(candidates: Candidates, strategy: str) -> np.ndarray | None:
    """Who would share by a rule, as many as share now: candidates' numbers, ascending; None where nothing that the
    pool stores tells. Ties take the earlier candidate; random is drawn once, the same for everybody.
    """
    count = len(candidates.sharers)
    if strategy == "cluster":
        return np.sort(candidates.sharers)
    if not candidates.whole:
        return None
    if strategy == "profile":
        return None if candidates.by_profile is None else np.sort(candidates.by_profile)
    if strategy == "active":
        return np.sort(np.argsort(-candidates.items, kind="stable")[:count])
    return np.sort(np.random.default_rng(_SEED).permutation(len(candidates.items))[:count])


NEIGHBOURS = 5


def place_among(candidates: Candidates, closeness: np.ndarray) -> tuple[float, float] | None:
    """The place of somebody who is this close to each sharer, (S,): the mean place of the closest few, each counting by
    how much closer it is than the next one after them. None where nobody is closer than anybody else.
    """
    count = len(closeness)
    order = np.argsort(-closeness, kind="stable")[:NEIGHBOURS]
    least = float(np.sort(closeness)[-NEIGHBOURS - 1]) if count > NEIGHBOURS else min(0.0, float(closeness.min()))
    weight = closeness[order] - least
    if not float(weight.sum()) > 1e-9:
        return None
    x, y = (weight[:, None] * candidates.xy[candidates.sharers[order]]).sum(axis=0) / weight.sum()
    return float(x), float(y)
