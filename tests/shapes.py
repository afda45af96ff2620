"""Shapes that annotations state, checked at every call while tests run.

    def moved(before: Annotated[np.ndarray, "P S"], after: Annotated[np.ndarray, "P S"]) -> Annotated[np.ndarray, "P"]

A name is one size for all arrays of a call, a number is itself, and ``...`` at the front is any sizes. Of a tuple every
part is checked; None has no shape. The package needs none of this: its annotations are Python's own.
"""

import inspect
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from importlib.abc import MetaPathFinder
from importlib.util import find_spec
from types import FunctionType, ModuleType, UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

MODULES = (
    *("perpcs.model.basis", "perpcs.model.likelihood"),
    *("perpcs.assembly.activations", "perpcs.assembly.descent", "perpcs.assembly.explain"),
)
CHECKED: set[str] = set()
"""Names of the functions whose calls are checked."""


class WrongShape(AssertionError):
    """An array does not have the shape that its annotation states."""


def fit(value: Any, hint: Any, sizes: dict[str, int], where: str) -> None:
    """Compare a value with its annotation; ``sizes`` are those of the names that were met in this call."""
    if get_origin(hint) is Annotated and hasattr(value, "shape"):
        wanted, shape = str(hint.__metadata__[0]).split(), tuple(value.shape)
        if wanted[:1] == ["..."]:
            wanted = wanted[1:]
            shape = shape[len(shape) - len(wanted) :] if len(shape) >= len(wanted) else shape
        same = len(wanted) == len(shape)
        for name, size in zip(wanted, shape, strict=False):
            same &= size == (int(name) if name.isdecimal() else sizes.setdefault(name, size))
        if not same:
            raise WrongShape(f"{where} has the shape {tuple(value.shape)}, not {hint.__metadata__[0]!r} with {sizes}")
    elif get_origin(hint) is tuple and isinstance(value, tuple):
        for part, inner in zip(value, get_args(hint), strict=True):
            fit(part, inner, sizes, where)


def _states_shapes(hint: Any) -> bool:
    inner = get_args(hint) if get_origin(hint) in (tuple, UnionType) else ()
    return get_origin(hint) is Annotated or any(map(_states_shapes, inner))


def _without_none(hint: Any) -> Any:
    parts = [part for part in get_args(hint) if part is not type(None)] if get_origin(hint) is UnionType else []
    return parts[0] if len(parts) == 1 else hint


def checked(function: Callable[..., Any], within: ModuleType) -> Callable[..., Any]:
    """The function with its shapes checked at every call; itself where it states none."""
    plain = inspect.unwrap(function)
    if not any(isinstance(note, str) or "Annotated" in repr(note) for note in plain.__annotations__.values()):
        return function
    hints = {
        name: _without_none(hint) for name, hint in get_type_hints(plain, vars(within), include_extras=True).items()
    }
    if not any(map(_states_shapes, hints.values())):
        return function
    signature, name = inspect.signature(plain), f"{within.__name__}.{plain.__qualname__}"
    CHECKED.add(name)

    @wraps(function)
    def call(*given: Any, **named: Any) -> Any:
        sizes: dict[str, int] = {}
        for argument, value in signature.bind(*given, **named).arguments.items():
            fit(value, hints.get(argument), sizes, f"{argument} of {name}")
        found = function(*given, **named)
        fit(found, hints.get("return"), sizes, f"What {name} returns")
        return found

    return call


def check_module(module: ModuleType) -> None:
    """Replace what a module defines by functions and methods that check shapes."""
    for name, value in list(vars(module).items()):
        if isinstance(value, FunctionType) and inspect.unwrap(value).__module__ == module.__name__:
            setattr(module, name, checked(value, module))
        elif isinstance(value, type) and value.__module__ == module.__name__:
            for inner, method in list(vars(value).items()):
                if isinstance(method, FunctionType) and method.__module__ == module.__name__:
                    setattr(value, inner, checked(method, module))


class Finder(MetaPathFinder):
    """Checks the modules once they have been imported, by whoever needs them first."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        if name not in MODULES:
            return None
        sys.meta_path.remove(self)
        try:
            spec = find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        assert spec is not None
        assert spec.loader is not None
        run = spec.loader.exec_module

        def run_and_check(module: ModuleType) -> None:
            run(module)
            check_module(module)

        spec.loader.exec_module = run_and_check  # type: ignore[method-assign]
        return spec
