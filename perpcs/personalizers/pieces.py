"""Methods whose rows carry pieces of the pool: Per-Pcs by any router, PEFT retrieval, and the controls of both.

The prompt is bare. What is kept of the person is a byte for each of the P x S weights, and the own piece of fit+own
where there is one.
"""

import time
from typing import Any

from perpcs.assembly.assemble import assemble
from perpcs.assembly.own import own_piece
from perpcs.assembly.record import Assembly
from perpcs.assembly.router import Router
from perpcs.assembly.routers import PRESETS, flat_options, make_router, same_routing
from perpcs.errors import PerpcsError
from perpcs.personalizers.method import Call, Person, Prepared, Progress


def per_pcs(call: Call) -> list[Prepared]:
    """Assembled by a router, the other options default, or by the preset ``paper``; without a detail, the assembly that
    there already is.

    Raises:
        PerpcsError: when there is neither an assembly nor a history.
    """
    named = PRESETS[call.detail or "default"] if call.detail in ("", *PRESETS) else make_router(call.detail)
    return [
        _carried(call, person.assembly)
        if person.assembly is not None and (not call.detail or _is_of(person.assembly, named))
        else _assembled(call, person, named)
        for person in call.people
    ]


def retrieved(call: Call) -> list[Prepared]:
    """PEFT retrieval: the k sharers of the most like histories, whole, weighted by likeness."""
    options = make_router("retrieval", k=int(call.detail))
    return [_assembled(call, person, options) for person in call.people]


def uniform(call: Call) -> list[Prepared]:
    """A control: all shared pieces alike."""
    return [_assembled(call, person, make_router("uniform")) for person in call.people]


def drawn(call: Call) -> list[Prepared]:
    """A control: k pieces drawn at each position."""
    return [_assembled(call, person, make_router("random")) for person in call.people]


def _assembled(call: Call, person: Person, options: Router) -> Prepared:
    if not person.history:
        raise PerpcsError("No model has been assembled yet.", "Give a history, assemble a model, or load a saved one.")
    began = time.perf_counter()

    def told(step: Any) -> None:
        if call.watch:
            done = step.batch * step.positions + step.position + 1
            call.watch(Progress("reading the history", done, step.batches * step.positions))

    setting = call.setting
    found = assemble(
        setting.base, setting.pool, setting.task, person.history, options=options, user=person.id, on_position=told
    )
    return _carried(call, found, time.perf_counter() - began)


def _carried(call: Call, assembly: Assembly, seconds: float | None = None) -> Prepared:
    return Prepared(
        call.setting.task,
        weights=assembly.weights,
        own=own_piece(assembly.own, call.setting.base.positions),
        other_bytes=assembly.kept_bytes,
        seconds=assembly.seconds if seconds is None else seconds,
    )


def _is_of(assembly: Assembly, options: Router) -> bool:
    """Whether a record was assembled with these very options."""
    return same_routing(assembly.router, flat_options(options))
