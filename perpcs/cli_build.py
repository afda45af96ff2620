"""The commands that make things from seeds or from data: `perpcs build` a pool, `perpcs smalltown` new people."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perpcs.errors import PerpcsError
from perpcs.positions import PIECE_KINDS

if TYPE_CHECKING:
    from perpcs.personalizers.engine import Engine
    from perpcs.pool.build import TaskPeople


def add_commands(commands: Any, pools: Path) -> None:
    """Add both to the command line's commands; pools are written below ``pools`` where nothing else is said."""
    build = commands.add_parser("build", help="build a pool; a stopped build goes on where it was")
    build.add_argument("name", help="smalltown, or any name together with --base and --data")
    build.add_argument("--tiny", action="store_true", help="smalltown's small twin for tests, in minutes")
    build.add_argument("--base", help="Hugging Face name or folder of a causal LM")
    build.add_argument("--data", help="folder with TASK/sharer_candidates.json and TASK/base_users.json")
    build.add_argument("--task", action="append", help="a task of the data; may be given several times")
    build.add_argument("--sharers", type=int, default=40, help="sharers a task (default: %(default)s)")
    build.add_argument("--kind", choices=PIECE_KINDS, default="lora", help="of a piece: a LoRA's, or an (IA)3 vector")
    build.add_argument("--rank", type=int, default=8, help="rank of a LoRA piece (default: %(default)s)")
    build.add_argument("--epochs", type=int, default=3, help="epochs of piece training (default: %(default)s)")
    build.add_argument("--rate", type=float, default=1e-4, help="learning rate of pieces (default: %(default)s)")
    build.add_argument("--encoder", default="minilm", help="of user embeddings; the paper: microsoft/deberta-v3-large")
    build.add_argument("--share-ratio", type=float, default=1.0, help="share of a sharer's pieces that are shared")
    build.add_argument("--distil", action="store_true", help="distil gates too, from candidates who share nothing")
    build.add_argument("--hypernet", action="store_true", help="train the network of P2P too, on all candidates")
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
    from perpcs.personalizers.engine import Engine
    from perpcs.pool.build import Settings
    from perpcs.pool.distil import DistilSettings
    from perpcs.pool.from_data import DataRecipe, build_from_data
    from perpcs.pool.hypernet_train import HypernetSettings
    from perpcs.pool.recipe import SMALLTOWN, TINY
    from perpcs.pool.smalltown import build_smalltown
    from perpcs.pool.stages import Workspace
    from perpcs.pool.train import PieceSettings

    def say(line: str) -> None:
        print(line, flush=True)

    if bool(options.base) != bool(options.data):
        raise PerpcsError("--base and --data go together.", "Give both, or neither for the small town.")
    if options.data:
        out = Path(options.out) if options.out else pools / options.name
        recipe = DataRecipe(
            name=options.name,
            base=options.base,
            data=Path(options.data),
            tasks=tuple(options.task or ()),
            sharers=options.sharers,
            licence=options.licence,
            settings=Settings(
                pieces=PieceSettings(
                    kind=options.kind,
                    rank=1 if options.kind == "ia3" else options.rank,
                    alpha=1.0 if options.kind == "ia3" else 2.0 * options.rank,
                    epochs=options.epochs,
                    rate=options.rate,
                ),
                encoder=options.encoder,
                share_ratio=options.share_ratio,
                distil=DistilSettings() if options.distil else None,
                hypernet=HypernetSettings() if options.hypernet else None,
            ),
        )
        people = build_from_data(Workspace(Path(options.work) / options.name, say), recipe, out)
        _complete(Engine.open(out), people, say)
        return
    if options.name != "smalltown":
        raise PerpcsError(f"There is no recipe {options.name!r}.", "Use smalltown, or give --base and --data.")
    town = TINY if options.tiny else SMALLTOWN
    out = Path(options.out) if options.out else pools / town.name
    people = build_smalltown(Workspace(Path(options.work) / town.name, say), town, out)
    _complete(Engine.open(out, "cpu"), people, say)


def _complete(engine: "Engine", people: Sequence["TaskPeople"], say: Callable[[str], None]) -> None:
    """What only the finished pool can tell: how well its sharers are recognised, and its example people."""
    from perpcs.personalizers.examples import complete_examples, store_recognised

    for part in people:
        store_recognised(engine, part.task, {user.id: user.history for user in part.candidates})
        say(f"sharers of {part.task.name}: their own pieces looked for")
    say(f"{complete_examples(engine)} example people assembled")


def run_smalltown(options: argparse.Namespace) -> None:
    from perpcs.data.smalltown import MAKERS, write_town

    tasks = options.task or list(MAKERS)
    if options.users < 1:
        raise PerpcsError(f"--users is {options.users}.", "Use a whole number of at least 1.")
    write_town(Path(options.out), seed=options.seed, users=options.users, tasks=tasks)
    for task in tasks:
        print(f"{Path(options.out) / task / 'target_users.json'}: {options.users} people")
