"""Reading safetensors that a stranger may have made: their header first, and nothing of a size that it does not have.

A header says the name, form and shape of every tensor and cannot claim more bytes than the file holds; so what passes
``expect`` takes no more memory than the file, however large the shapes are that a manifest names.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from perpcs.errors import PerpcsError
from perpcs.pool.hypernet import Form

_AGAIN = "Fetch or build the pool again."
_SHOWN = 80


def header(path: Path, called: str) -> dict[str, Form]:
    """Form and shape of every tensor of a file; none of them is read.

    Raises:
        PerpcsError: when it is no safetensors file.
    """
    try:
        with safe_open(path, "np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - the handle is no dict
            return {name: (str(one.get_dtype()), tuple(one.get_shape())) for name, one in slices.items()}
    except (SafetensorError, OSError) as error:
        raise PerpcsError(f"{called} is damaged.", _AGAIN) from error


def expect(path: Path, called: str, wanted: Mapping[str, Form]) -> None:
    """Make sure that a file holds these tensors and no others.

    Raises:
        PerpcsError: naming the first that is not as wanted.
    """
    found = header(path, called)
    for name, form in wanted.items():
        if found.get(name) != form:
            has = f"has {_said(found[name])} at {name}" if name in found else f"has no {name}"
            raise PerpcsError(f"{called} {has}, and {_said(form)} belongs there.", _AGAIN)
    if strange := sorted(set(found) - set(wanted)):
        raise PerpcsError(f"{called} holds {strange[0][:_SHOWN]!r}, which no pool needs.", _AGAIN)


def _said(form: Form) -> str:
    return f"{form[0]} {' x '.join(map(str, form[1]))}"[:_SHOWN]


def read_finite(path: Path, called: str) -> dict[str, Tensor]:
    """All tensors of a file whose header was found right.

    Raises:
        PerpcsError: when a number is not finite, or the file is damaged.
    """
    try:
        found = load_file(path)
    except (SafetensorError, OSError) as error:
        raise PerpcsError(f"{called} is damaged.", _AGAIN) from error
    for name, tensor in found.items():
        if not is_finite(tensor):
            raise PerpcsError(f"{called} holds a number that is not finite, in {name[:_SHOWN]}.", _AGAIN)
    return found


def is_finite(tensor: Tensor) -> bool:
    """Whether every number is finite."""
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def numbers(forms: Mapping[str, Form]) -> int:
    """How many numbers there are in all tensors together."""
    return sum(math.prod(shape) for _, shape in forms.values())
