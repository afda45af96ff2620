"""The registry of routers, one line each, the presets, and routers from flat options.

A new router is a file in this folder, a frozen dataclass whose fields are its options (``router.py`` says what it
needs), and a line in the tuple below. Flags of the command line and controls of the app follow from its fields.

Presets: ``paper`` follows section 2.5 of Per-Pcs exactly, ``reference_code`` the scoring of its released code
(layer norm, dot / sqrt(n), mean over tokens), ``default`` is the one that measured best (docs/LOG.md), and
``from_base`` the same step, always from the base model.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal, get_args, get_origin

from perpcs.assembly.router import Router, check_option, default_of, option_docs, option_names, option_types
from perpcs.assembly.routers.arrow import Arrow
from perpcs.assembly.routers.fit import Fit, FitOwn
from perpcs.assembly.routers.gate import Gate
from perpcs.assembly.routers.gradient import Gradient
from perpcs.assembly.routers.model_free import Random, Retrieval, Uniform
from perpcs.assembly.routers.newton import Newton
from perpcs.assembly.routers.prototype import Prototype
from perpcs.errors import PerpcsError, unknown

_ALL: tuple[type[Router], ...] = (
    Newton,
    Gate,
    Prototype,
    Arrow,
    Gradient,
    Fit,
    FitOwn,
    Retrieval,
    Uniform,
    Random,
)
ROUTERS: dict[str, type[Router]] = {kind.name: kind for kind in _ALL}
_ROUTER_HELP = (
    "How the weights are found. From the loss: one damped Gauss-Newton step on the weights (newton), the gradient "
    "with respect to each weight (gradient), or some steps of gradient descent on the weights (fit), then also on a "
    "rank-1 piece of your own (fit+own). From activations: compare those of the target tokens with each piece's gate,"
    " with its owner's mean activation (prototype), or with the direction the piece amplifies most (arrow). Without "
    "the model: whole sharers with similar histories (retrieval), or as controls all pieces equally (uniform) or at "
    "random."
)

PRESETS: dict[str, Router] = {
    "default": Newton(),
    "from_base": Newton(start="base"),
    "paper": Gate(
        gates="trained",
        normalise="cosine",
        centre=False,
        standardise=False,
        reduce="sum",
        sqrt_n=True,
        temperature=1.0,
    ),
    "reference_code": Gate(
        gates="trained",
        normalise="layernorm",
        centre=False,
        standardise=False,
        reduce="mean",
        temperature=1.0,
    ),
}


def make_router(router: str = PRESETS["default"].name, **options: Any) -> Router:
    """A router by its name, with the options that it has; those that only others have are checked and left out.

    So a flat record of options makes a router, whatever else it holds: a person saved by an older version, or the
    flags of the command line.

    Raises:
        PerpcsError: for an unknown router or option, or a value out of range.
    """
    if not isinstance(router, str) or router not in ROUTERS:
        raise PerpcsError(f"router is {router!r}.", f"Use one of: {', '.join(ROUTERS)}.")
    kind = ROUTERS[router]
    for name, value in options.items():
        check_option(_kind_with(name, kind), name, value)
    return kind(**{name: value for name, value in options.items() if name in option_names(kind)})


def flat_options(router: Router) -> dict[str, Any]:
    """A router as a record holds it: its name and every option, as JSON gives them back."""
    return {"router": router.name, **asdict(router), "without": list(router.without)}  # type: ignore[call-overload]


def changed(router: Router, /, **changes: Any) -> Router:
    """A router with changes, of which ``router`` may make it another one: that takes over the options both have."""
    return make_router(**{**flat_options(router), **changes})


def same_routing(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two records' flat options make the same router, whatever else they hold."""
    try:
        return make_router(**one) == make_router(**other)
    except PerpcsError:  # of another version, or by somebody else's hand
        return dict(one) == dict(other)


def router_options(preset: str = "default", /, **changes: Any) -> Router:
    """The router of a preset with the given changes; None keeps the preset's value.

    Raises:
        PerpcsError: for an unknown preset or option, or a value out of range.
    """
    if preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    return changed(PRESETS[preset], **{name: value for name, value in changes.items() if value is not None})


def decided_by(name: str) -> str:
    """What makes the weights by the router of this name; a router that this version does not have counted votes."""
    return ROUTERS[name].decided_by if name in ROUTERS else "votes"


def deciding(*ways: str) -> tuple[str, ...]:
    """Names of the routers whose weights are made in one of these ways."""
    return tuple(name for name, kind in ROUTERS.items() if kind.decided_by in ways)


# ---- options as flags and controls -----------------------------------------------------------------------------------


def all_options() -> dict[str, type[Router]]:
    """Every option of any router, and the first router that has it."""
    return {name: kind for kind in reversed(ROUTERS.values()) for name in option_names(kind)}


def _kind_with(name: str, first: type[Router]) -> type[Router]:
    kinds = {**all_options(), **dict.fromkeys(option_names(first), first)}
    if name not in kinds:
        raise unknown("routing option", name, ["router", *kinds])
    return kinds[name]


def applies(name: str, router: Router) -> bool:
    """Whether an option has any effect, given the others."""
    return name == "router" or (name in option_names(type(router)) and name not in router.idle())


def option_type(name: str) -> Any:
    """The type of an option."""
    return Literal[tuple(ROUTERS)] if name == "router" else option_types(all_options()[name])[name]


def option_help(name: str) -> str:
    """The help text of an option."""
    return _ROUTER_HELP if name == "router" else option_docs(all_options()[name])[name]


def option_default(name: str, router: Router) -> Any:
    """The value of an option in a router; its usual one where the router does not have it."""
    if name == "router":
        return router.name
    return getattr(router, name) if name in option_names(type(router)) else default_of(all_options()[name], name)


def option_arguments() -> dict[str, tuple[type, tuple[str, ...], str]]:
    """For every option: its type, its allowed values (empty = any), and its help."""
    arguments: dict[str, tuple[type, tuple[str, ...], str]] = {}
    for name in ("router", *all_options()):
        kind = option_type(name)
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        arguments[name] = (str if choices else get_origin(kind) or kind, choices, option_help(name))
    return arguments


def option_helps() -> Mapping[str, str]:
    """The help text of every option."""
    return {name: option_help(name) for name in option_arguments()}
