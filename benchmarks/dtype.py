"""float32 against bfloat16 on this machine's CPU: a forward pass, a training pass and decoding of the shipped base.

    python -m benchmarks.dtype        writes results/speed/dtype.json

What ``auto`` picks (perpcs/model/base.py) comes from this: bfloat16 where the CPU has such products and weights are
large. Ratios are over float32 in the same run.
"""

import os
from datetime import UTC, datetime

import torch

from benchmarks.common import SPEED, print_table, take_turns, write_result
from perpcs.evaluate.experiments import commit
from perpcs.model import opened
from perpcs.model.base import BaseModel, load_base, rounds_fast
from perpcs.model.basis import Factors
from perpcs.model.decode import decode

ROWS, TOKENS, NEW, REPEATS = 16, 64, 12, 5


def main() -> None:
    speeds = {kind: measured(load_base(opened.NAME, device="cpu", dtype=kind)) for kind in ("float32", "bfloat16")}
    ratios = {what: round(speeds["bfloat16"][what] / speeds["float32"][what], 2) for what in speeds["float32"]}
    result = {
        "benchmark": "dtype",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit(),
        "cpus": os.cpu_count(),
        "bfloat16_products": rounds_fast(),
        "units": "tokens per second",
        "speeds": speeds,
        "bfloat16_over_float32": ratios,
    }
    write_result(SPEED / "dtype.json", result)
    print_table([("", *speeds), *((what, *(speeds[kind][what] for kind in speeds)) for what in ratios)])


def measured(base: BaseModel) -> dict[str, float]:
    """Tokens per second of each kind of pass."""
    ids = torch.randint(100, 40_000, (ROWS, TOKENS), generator=torch.Generator().manual_seed(0))
    A = [torch.randn(8, position.n, requires_grad=True) for position in base.positions]
    Bt = [torch.zeros(8, position.d, requires_grad=True) for position in base.positions]
    c = torch.ones(1, 1, 8)

    @torch.no_grad()
    def forward() -> None:
        base.hidden(ids)

    def train() -> None:
        base.hidden(ids, lambda p, x: Factors(A[p], Bt[p], c)).float().square().sum().backward()

    def write(rows: int) -> None:
        for _ in decode(base, ids[:rows].tolist(), max_new_tokens=NEW, no_repeat=0):
            pass

    runs = {
        "forward": (forward, ROWS * TOKENS),
        "forward and backward": (train, ROWS * TOKENS),
        "writing, one row": (lambda: write(1), NEW),
        "writing, six rows": (lambda: write(6), 6 * NEW),
    }
    timings = take_turns([run for run, _ in runs.values()], REPEATS)
    return {
        what: round(tokens / timed["median_s"], 1)
        for (what, (_, tokens)), timed in zip(runs.items(), timings, strict=True)
    }


if __name__ == "__main__":
    main()
