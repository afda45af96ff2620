"""Records that anybody may have written, read from JSON: a dataclass's annotations say what each field may hold.

Every value is checked for its type as it stands (a number in quotes is no number), for being finite, and against the
bounds below. A field that is unknown is refused.

``Position``, one adapted linear layer of a base model, is known to the model, the pool and every record.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from perpcs.errors import PerpcsError
from perpcs.files import plain_name, read_regular

# ---- records ---------------------------------------------------------------------------------------------------------


T = TypeVar("T")

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Record:
    """What a dataclass inherits whose JSON is read strictly."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT


def _checked(holds: Callable[[Any], bool], words: str) -> AfterValidator:
    def check(value: Any) -> Any:
        if not holds(value):
            raise ValueError(words)
        return value

    return AfterValidator(check)


def _plain(value: Any) -> bool:
    """Whether free facts hold nothing that a page cannot show: numbers are finite, texts and lists not endless."""
    match value:
        case bool() | None:
            return True
        case int() | float():
            return abs(value) < 1e18 and math.isfinite(value)
        case str():
            return len(value) <= 20_000
        case list():
            return len(value) <= 100_000 and all(map(_plain, value))
        case dict():
            return len(value) <= 10_000 and all(len(key) <= 200 and _plain(one) for key, one in value.items())
    return False


LONGEST_NAME = 200
Name = Annotated[str, Field(max_length=LONGEST_NAME)]
"""An id, or what something is called."""
Text = Annotated[str, Field(max_length=20_000)]
Count = Annotated[int, Field(ge=0, le=10**9)]
Size = Annotated[int, Field(ge=1, le=2**20)]
"""A length of a tensor."""
Rate = Annotated[float, Field(ge=0, le=1e6)]
Sha = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, _checked(plain_name, "is no plain name of a file")]
Facts = Annotated[dict[str, Any], _checked(_plain, "holds what is too large or not finite")]
"""Free facts: JSON of any shape."""

MOST_BYTES = 64_000_000
"""Of a JSON file."""


def adapter(kind: Any) -> TypeAdapter[Any]:
    """What checks values of a type; made once."""
    return _adapter(kind)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def first_fault(error: ValidationError) -> str:
    """Where the first wrong value stands and what is wrong with it, without the value, which may be anything."""
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part)[:40] for part in fault["loc"][:6])
    return f"{place}: {fault['msg']}" if place else str(fault["msg"])


def read_record(path: Path, kind: type[T], what: str, do: str, most: int = MOST_BYTES) -> T:
    """A JSON file as a value of a type.

    Args:
        what: how an error's sentence calls the file.
        do: what to do then.

    Raises:
        PerpcsError: when the file is missing, no regular file, too large, or not what the type says.
    """
    try:
        found: T = adapter(kind).validate_json(read_regular(path, most))
        return found
    except FileNotFoundError as error:
        raise PerpcsError(f"There is no {what}.", do) from error
    except OSError as error:
        raise PerpcsError(f"{what} cannot be read: {error.strerror}.", do) from error
    except ValidationError as error:
        raise PerpcsError(f"{what} is not what it should be: {first_fault(error)}.", do) from error


def as_record(value: Any, kind: type[T], what: str, do: str) -> T:
    """The same for a value that was read from JSON before."""
    try:
        found: T = adapter(kind).validate_json(json.dumps(value))
        return found
    except ValidationError as error:
        raise PerpcsError(f"{what} is not what it should be: {first_fault(error)}.", do) from error


# ---- positions -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Position(Record):
    """One adapted linear layer: n inputs, d outputs."""

    layer: Count
    module: Name
    path: Name
    """Dotted name of the module inside the base model."""
    n: Size
    d: Size

    @property
    def label(self) -> str:
        return f"layer {self.layer}, {self.module}"


Kind = Literal["lora", "ia3", "adapter", "prefix"]
PIECE_KINDS: tuple[Kind, ...] = get_args(Kind)
"""What a piece may be: a low-rank product, a scaling vector of the layer's output, a bottleneck adapter after the
layer, or a prefix of the attention before it."""
MODULES_OF = {"adapter": ("o_proj", "down_proj"), "prefix": ("o_proj",)}
"""Where pieces of a kind stand where nothing else is said; the others stand at the attention projections."""


def piece_shape(kind: str, rank: int, position: Position, keys: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Shapes of A and B of one piece.

    Args:
        rank: of a low-rank product, width of a bottleneck, tokens of a prefix.
        keys: numbers of one token's keys; only prefixes need them.
    """
    n, d = position.n, position.d
    return {
        "lora": ((rank, n), (d, rank)),
        "ia3": ((0, n), (d, rank)),
        "adapter": ((rank, d), (d, rank)),
        "prefix": ((rank, keys), (keys, rank)),
    }[kind]
