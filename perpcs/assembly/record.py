"""The Assembly: a person's weights, and the record of how they were computed.

It holds numbers only, never text, and needs no model to be looked at: figures, the app and the command line read it as
it is. On disk it is one JSON file of a few KB; arrays are zlib-compressed, base64 little-endian, so that saving and
loading give the same bytes.

Weights are kept in bytes, one byte a weight, and one half float for all of them:

    w_ps = step * q_ps      q in 0..255, or in -127..127 where some weight is below 0;   step = max |w| / 255 or / 127

Zero stays zero, so a piece that was not chosen costs nothing at answering. Weights are rounded when a person is
assembled, so whatever is measured, shown, saved or exported is what a byte a weight gives back.

A person can be moved to another version of their pool, in which sharers came or went. No model is run.

When a sharer leaves, their weight goes to the other sharers at each position (``Assembly.without_sharers``) and their
column is removed. A sharer who joins gets a column of zeros and is listed in the router's option ``without``. So the
record describes the same history in the new pool without the newcomer; a new assembly with that option gives it again.

``made_by`` names the way in which weights were found, the same on cards, pages and figures:

newton, the default   Per-Pcs + Newton weights
from the gates        Per-Pcs + Newton weights from the gates
the preset paper      Per-Pcs (gates, as published)
gate                  Per-Pcs (distilled gates)
any other             Per-Pcs (fit)
"""

import base64
import hashlib
import json
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field

from perpcs.assembly.router import item_shares, item_weights
from perpcs.assembly.routers import PRESETS, ROUTERS, decided_by, flat_options
from perpcs.errors import PerpcsError
from perpcs.files import read_regular, write_atomic
from perpcs.schema import Count, Facts, Name, Record, adapter

# ---- weights in bytes ------------------------------------------------------------------------------------------------


_STEP = np.dtype("<f2")


def rounded(weights: np.ndarray) -> np.ndarray:
    """The weights (P, S) as a byte each gives them back, float32."""
    return unpack_weights(pack_weights(weights), weights.shape)


def pack_weights(weights: np.ndarray) -> bytes:
    """Weights (P, S) in ``quantised_size`` bytes: the step, below 0 where weights are, and then a byte each."""
    signed = bool((weights < 0).any())
    most = 127 if signed else 255
    step = _STEP.type(np.abs(weights).max(initial=0) / most)
    if step == 0:  # nothing, or less than a half float can tell from nothing
        return _STEP.type(0).tobytes() + bytes(weights.size)
    units = np.rint(weights / np.float32(step)).clip(-most if signed else 0, most)
    return _STEP.type(-step if signed else step).tobytes() + units.astype(np.int8 if signed else np.uint8).tobytes()


def unpack_weights(raw: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Weights that ``pack_weights`` packed, float32."""
    step = np.frombuffer(raw, _STEP, count=1)[0]
    units = np.frombuffer(raw, np.int8 if step < 0 else np.uint8, offset=_STEP.itemsize)
    return np.abs(np.float32(step)) * units.reshape(shape).astype(np.float32)


def quantised_size(weights: int) -> int:
    """Bytes that so many weights take."""
    return _STEP.itemsize + weights


# ---- the record ------------------------------------------------------------------------------------------------------


SCHEMA = 1
_NO_SHARER = -1
_MOST_HALF_LIFE = 1_000_000


def _routing(router: dict[str, Any]) -> dict[str, Any]:
    """Options are flat, and those that a record itself computes with are what they must be."""
    half_life = router.get("half_life", 0)
    if not (type(half_life) is int and 0 <= half_life <= _MOST_HALF_LIFE and isinstance(router.get("router", ""), str)):
        raise ValueError("is no routing")
    for value in router.values():
        flat = all(isinstance(one, str) for one in value) if isinstance(value, list) else not isinstance(value, dict)
        if not flat:
            raise ValueError("is no routing")
    return router


def _extra(extra: dict[str, Any]) -> dict[str, Any]:
    """What this program reads of a record's notes is of the type that it reads."""
    without, numbers = extra.get("without", []), [extra.get(name, 0.0) for name in ("length", "damping", "gates")]
    if not isinstance(without, list) or not all(isinstance(id, str) for id in without):
        raise ValueError("names nobody")
    if not all(isinstance(number, int | float) and type(number) is not bool for number in numbers):
        raise ValueError("holds no number")
    return extra


@dataclass(frozen=True)
class Assembly:
    """A person assembled from a pool. P positions, S sharers, N history items, k pieces chosen for an item.

    ``choices`` and ``votes`` hold -1 and 0 where an item chose fewer than k pieces.
    """

    weights: np.ndarray
    """Weight of each piece, float32 (P, S): the mean over the items, or what the loss or a likeness decided."""
    scores: np.ndarray
    """Mean score of each piece over the items, float32 (P, S)."""
    choices: np.ndarray
    """Sharer indices each item chose, best first, int16 (N, P, k)."""
    votes: np.ndarray
    """The weight of each choice, float16 (N, P, k)."""
    task: str
    positions: tuple[str, ...]
    """Label of each position, for example ``layer 3, v_proj``."""
    sharers: tuple[str, ...]
    pool: str
    """Name of the pool."""
    pool_hash: str
    router: dict[str, Any]
    """Router and selector with every option, as it was run."""
    tokens: int = 0
    """Tokens read."""
    seconds: float = 0.0
    cut_items: int = 0
    """Items whose beginning was cut because they were longer than the model can read."""
    user: str = "me"
    own: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float16))
    """A rank-1 piece of the person's own, float16, flat: A (n) then B (d), position by position; empty without one."""
    extra: dict[str, Any] = field(default_factory=dict)

    # ---- what follows from the stored numbers, without a model ---------------------------------------------------

    @property
    def n_items(self) -> int:
        return int(self.choices.shape[0])

    @property
    def kept_bytes(self) -> int:
        """What has to be kept to answer as this person: a byte a weight, and the own piece as half floats."""
        return quantised_size(self.weights.size) + 2 * self.own.size

    def is_exportable(self, kind: str) -> bool:
        """Whether there is something to export, and peft has what pools of this kind of pieces are made of."""
        some = bool(self.weights.any() or self.own.size)
        return some and (kind == "lora" or (kind == "ia3" and not self.own.size))

    @property
    def fingerprint(self) -> str:
        """A short hash of the numbers: equal for the same person read twice, whatever made the run slower or faster."""
        arrays = (self.weights, self.choices, self.votes, self.own)
        return hashlib.sha256(b"|".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()[:16]

    @property
    def additive(self) -> bool:
        """Whether the weights are the mean of the items' votes. Where the loss decided, votes only say who gains; where
        the model was not run there are none.
        """
        return self.decided_by == "votes"

    @property
    def decided_by(self) -> str:
        """What made the weights: ``votes``, ``loss``, or the ``router`` alone, without a pass of the model."""
        return decided_by(str(self.router.get("router")))

    def item_shares(self) -> np.ndarray:
        """How much each item counts, oldest first, (N,); they add up to 1."""
        return item_shares(self.n_items, int(self.router.get("half_life", 0)))

    def item_weights(self) -> np.ndarray:
        """Every item's own weights, float32 (N, P, S): what the mean is the mean of."""
        return item_weights(self.choices, self.votes, len(self.sharers))

    def without_item(self, index: int) -> np.ndarray:
        """The weights (P, S) if one history item is left out."""
        kept = np.delete(self.item_weights(), index, axis=0)
        shares = item_shares(len(kept), int(self.router.get("half_life", 0)))
        return np.tensordot(shares.astype(np.float32), kept, axes=1)

    def without_sharers(self, ids: Iterable[str]) -> "Assembly":
        """The person after sharers withdraw: their weight at a position goes to the other sharers there, in proportion.
        A position without other sharers falls back to the base model.
        """
        gone = set(ids)
        stay = np.array([sharer not in gone for sharer in self.sharers])
        size = np.abs(self.weights)
        total, left = size.sum(axis=1, keepdims=True), (size * stay).sum(axis=1, keepdims=True)
        grown = np.divide(total, left, out=np.zeros_like(total), where=left > 0)
        lost = ~stay[self.choices]  # -1, nobody, names the last sharer: nothing changes there, its vote is 0
        return replace(
            self,
            weights=self.weights * stay * grown,
            choices=np.where(lost, np.int16(_NO_SHARER), self.choices),
            votes=np.where(lost, np.float16(0), self.votes),
            extra={**self.extra, "without": sorted({*self.extra.get("without", ()), *(gone & set(self.sharers))})},
        )

    def effective_sharers(self) -> np.ndarray:
        """exp of the entropy of each position's weights, (P,): 1 = one sharer holds all, S = all alike, 0 = none.

        Here and below a weight under 0 counts by its size.
        """
        size = np.abs(self.weights)
        total = size.sum(axis=1, keepdims=True)
        share = np.divide(size, total, out=np.zeros_like(size), where=total > 0)
        logs = np.log(share, out=np.zeros_like(share), where=share > 0)
        return np.where(total[:, 0] > 0, np.exp(-(share * logs).sum(axis=1)), 0.0)

    def top_share(self) -> np.ndarray:
        """Largest weight over the sum of weights at each position, (P,)."""
        size = np.abs(self.weights)
        total = size.sum(axis=1)
        return np.divide(size.max(axis=1), total, out=np.zeros_like(total), where=total > 0)

    def distinct_sharers(self) -> int:
        """How many sharers hold any weight anywhere."""
        return int((self.weights != 0).any(axis=0).sum())

    def top_sharers(self, count: int = 5) -> list[tuple[str, float]]:
        """Sharers by their share of all weight, largest first."""
        size = np.abs(self.weights)
        share = size.sum(axis=0) / (float(size.sum()) or 1.0)
        order = np.argsort(-share, kind="stable")[:count]
        return [(self.sharers[i], float(share[i])) for i in order if share[i] > 0]

    # ---- on disk --------------------------------------------------------------------------------------------------

    def to_json(self) -> str:
        """The record as JSON text; equal records give equal text."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in _ARRAYS}
        arrays = {
            name: _pack(getattr(self, name), dtype)
            for name, dtype in _ARRAYS.items()
            if name not in _OPTIONAL or getattr(self, name).size
        }
        return json.dumps({"kind": KIND, "schema": SCHEMA, **values, "arrays": arrays}, indent=1, sort_keys=True)

    def save(self, path: Path) -> int:
        """Write the record to ``path`` whole or not at all; returns the size in bytes."""
        data = (self.to_json() + "\n").encode()
        write_atomic(path, data)
        return len(data)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Assembly":
        """Read a record back, whoever wrote it.

        Raises:
            PerpcsError: when the text is no assembly, is damaged, or is of a newer schema.
        """
        try:
            if len(text) > _MOST_BYTES:
                raise PerpcsError("This file is too large for a saved person.", _SAVED)
            head = json.loads(text)
            if not isinstance(head, dict) or head.get("kind") != KIND:
                raise PerpcsError("This file is not a saved person.", _SAVED)
            if head.get("schema") != SCHEMA:
                raise PerpcsError(f"This person was saved with another schema than {SCHEMA}.", _AGAIN)
            saved: _Saved = adapter(_Saved).validate_json(text)
            values = {field.name: getattr(saved, field.name) for field in fields(saved)}
            for name in ("kind", "schema", "arrays"):
                del values[name]
            record = cls(**values | saved.arrays.unpacked(len(saved.positions), len(saved.sharers)))
            record._check()
        except (ValueError, OverflowError, zlib.error, RecursionError) as error:
            raise PerpcsError("The saved person is damaged and cannot be read.", _AGAIN) from error
        return record

    @classmethod
    def load(cls, path: Path) -> "Assembly":
        """Read a record from a file.

        Raises:
            PerpcsError: when the file cannot be read or is no assembly.
        """
        try:
            text = read_regular(Path(path), _MOST_BYTES)
        except OSError as error:
            raise PerpcsError(
                f"Cannot read {path}: {error.strerror}.", "Check the path of the saved person."
            ) from error
        return cls.from_json(text)

    def _check(self) -> None:
        """Values that every use relies on; a ValueError becomes the "damaged" sentence."""
        s = len(self.sharers)
        if len(set(self.sharers)) != s or len(set(self.positions)) != len(self.positions):
            raise ValueError("a sharer or position is named twice")
        if self.choices.size and not (self.choices.min() >= _NO_SHARER and self.choices.max() < s):
            raise ValueError("a choice names no sharer")
        if not all(np.isfinite(array).all() for array in (self.weights, self.scores, self.votes, self.own)):
            raise ValueError("a number is not finite")


KIND = "perpcs-assembly"
_AGAIN, _SAVED = "Save the person again and use that file.", "Choose a file that Per-Pcs Studio saved."
_MOST_BYTES = 16_000_000
_MOST_ITEMS = 10_000
_MOST_ELEMENTS = 50_000_000
"""Of an array, and of what is made of them: every item's own weights, (N, P, S)."""
_ARRAYS = {"weights": "<f4", "scores": "<f4", "choices": "<i2", "votes": "<f2", "own": "<f2"}
_OPTIONAL = ("own",)


@dataclass(frozen=True)
class _Packed(Record):
    """An array on disk."""

    shape: Annotated[tuple[Annotated[int, Field(ge=0, le=_MOST_ELEMENTS)], ...], Field(max_length=3)]
    zlib: str

    def unpacked(self, dtype: str, *shape: int | None) -> np.ndarray:
        """The array, whose shape was known before: None stands for any length. A ValueError if it is another."""
        if len(self.shape) != len(shape) or any(b not in (None, a) for a, b in zip(self.shape, shape, strict=True)):
            raise ValueError("an array has the wrong shape")
        size = math.prod(self.shape)
        if size > _MOST_ELEMENTS:
            raise ValueError("an array is too large")
        expected = size * np.dtype(dtype).itemsize
        unpacker = zlib.decompressobj()
        raw = unpacker.decompress(base64.b64decode(self.zlib, validate=True), expected + 1)  # no zip bombs
        if len(raw) != expected:
            raise ValueError("an array has the wrong length")
        return np.frombuffer(raw, dtype=dtype).reshape(self.shape)


@dataclass(frozen=True)
class _Arrays(Record):
    weights: _Packed
    scores: _Packed
    choices: _Packed
    votes: _Packed
    own: _Packed | None = None

    def unpacked(self, p: int, s: int) -> dict[str, np.ndarray]:
        """All arrays of a record with p positions and s sharers."""
        if len(self.choices.shape) != 3:
            raise ValueError("choices have the wrong shape")
        items, _, k = self.choices.shape
        if items > _MOST_ITEMS or k > max(s, 1) or items * p * s > _MOST_ELEMENTS:
            raise ValueError("more items or choices than there can be")
        shapes: dict[str, tuple[int | None, ...]] = {
            "weights": (p, s),
            "scores": (p, s),
            "own": (None,),
            "choices": (items, p, k),
            "votes": (items, p, k),
        }
        packed = {name: getattr(self, name) for name in _ARRAYS}
        return {name: one.unpacked(_ARRAYS[name], *shapes[name]) for name, one in packed.items() if one is not None}


@dataclass(frozen=True)
class _Saved(Record):
    """The file of a person."""

    kind: Literal["perpcs-assembly"]
    schema: int
    arrays: _Arrays
    task: Name
    positions: Annotated[tuple[Name, ...], Field(max_length=4096)]
    sharers: Annotated[tuple[Name, ...], Field(max_length=32_767)]
    pool: Name
    pool_hash: Name
    router: Annotated[Facts, AfterValidator(_routing)]
    tokens: Count
    seconds: Annotated[float, Field(ge=0)]
    cut_items: Count
    user: Name
    extra: Annotated[Facts, AfterValidator(_extra)] = field(default_factory=dict)


def _pack(array: np.ndarray, dtype: str) -> dict[str, Any]:
    raw = np.ascontiguousarray(array.astype(dtype)).tobytes()
    return {"shape": list(array.shape), "zlib": base64.b64encode(zlib.compress(raw, 9)).decode()}


# ---- another version of the pool -------------------------------------------------------------------------------------


def migrated(assembly: Assembly, sharers: Sequence[str], pool: str, pool_hash: str) -> Assembly:
    """The person as an assembly of a pool that has these sharers, in this order.

    Args:
        sharers: ids of the new pool's sharers for the person's task.
        pool: the new pool's name.
        pool_hash: the new pool's hash.
    """
    old = {id: column for column, id in enumerate(assembly.sharers)}
    gone = [id for id in assembly.sharers if id not in sharers]
    came = [id for id in sharers if id not in old]
    used = [id for id in gone if assembly.weights[:, old[id]].any() or (assembly.choices == old[id]).any()]
    stayed = assembly.without_sharers(used) if used else assembly
    columns = np.array([old.get(id, len(old)) for id in sharers], dtype=np.int64)  # len(old): a column of zeros
    place = np.full(len(old) + 1, -1, dtype=np.int16)  # where each old column stands now; -1, nobody, stays nobody
    for new, column in enumerate(columns):
        if column < len(old):
            place[column] = new

    def moved(table: np.ndarray) -> np.ndarray:
        return np.pad(table, ((0, 0), (0, 1)))[:, columns]

    without = [id for id in assembly.router.get("without", ()) if id not in gone]
    return replace(
        stayed,
        weights=moved(stayed.weights),
        scores=moved(stayed.scores),
        choices=place[stayed.choices.astype(np.int64)],
        sharers=tuple(sharers),
        pool=pool,
        pool_hash=pool_hash,
        router={**assembly.router, "without": [*without, *came]} if without or came or gone else assembly.router,
    )


# ---- names of routers ------------------------------------------------------------------------------------------------


_PRESET_NAMES = {
    "from_base": "Newton weights from the base model",
    "paper": "gates, as published",
    "reference_code": "gates, as in the released code",
}
DEFAULT = PRESETS["default"].name
_FREE = ("share_ratio", "without", "seed", "half_life")
"""Options that may differ from a preset's without making it another method."""


def short_name(detail: str) -> str:
    """``fit``, ``Newton weights``, ``gates, as published``; the empty string is the default."""
    detail = detail or DEFAULT
    return ROUTERS[detail].short if detail in ROUTERS else _PRESET_NAMES.get(detail, detail)


def router_name(detail: str) -> str:
    """``Per-Pcs (fit)``, ``Per-Pcs + Newton weights``; the empty string is the default."""
    short = short_name(detail)
    return f"Per-Pcs + {short}" if (detail or DEFAULT) in ("newton", "from_base") else f"Per-Pcs ({short})"


def made_by(router: Mapping[str, Any]) -> str:
    """The name of the method that a record was assembled with.

    Args:
        router: ``Assembly.router``, every option as it was run.
    """
    kind = str(router.get("router", DEFAULT))
    if kind == "newton" and router.get("start") == "base":
        return router_name("from_base")
    if kind != "gate" or router.get("gates", "distilled") != "trained":
        return router_name(kind)
    for name in ("paper", "reference_code"):
        wanted = {key: value for key, value in flat_options(PRESETS[name]).items() if key not in _FREE}
        if all(router.get(key, value) == value for key, value in wanted.items()):
            return router_name(name)
    return "Per-Pcs (trained gates)"
