"""The command ``perpcs experiment``. Heavy libraries are imported inside, so that --help answers at once."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from perpcs.errors import PerpcsError
from perpcs.files import try_writing


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
    experiment = commands.add_parser("experiment", help="answer a question about a pool, into results/NAME.json")
    experiment.add_argument(
        "name", help="table1, cost, history, case-study, peftu, or a new file of perpcs/evaluate/experiments"
    )
    add_pool(experiment)
    experiment.add_argument("--task", action="append", help="a task; may be given several times; default all")
    experiment.add_argument("--people", type=int, default=14, help="made-up people a task (default: %(default)s)")
    experiment.add_argument("--seed", type=int, default=2026, help="of the made-up people (default: %(default)s)")
    experiment.add_argument("--users", help="folder with TASK/target_users.json, for a pool of real people")
    experiment.add_argument("--again", action="store_true", help="compute again what results/evaluate_TASK.json holds")
    experiment.add_argument("--data", help="of peftu: folder with the benchmark's files, TASK.json")
    experiment.add_argument("--out", help="JSON file to write; default results/NAME.json")
    experiment.set_defaults(
        run=lambda options: without_pool.get(options.name, lambda options: _run(options, pool_folder))(options)
    )


def _run(options: argparse.Namespace, pool_folder: Callable[[str], Path]) -> None:
    from perpcs.evaluate.experiments import Setting, get_experiment, run_experiment
    from perpcs.pool.store import Pool

    experiment = get_experiment(options.name)
    if options.people < 1:
        raise PerpcsError(f"--people is {options.people}.", "Use a whole number of at least 1.")
    pool = Pool(pool_folder(options.pool))
    for name in options.task or ():
        pool.task(name)
    out = Path(options.out or f"results/{options.name}.json")
    try_writing(out)
    setting = Setting(
        pool=pool,
        pool_name=options.pool,
        tasks=tuple(options.task or [part.task for part in pool.manifest.tasks]),
        people=options.people,
        seed=options.seed,
        users=Path(options.users) if options.users else None,
        results=out.parent,
        again=options.again,
        device=options.device,
        say=lambda line: print(line, flush=True),
    )
    run_experiment(options.name, experiment, setting, out)
    print(f"written to {out}")
