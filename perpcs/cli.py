"""The command line. Every command says what it did in plain words; --json says it for programs.

Heavy libraries are imported inside the commands, so that --help answers at once.

The commands by which a person becomes a sharer and stops being one: `perpcs share` and `perpcs revoke`.
"""

import argparse
import io
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from perpcs import __version__, cli_build
from perpcs.cli_build import add_experiment
from perpcs.errors import PerpcsError
from perpcs.files import DISK_ERRORS, try_writing

# ---- sharing ---------------------------------------------------------------------------------------------------------


def add_commands(
    commands: Any, add_pool: Callable[[argparse.ArgumentParser], None], pool_folder: Callable[[str], Path]
) -> None:
    """Add both to the command line's commands; what every command says of pools is the command line's."""
    share = commands.add_parser("share", help="train your own pieces and add them to a copy of a pool")
    add_pool(share)
    share.add_argument("--task", required=True, help="LaMP task, for example LaMP_4")
    share.add_argument(
        "--history", required=True, help="lines, a table, JSON, an export or a zip of one; for several people: --user"
    )
    share.add_argument("--user", help="which user of a file of users")
    share.add_argument("--ratio", type=float, default=1.0, help="share of your pieces to share (default: %(default)s)")
    share.add_argument("--seed", type=seed, default=0, help="seed of the random choice of pieces")
    share.add_argument(
        "--layer", type=int, action="append", help="only this layer's pieces; may be given several times"
    )
    share.add_argument(
        "--module", action="append", help="only this module's pieces, for example v_proj; may be given several times"
    )
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


POOLS = Path(__file__).resolve().parents[1] / "assets" / "pools"
DEFAULT_POOL = "people"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 for an error a person can mend, 130 when stopped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name may be no text
    parser = build_parser()
    options = parser.parse_args(argv)
    try:
        options.run(options)
    except PerpcsError as error:
        print(f"perpcs: {error.wrong}\n        {error.do}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nperpcs: stopped; run the same command again to resume where possible", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        print(f"perpcs: {error.filename or 'The disk'}: {error.strerror}.", file=sys.stderr)
        print("        Check that path, its permissions and the free space.", file=sys.stderr)
        return 1
    return 0


def pool_folder(name: str) -> Path:
    """A pool's folder: a path, or a name under assets/pools."""
    path = Path(name)
    return POOLS / name if not path.exists() and (POOLS / name).is_dir() else path


# ---- commands ------------------------------------------------------------------------------------------------------


def run_assemble(options: argparse.Namespace) -> None:
    from perpcs.assembly.explain import fit_sentence
    from perpcs.assembly.routers import option_helps, router_options
    from perpcs.data import read_history_file
    from perpcs.serve.engine import Engine
    from perpcs.tasks import get_task

    task = get_task(options.task)
    changes = {name: getattr(options, name) for name in option_helps()}
    routing = router_options(options.preset, **changes)
    user, reading = read_history_file(Path(options.history), task, options.user, replies=not options.no_replies)
    try_writing(Path(options.out))
    engine = Engine.open(pool_folder(options.pool), options.device)
    person = engine.assemble(task, reading.items, options=routing, user=user)
    size = person.save(Path(options.out))
    facts: dict[str, Any] = {
        "user": user,
        "task": task.name,
        "items": person.n_items,
        "bad_rows": len(reading.bad),
        "router": person.router,
        "tokens": person.tokens,
        "seconds": person.seconds,
        "bytes": person.kept_bytes,
        "file_bytes": size,
        "adapter_bytes": engine.pool.manifest.adapter_bytes,
        "effective_sharers": dict(zip(person.positions, person.effective_sharers().round(2).tolist(), strict=True)),
        "top_sharers": person.top_sharers(),
        "check": person.extra.get("check"),
    }
    if options.json:
        print(json.dumps(facts, indent=1))
        return
    for note in reading.notes:
        print(note)
    for bad in reading.bad:
        print(f"line {bad.line}: {bad.reason} {bad.do}")
    print(f"Assembled {user} from {person.n_items} items ({person.tokens} tokens) in {person.seconds:.2f} s.")
    names = ", ".join(f"{name} {share:.0%}" for name, share in person.top_sharers(3))
    print(f"Most weight: {names}.")
    print(fit_sentence(person))
    print(
        f"Saved to {options.out}: {size:,} bytes; a LoRA of their own would be {engine.pool.manifest.adapter_bytes:,}."
    )


def run_generate(options: argparse.Namespace) -> None:
    from dataclasses import asdict

    from perpcs.data.clean import clean_field
    from perpcs.personalizers.methods import names_in
    from perpcs.serve import complete

    names = names_in(options.methods)  # a misspelt name is told before a model is loaded
    who = complete.somebody(options.user, options.history, options.task)
    query = who.task.read_query(clean_field(options.input))
    engine = complete.open_engine(pool_folder(options.pool), options.device, options.writer)
    rows = [(complete.prepare(engine, who, name), query) for name in names]
    *_, answers = engine.answer_rows(
        who.task, rows, max_new_tokens=options.max_new_tokens, temperature=options.temperature, seed=options.seed
    )
    if options.json:
        print(json.dumps([asdict(answer) for answer in answers], indent=1, ensure_ascii=False))
    else:
        print(answers[0].text if len(answers) == 1 else complete.answer_table(answers))


def run_export(options: argparse.Namespace) -> None:
    from perpcs.assembly.export import CONFIG, refuse_inside, save_base
    from perpcs.personalizers.methods import parse
    from perpcs.serve import complete

    parse(options.method)
    try_writing(Path(options.out) / CONFIG)
    who = complete.somebody(options.user, options.history, options.task)
    engine = complete.open_engine(pool_folder(options.pool), options.device)
    refuse_inside(engine.pool, Path(options.out))
    made = engine.prepared_adapter(complete.prepare(engine, who, options.method), options.rank)
    if options.with_base:
        save_base(engine.base, Path(options.out) / "base")
    made.save(Path(options.out))
    labels = [position.label for position in engine.pool.manifest.positions]
    if options.json:
        facts = {
            "user": who.person.id,
            "task": who.task.name,
            "method": options.method,
            "base": engine.pool.manifest.base,
            "bytes": made.bytes,
            "ranks": dict(zip(labels, made.ranks, strict=True)),
            "error": made.error,
            "errors": dict(zip(labels, made.errors, strict=True)),
        }
        print(json.dumps(facts, indent=1))
        return
    ranks = [rank for rank in made.ranks if rank]
    kind = {"lora": "a LoRA", "ia3": "an (IA)3"}[engine.pool.manifest.kind]
    print(f"Wrote {who.person.id} to {options.out} as {kind} adapter for peft: {made.bytes:,} bytes.")
    print(f"Layers adapted: {len(ranks)} of {len(made.ranks)}, of rank {min(ranks)} to {max(ranks)}.")
    if made.error:
        worst, label = max(zip(made.errors, labels, strict=True))
        print(f"Relative error, by Frobenius norm: {made.error:.2g}; the largest is {worst:.2g}, at {label}.")
    else:
        print("Nothing was cut off.")


def run_evaluate(options: argparse.Namespace) -> None:
    from perpcs.data import read_users
    from perpcs.data.lamp_files import newest, with_others
    from perpcs.evaluate.experiments import stamp
    from perpcs.evaluate.metrics import without_texts, write_predictions
    from perpcs.evaluate.protocol import evaluate
    from perpcs.files import write_json
    from perpcs.personalizers.methods import names_in
    from perpcs.pool.manifest import read_json
    from perpcs.pool.profile_writer import LazyWriter, pool_writer
    from perpcs.pool.store import Pool
    from perpcs.tasks import get_task

    task, methods = get_task(options.task), names_in(options.methods)
    outputs = Path(options.outputs) if options.outputs else None
    users = with_others(task, read_users(Path(options.users), task, outputs))
    if options.limit:
        users = users[: options.limit]
    if options.items:
        users = newest(users, options.items)
    out, pool = Path(options.out), Pool(pool_folder(options.pool))
    try_writing(out)
    if options.predictions:
        try_writing(Path(options.predictions) / "base.json")
    base = pool.base(options.device)
    whole = not options.again and (options.with_texts or not options.predictions)  # what is kept has what is asked for
    result = evaluate(
        base,
        pool,
        task,
        users,
        methods,
        written=names_in(options.written) if options.written else None,
        oracle=_oracle(Path(options.users).with_name("traits.json")),
        with_texts=options.with_texts or bool(options.predictions),
        writer=LazyWriter(options.writer, options.device) if options.writer else pool_writer(pool, options.device),
        before=read_json(out) if out.exists() and whole else None,
        on_method=lambda so_far: write_json(
            out, {**(so_far if options.with_texts else without_texts(so_far)), **stamp()}
        ),
        checkpoints=out.with_name(f"{out.name}.people"),
        say=lambda line: print(line, flush=True),
    )
    if options.predictions:
        for path in write_predictions(Path(options.predictions), result):
            print(f"predictions written to {path}")
    measure = {"text": "rouge-L", "rating": "mae", "label": "accuracy"}[task.kind]
    width = max(len(name) for name in methods)
    print(f"{result['users']} people, {result['queries']} queries; mean over people (95 % interval)")
    for name in methods:
        numbers = result["methods"][name]
        cells = [
            f"{key} {numbers[key]['mean']:.3f} ({numbers[key]['low']:.3f} to {numbers[key]['high']:.3f})"
            for key in ("nll", measure)
            if key in numbers
        ]
        print(
            f"{name:<{width}}  {'   '.join(cells)}   {numbers['prepare_seconds']:.2f} s   {numbers['bytes']:,.0f} bytes"
        )
    for name, numbers in result["references"].items():
        cell = numbers[measure]
        print(f"{name:<{width}}  {measure} {cell['mean']:.3f} ({cell['low']:.3f} to {cell['high']:.3f})")
    print(f"written to {options.out}")


def _oracle(traits: Path) -> dict[str, Mapping[str, str]] | None:
    """What an oracle answers, by person and query: a synthetic town keeps it beside its users."""
    from perpcs.pool.manifest import mapping
    from perpcs.schema import Facts, read_record

    if not traits.exists():
        return None
    people = read_record(traits, dict[str, Facts], str(traits), "Write it again with perpcs smalltown, or delete it.")
    return {id: mapping(person.get("oracle")) for id, person in people.items()}


def run_peftu(options: argparse.Namespace) -> None:
    from perpcs.peftu.experiment import MEASURED, Settings, run_peftu

    out = Path(options.out or "results/quality/peftu.json")
    tasks = tuple(options.task or (MEASURED if options.data else ("smalltown",)))
    data = Path(options.data) if options.data else None
    run_peftu(Settings(tasks=tasks), data, Path("build/peftu"), out, lambda line: print(line, flush=True))
    print(f"written to {out}")


def run_six(options: argparse.Namespace) -> None:
    from perpcs.peftu.six import FOLDER, make_six
    from perpcs.pool.store import Pool

    pool = Pool(pool_folder(options.pool))
    folder = Path(options.out) if options.out else FOLDER
    facts = make_six(pool.base(options.device), pool.manifest, folder, lambda line: print(line, flush=True))
    print(f"right {facts['right']:.3f}, with the next reader's module {facts['wrong']:.3f}; written to {folder}")


def run_validate(options: argparse.Namespace) -> None:
    from perpcs.pool.validate import validate

    for line in validate(pool_folder(options.pool)):
        print(line)
    print("The pool is valid.")


# ---- arguments -----------------------------------------------------------------------------------------------------


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = argparse.ArgumentParser(
        prog="perpcs", description="Personal language models assembled from pieces that other people share."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    cli_build.add_commands(commands, POOLS)

    assemble = commands.add_parser("assemble", help="assemble a person from their history and save them")
    _add_pool(assemble)
    assemble.add_argument("--task", required=True, help="LaMP task, for example LaMP_4")
    assemble.add_argument(
        "--history", required=True, help="lines, a table, JSON, an export or a zip of one; for several people: --user"
    )
    assemble.add_argument(
        "--no-replies", action="store_true", help="of an export of posts, leave out answers to others"
    )
    assemble.add_argument("--user", help="which user of a file of users, or which name of a chat is you")
    assemble.add_argument("--out", required=True, help="file to save the person to")
    assemble.add_argument("--preset", default="default", help="default, paper or reference_code (default: %(default)s)")
    _add_routing(assemble)
    assemble.add_argument("--json", action="store_true")
    assemble.set_defaults(run=run_assemble)

    generate = commands.add_parser("generate", help="answer for a person by one method or several")
    _add_pool(generate)
    _add_person(generate)
    generate.add_argument("--input", required=True, help="the query: the text, or LaMP's wording of it")
    generate.add_argument(
        "--methods",
        default="perpcs",
        help="comma separated: base, random-history, rag:2, pag, retrieval:3, perpcs:gate, oppu:best, perpcs+rag, "
        "wrong:perpcs (default: %(default)s)",
    )
    _add_writer(generate)
    generate.add_argument("--max-new-tokens", type=int)
    generate.add_argument("--temperature", type=float, default=0.0, help="0 = greedy")
    generate.add_argument("--seed", type=seed, default=0)
    generate.add_argument("--json", action="store_true")
    generate.set_defaults(run=run_generate)

    export = commands.add_parser("export", help="write a person as a LoRA adapter that peft reads")
    _add_pool(export)
    _add_person(export)
    export.add_argument("--method", default="perpcs", help="what is exported: perpcs, oppu (default: %(default)s)")
    export.add_argument("--out", required=True, help="folder to write the adapter to")
    export.add_argument("--rank", type=int, help="maximum rank per layer (default: as high as needed to be exact)")
    export.add_argument("--with-base", action="store_true", help="write the pool's base model too, into OUT/base")
    export.add_argument("--json", action="store_true")
    export.set_defaults(run=run_export)

    measure = commands.add_parser("evaluate", help="measure methods on held-out people")
    _add_pool(measure)
    measure.add_argument("--task", required=True, help="LaMP task, for example LaMP_4")
    measure.add_argument("--users", required=True, help="file of target users with queries and true answers")
    measure.add_argument(
        "--methods", default="base,rag,perpcs,wrong:perpcs,oppu,wrong:oppu", help="(default: %(default)s)"
    )
    _add_writer(measure)
    measure.add_argument("--limit", type=int, help="use only the first LIMIT users")
    measure.add_argument("--written", help="methods whose texts are decoded, separated by commas; default: no controls")
    measure.add_argument("--items", type=int, help="use only the newest ITEMS items of each history")
    measure.add_argument("--with-texts", action="store_true", help="keep answers and true answers in the file")
    measure.add_argument("--outputs", help="LaMP's or OPPU's file of true answers, where they do not lie in --users")
    measure.add_argument("--predictions", help="folder for METHOD.json in LaMP's format of submissions")
    measure.add_argument("--out", required=True, help="JSON file to write; methods already in it are skipped")
    measure.add_argument("--again", action="store_true", help="run methods again that the file already holds")
    measure.set_defaults(run=run_evaluate)

    add_experiment(commands, _add_pool, pool_folder, {"peftu": run_peftu, "six": run_six})

    check = commands.add_parser("validate", help="check a pool: hashes, shapes, numbers, disjoint users, sizes")
    check.add_argument("pool", help="folder, or name under assets/pools")
    check.set_defaults(run=run_validate)
    add_commands(commands, _add_pool, pool_folder)
    return parser


def _add_routing(parser: argparse.ArgumentParser) -> None:
    """One flag for each option of any router, with its docstring as help; None keeps the preset's value."""
    from perpcs.assembly.routers import option_arguments

    for name, (kind, choices, help) in option_arguments().items():
        flag, text = f"--{name.replace('_', '-')}", help.replace("%", "%%")
        if kind is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, help=text)
        elif kind is tuple:
            parser.add_argument(flag, action="append", metavar="ID", help=f"{text} May be given several times.")
        else:
            parser.add_argument(flag, type=kind, metavar="|".join(choices) or kind.__name__.upper(), help=text)


def seed(text: str) -> int:
    """A number that every generator takes; argparse names the function in its message."""
    value = int(text)
    if not 0 <= value < 2**63:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 2**63 - 1")
    return value


def _add_person(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", help="file that `perpcs assemble` saved; or which person of a file of users")
    parser.add_argument("--history", help="file of what the person wrote; without a saved person, add --task")
    parser.add_argument("--task", help="LaMP task of the history, where there is no saved person")


def _add_writer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--writer", help="instruct model that writes the profiles of PAG; default: the shipped base model, or counting"
    )


def _add_pool(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pool", default=DEFAULT_POOL, help="folder, or name under assets/pools (default: %(default)s)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: %(default)s)")


if __name__ == "__main__":
    sys.exit(main())
