"""Example people of a pool: who they are, and their assemblies, computed when the pool is built."""

from pathlib import Path

from perpcs.assembly.assemble import assemble
from perpcs.assembly.options import RouterOptions
from perpcs.assembly.record import Assembly
from perpcs.model.base import BaseModel
from perpcs.pool.store import Pool
from perpcs.tasks import get_task


def assemble_examples(folder: Path, base: BaseModel, options: RouterOptions | None = None) -> int:
    """Assemble every example person and store the records beside the pool; returns how many.

    They name the pool's hash, so they come after the manifest and are not part of it.
    """
    pool = Pool(folder)
    count = 0
    for part in pool.manifest.tasks:
        for example in pool.examples(part.task):
            person = assemble(base, pool, get_task(part.task), example.history, options=options, user=example.id)
            person.save(example_path(folder, part.task, example.id))
            count += 1
    return count


def example_path(folder: Path, task: str, id: str) -> Path:
    """Where an example person's assembly is stored."""
    return folder / task / "examples" / f"{id}.json"


def example_assembly(pool: Pool, task: str, id: str) -> Assembly:
    """An example person's stored assembly.

    Raises:
        PerpcsError: when it is not there.
    """
    return Assembly.load(example_path(pool.folder, task, id))
