"""Per-Pcs: the bare prompt, answered by the base model plus the pieces that the person's history chose."""

from perpcs.errors import PerpcsError
from perpcs.personalizers.method import Person, Row
from perpcs.tasks import Query


def prepare(person: Person, query: Query) -> Row:
    """The bare prompt with the person's weights; what is kept is P x S half floats, and the own piece if there is one.

    Raises:
        PerpcsError: when nobody has been assembled yet.
    """
    if person.assembly is None:
        raise PerpcsError("Nobody has been assembled yet.", "Assemble a person first, or load a saved one.")
    return Row(
        prompt=person.task.prompt(query),
        weights=person.assembly.weights,
        own=person.assembly if person.assembly.own.size else None,
        bytes_stored=person.assembly.kept_bytes,
    )
