"""The commands that make things from seeds or from data: `perpcs build` a pool, `perpcs smalltown` new people.

The command ``perpcs experiment``. Heavy libraries are imported inside, so that --help answers at once.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perpcs.errors import PerpcsError
from perpcs.files import try_writing
from perpcs.schema import MODULES_OF, PIECE_KINDS

if TYPE_CHECKING:
    from perpcs.pool.build import TaskPeople
    from perpcs.serve.engine import Engine


# ---- pools and towns -------------------------------------------------------------------------------------------------


LOOKED_FOR = 8  # newest items of a sharer on which the gates are asked whose they are


def add_commands(commands: Any, pools: Path) -> None:
    """Add both to the command line's commands; pools are written below ``pools`` where nothing else is said."""
    build = commands.add_parser("build", help="build a pool; an interrupted build resumes")
    build.add_argument("name", help="people, the pool that the studio ships, or any name together with --base")
    build.add_argument(
        "--base", help="a causal LM: Hugging Face name, folder, PEFT folder, GGUF file, or the shipped base's name"
    )
    build.add_argument(
        "--data",
        required=True,
        help="folder with TASK/sharer_candidates.json and TASK/base_users.json, or a release of Per-Pcs",
    )
    build.add_argument("--task", action="append", help="a task of the data; may be given several times")
    build.add_argument(
        "--sharers", type=int, default=40, help="maximum number of sharers per task (default: %(default)s)"
    )
    build.add_argument("--kind", choices=PIECE_KINDS, default="lora", help="what a piece is (default: %(default)s)")
    build.add_argument(
        "--rank",
        type=int,
        default=8,
        help="rank of a LoRA piece, width of an adapter, tokens of a prefix (default: %(default)s)",
    )
    build.add_argument("--epochs", type=int, default=2, help="epochs of piece training (default: %(default)s)")
    build.add_argument("--rate", type=float, default=1.5e-3, help="learning rate of pieces (default: %(default)s)")
    build.add_argument("--gate-steps", type=int, default=40, help="steps of gate training (default: %(default)s)")
    build.add_argument(
        "--modules",
        action="extend",
        nargs="+",
        help="adapted layers: attention, mlp, all, or endings of names such as v_proj (default: attention; of adapters "
        "o_proj and down_proj, of prefixes o_proj)",
    )
    build.add_argument(
        "--first-layer", type=int, default=0, help="lowest layer that gets pieces (default: %(default)s)"
    )
    build.add_argument(
        "--stored",
        choices=("float32", "float16", "int8"),
        default="float16",
        help="precision of stored pieces (default: %(default)s)",
    )
    build.add_argument("--encoder", default="minilm", help="of user embeddings; the paper: microsoft/deberta-v3-large")
    build.add_argument("--share-ratio", type=float, default=1.0, help="share of a sharer's pieces that are shared")
    build.add_argument("--distil", action="store_true", help="distil gates too, from people who share nothing")
    build.add_argument("--hypernet", action="store_true", help="train the network of P2P too, on all candidates")
    build.add_argument("--hypernet-steps", type=int, default=300, help="steps of P2P training (default: %(default)s)")
    build.add_argument("--licence", default="Not stated.", help="under which licence the pieces are shared")
    build.add_argument("--out", help="pool folder to write; default assets/pools/NAME")
    build.add_argument("--work", default="build", help="folder for intermediate artefacts (default: %(default)s)")
    build.set_defaults(run=lambda options: run_build(options, pools))

    town = commands.add_parser(
        "smalltown", help="write new people of the synthetic town, in the Per-Pcs release layout"
    )
    town.add_argument("--seed", type=int, required=True)
    town.add_argument("--users", type=int, required=True)
    town.add_argument("--out", required=True)
    town.add_argument("--task", action="append", help="a task; may be given several times; default all")
    town.set_defaults(run=run_smalltown)


def run_build(options: argparse.Namespace, pools: Path) -> None:
    from perpcs.data import task_folder
    from perpcs.data.smalltown import write_pool_people
    from perpcs.pool.build import Settings
    from perpcs.pool.from_data import (
        TOWN_BASE_USERS,
        TOWN_CANDIDATES,
        TOWN_SEED,
        TOWN_TASKS,
        Recipe,
        build_from_data,
        people_recipe,
    )
    from perpcs.pool.hypernet import HypernetSettings
    from perpcs.pool.stages import Workspace
    from perpcs.pool.train import DistilSettings, GateSettings, PieceSettings
    from perpcs.serve.engine import Engine
    from perpcs.tasks import get_task

    def say(line: str) -> None:
        print(line, flush=True)

    if (options.name == "people") == bool(options.base):
        raise PerpcsError(
            "The pool people has its own base model; every other pool needs --base.",
            "Leave out --base for people, or add it for any other name.",
        )
    out = Path(options.out) if options.out else pools / options.name
    if out.exists() and not (out / "manifest.json").is_file() and (not out.is_dir() or any(out.iterdir())):
        raise PerpcsError(f"{out} exists but is not a pool.", "Name a folder that does not exist yet.")
    try_writing(out)
    work = Path(options.work) / options.name
    if options.name == "people":
        town = work / "town"
        write_pool_people(
            town, seed=TOWN_SEED, base_users=TOWN_BASE_USERS, candidates=TOWN_CANDIDATES, tasks=TOWN_TASKS
        )
        recipe = people_recipe(Path(options.data), town, pools.parent / "examples", options.sharers)
    else:
        recipe = Recipe(
            name=options.name,
            base=options.base,
            sources={
                get_task(task).name: task_folder(Path(options.data), get_task(task).name) for task in options.task or ()
            },
            licence=options.licence,
            sharers=options.sharers,
            modules=tuple(
                part for name in options.modules or MODULES_OF.get(options.kind, ()) for part in name.split(",") if part
            ),
            first_layer=options.first_layer,
            settings=Settings(
                pieces=PieceSettings(
                    kind=options.kind,
                    rank=1 if options.kind == "ia3" else options.rank,
                    alpha={"ia3": 1.0, "lora": 2.0 * options.rank}.get(options.kind, float(options.rank)),
                    epochs=options.epochs,
                    rate=options.rate,
                ),
                gates=GateSettings(steps=options.gate_steps),
                encoder=options.encoder,
                share_ratio=options.share_ratio,
                dtype=options.stored,
                distil=DistilSettings() if options.distil else None,
                hypernet=HypernetSettings(steps=options.hypernet_steps) if options.hypernet else None,
            ),
        )
    space = Workspace(work, say)
    with space.held():
        people = build_from_data(space, recipe, out)
        _complete(Engine.open(out), people, say)


def _complete(engine: "Engine", people: Sequence["TaskPeople"], say: Callable[[str], None]) -> None:
    """What only the finished pool can tell: how well its sharers are recognised, and its example people."""
    from perpcs.serve.complete import complete_examples, store_recognised, store_sampled

    for part in people:
        histories = {user.id: user.history for user in part.candidates}
        store_recognised(engine, part.task, {id: items[-LOOKED_FOR:] for id, items in histories.items()})
        store_sampled(engine, part.task, histories)
        say(f"sharers of {part.task.name}: their own pieces looked for, their portraits made")
    say(f"{complete_examples(engine, say=say)} example people assembled")


def run_smalltown(options: argparse.Namespace) -> None:
    from perpcs.data.smalltown import MAKERS, write_town

    tasks = options.task or list(MAKERS)
    if options.users < 1:
        raise PerpcsError(f"--users is {options.users}.", "Use a whole number of at least 1.")
    write_town(Path(options.out), seed=options.seed, users=options.users, tasks=tasks)
    for task in tasks:
        print(f"{Path(options.out) / task / 'target_users.json'}: {options.users} people")


# ---- experiments -----------------------------------------------------------------------------------------------------


def add_experiment(
    commands: Any,
    add_pool: Callable[[argparse.ArgumentParser], None],
    pool_folder: Callable[[str], Path],
    without_pool: Mapping[str, Callable[[argparse.Namespace], None]],
) -> None:
    """Add the command to the parser's commands.

    Args:
        add_pool: adds the options that name a pool and a device.
        pool_folder: the folder that a pool's name stands for.
        without_pool: experiments that ask no pool, by name.
    """
    experiment = commands.add_parser("experiment", help="answer a question about a pool")
    experiment.add_argument("name", help="table1, cost, history, robustness, case-study, separation, peftu or six")
    add_pool(experiment)
    experiment.add_argument("--task", action="append", help="a task; may be given several times; default all")
    experiment.add_argument("--people", type=int, default=14, help="made-up people a task (default: %(default)s)")
    experiment.add_argument("--seed", type=int, default=2026, help="of the made-up people (default: %(default)s)")
    experiment.add_argument("--users", help="folder with TASK/target_users.json, for a pool of real people")
    experiment.add_argument("--items", type=int, help="only the newest so many items of each given history")
    experiment.add_argument("--again", action="store_true", help="compute stored evaluations again")
    experiment.add_argument("--data", help="of peftu: folder with the benchmark's files, TASK.json")
    experiment.add_argument("--out", help="JSON file to write; default results/quality/NAME.json")
    experiment.set_defaults(
        run=lambda options: without_pool.get(options.name, lambda options: _run(options, pool_folder))(options)
    )


def _run(options: argparse.Namespace, pool_folder: Callable[[str], Path]) -> None:
    from perpcs.evaluate.experiments import Setting, get_experiment, run_experiment
    from perpcs.pool.store import Pool

    experiment = get_experiment(options.name)
    for name, count in (("people", options.people), ("items", options.items)):
        if count is not None and count < 1:
            raise PerpcsError(f"--{name} is {count}.", "Use a whole number of at least 1.")
    pool = Pool(pool_folder(options.pool))
    for name in options.task or ():
        pool.task(name)
    out = Path(options.out or f"results/quality/{options.name}.json")
    try_writing(out)
    setting = Setting(
        pool=pool,
        pool_name=options.pool,
        tasks=tuple(options.task or [part.task for part in pool.manifest.tasks]),
        people=options.people,
        seed=options.seed,
        users=Path(options.users) if options.users else None,
        items=options.items,
        results=out.parent,
        again=options.again,
        device=options.device,
        say=lambda line: print(line, flush=True),
    )
    run_experiment(options.name, experiment, setting, out)
    print(f"written to {out}")
