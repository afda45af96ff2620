"""What it costs to assemble a person, to keep one, and to serve many different ones at once.

    python -m benchmarks.assembly [--pool FOLDER] [--items 50] [--users 32] [--repeats 5] [--out FILE]

For each task of the pool, with its example people:

assembling    seconds from the items to the record, tokenising included; over one forward pass of the same tokens in
              the same batches through the base model, without head and cache (tokenising not included); by `prototype`,
              which costs what `gate` costs
newton        the same by `newton`, the default, the check on the newest items included
bytes         a person's weights (P x S half floats) and the saved file, over a LoRA of the pool's rank (half floats)
reading       tokens/s of one pass over a batch of different people, over the same batch of the base model
answering     the same for decoding: prompts and the first new tokens; gathering the people's columns is included
"""

import argparse
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common import DEFAULT_POOL, SPEED, about, print_table, take_turns, write_result, writers
from perpcs.assembly.assemble import assemble
from perpcs.assembly.record import Assembly
from perpcs.assembly.routers import make_router
from perpcs.model.base import BaseModel
from perpcs.model.basis import Adapter, people
from perpcs.model.decode import decode
from perpcs.model.likelihood import encode_pair, encode_prompt, length_batches, pad_right
from perpcs.pool.store import Pool
from perpcs.tasks import Item, Query, Task, get_task

BATCH_TOKENS = 8192
"""Padded tokens of one forward pass, for the assembly and for the plain pass alike."""
SHORT_HISTORY = 10
"""Items of each person in the batch of different people."""
NEW_TOKENS = 8
"""Tokens decoded for each row, fewer where all answers of the base model or of the people end earlier."""
PACKAGES = ("torch", "transformers", "numpy", "safetensors")


def measure(folder: Path, *, items: int = 50, users: int = 32, repeats: int = 5) -> dict[str, Any]:
    """Run the benchmark on a pool's folder, on the CPU; the result as it is written."""
    pool = Pool(folder)
    base = pool.base("cpu")
    settings = {
        "items": items,
        "users": users,
        "repeats": repeats,
        "batch_tokens": BATCH_TOKENS,
        "threads": torch.get_num_threads(),
        "device": "cpu",
        "dtype": str(base.dtype).removeprefix("torch."),
    }
    result = about("assembly", pool, settings, PACKAGES)
    result["goals"] = {
        "over_forward": {"at most": 1.5},
        "newton_over_forward": {"at most": 4.0},
        "throughput_over_base": {"at least": 0.9},
    }
    result["base_parameters"] = sum(parameter.numel() for parameter in base.model.parameters())
    result["tasks"] = {
        part.task: measure_task(base, pool, get_task(part.task), items=items, users=users, repeats=repeats)
        for part in pool.manifest.tasks
    }
    return result


def measure_task(base: BaseModel, pool: Pool, task: Task, *, items: int, users: int, repeats: int) -> dict[str, Any]:
    """All numbers of one task."""
    history = writers(pool, task, 1, items)[0][0]
    many = writers(pool, task, users, SHORT_HISTORY)
    dense = make_router("uniform")  # no piece is without weight: the most that serving can cost
    assemblies = [assemble(base, pool, task, own, options=dense) for own, _ in many]
    queries = [query for _, query in many]
    return {
        "assembling": assembling(base, pool, task, history, repeats),
        "bytes": kept_bytes(pool, assemble(base, pool, task, history)),
        **throughput(base, pool, task, assemblies, queries, repeats),
    }


def assembling(base: BaseModel, pool: Pool, task: Task, history: Sequence[Item], repeats: int) -> dict[str, Any]:
    """Seconds of an assembly and of a plain pass over the same tokens."""
    encoded = [encode_pair(base.tokenizer, *task.pair(item), base.max_tokens) for item in history]
    order = length_batches([len(item.ids) for item in encoded], BATCH_TOKENS)
    batches = [pad_right([encoded[row].ids for row in rows], base.pad, base.device) for rows in order]

    @torch.no_grad()
    def plain() -> None:
        for ids in batches:
            base.hidden(ids)

    def by(router: str) -> Assembly:
        options = make_router(router)
        return assemble(base, pool, task, history, options=options, batch_tokens=BATCH_TOKENS)

    whole, newton, forward = take_turns((lambda: by("prototype"), lambda: by("newton"), plain), repeats)
    return {
        "items": len(history),
        "tokens": sum(len(item.ids) for item in encoded),
        "batches": len(batches),
        "assembly": whole,
        "forward": forward,
        "over_forward": ratio(whole["median_s"], forward["median_s"]),
        "newton": {**newton, "over_forward": ratio(newton["median_s"], forward["median_s"])},
    }


def kept_bytes(pool: Pool, person: Assembly) -> dict[str, Any]:
    """What is kept of a person against what a LoRA of their own would take."""
    weights = person.kept_bytes
    adapter = 2 * pool.manifest.rank * sum(position.n + position.d for position in pool.manifest.positions)
    saved = len(person.to_json().encode())
    return {
        "weights": weights,
        "saved_file": saved,
        "adapter": adapter,
        "weights_over_adapter": ratio(weights, adapter),
        "saved_file_over_adapter": ratio(saved, adapter),
    }


@torch.no_grad()
def throughput(
    base: BaseModel, pool: Pool, task: Task, persons: Sequence[Assembly], queries: Sequence[Query], repeats: int
) -> dict[str, Any]:
    """Tokens a second of a batch of different people, over the same batch of the base model."""
    pieces = pool.pieces(task.name, base.device, base.dtype).pieces
    weights = torch.from_numpy(np.stack([person.weights for person in persons])).to(base.device, base.dtype)
    prompts = [encode_prompt(base.tokenizer, task.prompt(query), base.max_tokens, NEW_TOKENS) for query in queries]
    ids = pad_right(prompts, base.pad, base.device)

    def answer(adapter: Adapter | None, steps: int) -> int:
        return sum(1 for _ in islice(decode(base, prompts, adapter, max_new_tokens=steps), steps))

    steps = min(answer(people(pieces, weights), NEW_TOKENS), answer(None, NEW_TOKENS))
    theirs, plain = take_turns((lambda: base.hidden(ids, people(pieces, weights)), lambda: base.hidden(ids)), repeats)
    said, said_plain = take_turns(
        (lambda: answer(people(pieces, weights), steps), lambda: answer(None, steps)), repeats
    )
    read = sum(map(len, prompts))
    return {
        "reading": _rates(len(persons), read, theirs, plain),
        "answering": {"new_tokens_a_row": steps, **_rates(len(persons), steps * len(persons), said, said_plain)},
    }


def _rates(rows: int, tokens: int, theirs: dict[str, Any], plain: dict[str, Any]) -> dict[str, Any]:
    return {
        "rows": rows,
        "tokens": tokens,
        "people": {**theirs, "tokens_per_s": round(tokens / max(theirs["median_s"], 1e-9), 1)},
        "base": {**plain, "tokens_per_s": round(tokens / max(plain["median_s"], 1e-9), 1)},
        "throughput_over_base": ratio(plain["median_s"], theirs["median_s"]),
    }


def ratio(a: float, b: float) -> float:
    """a / b to four digits; 0 when there is nothing to divide by."""
    return round(a / b, 4) if b else 0.0


def table(result: dict[str, Any]) -> list[list[object]]:
    """The numbers that decide, as rows."""
    rows: list[list[object]] = [
        [
            "task",
            "items",
            "seconds",
            "over a pass",
            "newton",
            "over a pass",
            "bytes",
            "over a LoRA",
            "reading",
            "answering",
        ]
    ]
    for name, task in result["tasks"].items():
        made, kept = task["assembling"], task["bytes"]
        rows.append(
            [
                name,
                made["items"],
                f"{made['assembly']['median_s']:.2f}",
                f"{made['over_forward']:.2f}",
                f"{made['newton']['median_s']:.2f}",
                f"{made['newton']['over_forward']:.2f}",
                f"{kept['weights']:,}",
                f"1/{kept['adapter'] / kept['weights']:.0f}",
                f"{task['reading']['throughput_over_base']:.2f}",
                f"{task['answering']['throughput_over_base']:.2f}",
            ]
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="What it costs to assemble, keep and serve people.")
    parser.add_argument("--pool", type=Path, default=DEFAULT_POOL, help="a pool's folder (default: people)")
    parser.add_argument("--items", type=int, default=50, help="items of the assembled history (default: %(default)s)")
    parser.add_argument("--users", type=int, default=32, help="different people in a batch (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="runs behind each median (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=SPEED / "assembly.json")
    asked = parser.parse_args()
    result = measure(asked.pool, items=asked.items, users=asked.users, repeats=asked.repeats)
    print_table(table(result))
    write_result(asked.out, result)


if __name__ == "__main__":
    main()
