"""The name of each way to find a person's weights, the same on cards, pages and figures.

newton, the default   Per-Pcs + Newton weights
from the gates        Per-Pcs + Newton weights from the gates
the preset paper      Per-Pcs (gates, as published)
gate                  Per-Pcs (distilled gates)
any other             Per-Pcs (fit)
"""

from collections.abc import Mapping
from typing import Any

from perpcs.assembly.routers import PRESETS, ROUTERS, flat_options

_PRESET_NAMES = {
    "from_gates": "Newton weights from the gates",
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
    return f"Per-Pcs + {short}" if (detail or DEFAULT) in ("newton", "from_gates") else f"Per-Pcs ({short})"


def made_by(router: Mapping[str, Any]) -> str:
    """The name of the method that a record was assembled with.

    Args:
        router: ``Assembly.router``, every option as it was run.
    """
    kind = str(router.get("router", DEFAULT))
    if kind == "newton" and router.get("start") == "gates":
        return router_name("from_gates")
    if kind != "gate" or router.get("gates", "distilled") != "trained":
        return router_name(kind)
    for name in ("paper", "reference_code"):
        wanted = {key: value for key, value in flat_options(PRESETS[name]).items() if key not in _FREE}
        if all(router.get(key, value) == value for key, value in wanted.items()):
            return router_name(name)
    return "Per-Pcs (trained gates)"
