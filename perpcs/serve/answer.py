"""The record of one method's answer to one query."""

from dataclasses import dataclass, field

from perpcs.schema import Record
from perpcs.tasks import Item


@dataclass(frozen=True)
class Answer(Record):
    """One method's answer so far. Rows of one call decode together, so their seconds are the batch's; seconds spent
    waiting for other people's work are not counted.
    """

    method: str
    title: str
    prompt: str
    text: str = ""
    done: bool = False
    valid: bool = True
    """For tasks with labels: whether the finished text is one of them."""
    tokens: int = 0
    first_token_seconds: float | None = None
    seconds: float = 0.0
    prepare_seconds: float = 0.0
    retrieved: tuple[Item, ...] = ()
    bytes_stored: int = 0
    text_leaves: bool = False
    labels: dict[str, float] = field(default_factory=dict)
    """Probability of each label, for tasks with labels, once done."""
    profile: str = ""
    """The profile that stands in the prompt, where there is one."""
    says: str = ""
    """What was found while preparing, in a sentence."""
