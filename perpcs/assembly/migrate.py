"""A person moved to another version of their pool, in which sharers came or went. No model is run.

Who goes takes their pieces along: what these held goes to the others of the position, as ``Assembly.without_sharers``
does it, and their column falls away. Who comes has a column of zeros and is named among the sharers left out: the
router's option ``without``. So the record says what it is, the outcome of the same history in the new pool without the
newcomer, which a new assembly with that option gives again.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from perpcs.assembly.record import Assembly


def migrated(assembly: Assembly, sharers: Sequence[str], pool: str, pool_hash: str) -> Assembly:
    """The person as an assembly of a pool that has these sharers, in this order.

    Args:
        sharers: ids of the new pool's sharers for the person's task.
        pool: the new pool's name.
        pool_hash: the new pool's hash.
    """
    old = {id: column for column, id in enumerate(assembly.sharers)}
    gone = [id for id in assembly.sharers if id not in sharers]
    came = [id for id in sharers if id not in old]
    used = [id for id in gone if assembly.weights[:, old[id]].any() or (assembly.choices == old[id]).any()]
    stayed = assembly.without_sharers(used) if used else assembly
    columns = np.array([old.get(id, len(old)) for id in sharers], dtype=np.int64)  # len(old): a column of zeros
    place = np.full(len(old) + 1, -1, dtype=np.int16)  # where each old column stands now; -1, nobody, stays nobody
    for new, column in enumerate(columns):
        if column < len(old):
            place[column] = new

    def moved(table: np.ndarray) -> np.ndarray:
        return np.pad(table, ((0, 0), (0, 1)))[:, columns]

    without = [id for id in assembly.router.get("without", ()) if id not in gone]
    return replace(
        stayed,
        weights=moved(stayed.weights),
        scores=moved(stayed.scores),
        choices=place[stayed.choices.astype(np.int64)],
        sharers=tuple(sharers),
        pool=pool,
        pool_hash=pool_hash,
        router={**assembly.router, "without": [*without, *came]} if without or came or gone else assembly.router,
    )
