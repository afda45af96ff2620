"""The base model: the query alone, the same answer for everybody."""

from perpcs.personalizers.method import Person, Row
from perpcs.tasks import Query


def prepare(person: Person, query: Query) -> Row:
    """The bare prompt."""
    return Row(prompt=person.task.prompt(query))
