"""What does performance depend on? Fewer sharers, fewer of their pieces, other sharers, other settings of a router.

People and queries are the same everywhere. Smaller sets of sharers are random subsets of the larger ones; the share
ratio of an assembly says which pieces are shared. A quarter of the sharers is selected by the rules by which candidates
become sharers (paper, section 5), and by one that needs the person: the sharers with the most similar histories. The
settings are the paper's ablations (its Table 2) and those of the default router.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from perpcs.assembly.activations import likeness
from perpcs.assembly.assemble import assemble
from perpcs.assembly.router import Router
from perpcs.assembly.routers import PRESETS, applies, changed, flat_options, make_router
from perpcs.errors import PerpcsError
from perpcs.evaluate.experiments import Experiment, Setting
from perpcs.evaluate.metrics import paired, summary
from perpcs.evaluate.protocol import held_out_loss, person_nll, prepare
from perpcs.pool.select import most_active
from perpcs.tasks import User, get_task

ROUTERS = ("newton", "gate")
SHARERS = (0.125, 0.25, 0.5, 1.0)
"""Shares of the pool's sharers."""
RATIOS = (0.25, 0.5, 0.75, 1.0)
TAKEN = 0.25
"""Share of the sharers that each rule selects."""
CHOICES: dict[str, dict[str, dict[str, Any]]] = {
    "newton": {"from the base model": {"start": "base"}},
    "gate": {
        "1 piece": {"k": 1},
        "8 pieces": {"k": 8},
        "equal weights": {"attention": False},
        "gates as published": {"gates": "trained"},
        "all as published": {"preset": "paper"},
    },
}
"""By router: settings that differ from its default; a setting that is already the default is skipped."""
_SEED = 0


def run(setting: Setting) -> dict[str, Any]:
    """{tasks: {task: {users, base, sharers, share_ratio, selection, choices}}}, everything in nats per target token."""
    return {
        "units": {"nll": "nats per target token", "minus_default": "nats per target token, paired person by person"},
        "settings": {"people": setting.people, "seed": setting.seed},
        "tasks": {name: _column(setting, name) for name in setting.tasks},
    }


def _column(setting: Setting, name: str) -> dict[str, Any]:
    users = [user for user in setting.people_of(name)[0] if user.history and any(q.gold for q in user.queries)]
    if not users:
        raise PerpcsError("Nobody has both a history and answered queries.", "Give users with both.")
    task = get_task(name)
    plain = prepare(setting.base, setting.pool, task, users, "base")
    measured = _Losses(setting, users, name)
    ids = [sharer.id for sharer in setting.pool.sharers(name)]
    order = np.random.default_rng(_SEED).permutation(len(ids)).tolist()
    counts = sorted({max(1, round(share * len(ids))) for share in SHARERS})
    fewer = {count: _all_but(ids, order[:count]) for count in counts}
    shared = {ratio: {"share_ratio": ratio} for ratio in RATIOS}
    return {
        "users": len(users),
        "base": summary(person_nll(setting.base, setting.pool, task, users, plain)),
        "sharers": {"x": counts, "methods": _lines(measured, [{"without": fewer[count]} for count in counts])},
        "share_ratio": {"x": list(RATIOS), "methods": _lines(measured, [shared[ratio] for ratio in RATIOS])},
        "selection": _selection(setting, measured, name, ids),
        "choices": _choices(measured),
    }


class _Losses:
    """Each person's loss under given options; equal options are measured once."""

    def __init__(self, setting: Setting, users: Sequence[User], name: str) -> None:
        self.setting, self.users, self.name = setting, users, name
        self.known: dict[tuple[int, Router], float] = {}

    def of(self, options: Router | Sequence[Router]) -> list[float]:
        """Nats per target token of each person; one router for all, or one per person."""
        each = options if isinstance(options, Sequence) else [options] * len(self.users)
        found = [self._one(number, one) for number, one in enumerate(each)]
        self.setting.say(f"{self.name}, {each[0].name}: {np.mean(found):.3f}, {len(self.known)} assemblies")
        return found

    def _one(self, number: int, options: Router) -> float:
        if (number, options) not in self.known:
            user, task = self.users[number], get_task(self.name)

            def measure() -> float | None:
                made = assemble(self.setting.base, self.setting.pool, task, user.history, options=options)
                return held_out_loss(self.setting.base, self.setting.pool, made, user.queries)

            part = f"{self.name}, person {number}, {json.dumps(flat_options(options), sort_keys=True)}"
            loss = self.setting.kept(part, measure)
            assert loss is not None  # everybody has an answered query
            self.known[number, options] = loss
        return self.known[number, options]


def _lines(measured: _Losses, conditions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Each router's loss under each condition."""
    return {
        f"perpcs:{router}": {
            "nll": [summary(measured.of(make_router(router, **condition))) for condition in conditions]
        }
        for router in ROUTERS
    }


def _selection(setting: Setting, measured: _Losses, name: str, ids: Sequence[str]) -> dict[str, Any]:
    """Each router's loss with the sharers that each rule selects; the first rule selects all."""
    count = max(1, round(TAKEN * len(ids)))
    wrote = [sharer.items for sharer in setting.pool.sharers(name)]
    rules: dict[str, list[Sequence[int]]] = {
        "all": [range(len(ids))] * len(measured.users),
        "random": [np.random.default_rng(_SEED).permutation(len(ids))[:count].tolist()] * len(measured.users),
        "active": [np.argsort([-items for items in wrote], kind="stable")[:count].tolist()] * len(measured.users),
    }
    embeddings = setting.pool.embeddings(name)
    if embeddings is not None:
        rules["cluster"] = [most_active(embeddings.numpy(), wrote, count, _SEED)[1]] * len(measured.users)
        rules["nearest"] = [
            np.argsort(-likeness(setting.pool, name, user.history).numpy(), kind="stable")[:count].tolist()
            for user in measured.users
        ]
    return {
        "taken": count,
        "rules": {
            rule: {
                f"perpcs:{router}": summary(
                    measured.of([make_router(router, without=_all_but(ids, some)) for some in taken])
                )
                for router in ROUTERS
            }
            for rule, taken in rules.items()
        },
    }


def _choices(measured: _Losses) -> list[dict[str, Any]]:
    """The loss under each setting, and its difference to the router's default."""
    rows = []
    for router, others in CHOICES.items():
        usual = make_router(router)
        default = measured.of(usual)
        for choice, changes in {"": {}, **others}.items():
            preset = changes.get("preset")
            options = PRESETS[preset] if preset else changed(usual, **changes)
            if choice and (options == usual or not (preset or any(applies(name, options) for name in changes))):
                continue
            own = measured.of(options)
            differs = paired(own, default) if choice else None
            rows.append({"method": f"perpcs:{router}", "choice": choice, "nll": summary(own), "minus_default": differs})
    return rows


def _all_but(ids: Sequence[str], kept: Sequence[int]) -> tuple[str, ...]:
    """The ids of all other sharers."""
    here = {int(number) for number in kept}
    return tuple(id for number, id in enumerate(ids) if number not in here)


EXPERIMENT = Experiment("How does performance depend on how many share, how much, who they are, and the settings?", run)
