"""The commands by which a person becomes a sharer and stops being one: `perpcs share` and `perpcs revoke`."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from perpcs.errors import PerpcsError
from perpcs.files import try_writing


def add_commands(
    commands: Any, add_pool: Callable[[argparse.ArgumentParser], None], pool_folder: Callable[[str], Path]
) -> None:
    """Add both to the command line's commands; what every command says of pools is the command line's."""
    share = commands.add_parser("share", help="train your own pieces and add them to a copy of a pool")
    add_pool(share)
    share.add_argument("--task", required=True, help="LaMP task, for example LaMP_4")
    share.add_argument(
        "--history", required=True, help="lines, a table, JSON, an export or a zip of one; of several people: --user"
    )
    share.add_argument("--user", help="which user of a file of users")
    share.add_argument("--ratio", type=float, default=1.0, help="share of your pieces to share (default: %(default)s)")
    share.add_argument("--seed", type=int, default=0, help="draws which ones; the same seed, the same pieces")
    share.add_argument("--layer", type=int, action="append", help="only this layer's pieces; several times for several")
    share.add_argument("--module", action="append", help="only this module's, for example v_proj; likewise")
    share.add_argument("--out", required=True, help="folder of the copy: a new one, or one that this command made")
    share.add_argument("--consent", action="store_true", help="share what is listed; without it nothing is kept")
    share.add_argument("--json", action="store_true")
    share.set_defaults(run=lambda options: run_share(options, pool_folder))

    revoke = commands.add_parser("revoke", help="take a contribution back out of a copy of a pool")
    revoke.add_argument("id", help="the revocation code, or the sharer's id")
    revoke.add_argument("--pool", required=True, help="folder of the copy")
    revoke.add_argument(
        "--user", action="append", default=[], help="a saved person to carry over to the pool without this sharer"
    )
    revoke.set_defaults(run=run_revoke)


def run_share(options: argparse.Namespace, pool_folder: Callable[[str], Path]) -> None:
    from perpcs.data import read_history_file
    from perpcs.pool.contribute import chosen, id_of, leaving, new_code
    from perpcs.pool.stages import throttled
    from perpcs.serve.engine import Engine
    from perpcs.serve.stored import share
    from perpcs.tasks import get_task

    task = get_task(options.task)
    _, reading = read_history_file(Path(options.history), task, options.user)
    source, code = pool_folder(options.pool), new_code()
    if options.consent:
        try_writing(Path(options.out))
    engine = Engine.open(source, options.device)
    tell = throttled(lambda line: None if options.json else print(line, flush=True))

    def say(what: str, done: int, of: int) -> None:
        tell(lambda: f"{what}: {done} of {of}")

    mask = chosen(
        engine.pool.manifest.positions,
        id_of(code),
        ratio=options.ratio,
        seed=options.seed,
        layers=options.layer,
        modules=options.module,
    )
    given = leaving(engine.train_sharer(task, reading.items, id_of(code), say), engine.pool, mask)
    parts = given.parts()
    facts: dict[str, Any] = {
        "id": given.sharer.id,
        "pieces": int(mask.sum()),
        "bytes": sum(part.bytes for part in parts),
        "record": json.loads(given.record()),
        "tensors": [vars(part) for part in parts],
        "shared": bool(options.consent),
    }
    if not options.json:
        for part in parts:
            shape = " x ".join(map(str, part.shape))
            print(f"{part.name:<14} {shape:>10}  {part.dtype}  {part.bytes:>8,} bytes  sha256 {part.sha256[:16]}")
        print(f"record         {json.dumps(facts['record'])}")
        print(f"{facts['pieces']} of {len(mask)} pieces, {facts['bytes']:,} bytes of numbers, no text.")
    if options.consent:
        pool = share(source, given, Path(options.out))
        facts |= {"code": code, "pool": pool.manifest.name, "sharers": pool.task(task.name).sharers}
        if not options.json:
            print(f"Added to {options.out} as {given.sharer.id}, sharer {facts['sharers']} of {task.name}.")
            print(f"Keep this code, it takes your pieces back: perpcs revoke {code} --pool {options.out}")
    elif not options.json:
        print("Nothing was shared. With --consent these numbers are added to the copy.")
    if options.json:
        print(json.dumps(facts, indent=1))


def run_revoke(options: argparse.Namespace) -> None:
    from perpcs.assembly.record import Assembly
    from perpcs.pool.contribute import id_of
    from perpcs.pool.store import Pool
    from perpcs.serve.stored import migrated_to, revoke

    before, target = Pool(Path(options.pool)).hash, Path(options.pool)
    people = {path: Assembly.load(Path(path)) for path in options.user}
    for path, person in people.items():
        if person.pool_hash != before:
            raise PerpcsError(f"{path} was not assembled from this state of the pool.", "Leave it out.")
    pool = revoke(target, options.id)
    print(f"{id_of(options.id)} is no longer in {options.pool}.")
    for path, person in people.items():
        migrated_to(pool, person).save(Path(path))
        print(f"{path}: what this sharer held goes to the others.")
