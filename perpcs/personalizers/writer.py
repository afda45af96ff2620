"""A profile written by a language model, for PAG (Richardson et al., 2023; Per-Pcs uses one too).

Any instruct model that ``load_base`` reads will do. The prompts are this project's own; the person's newest items that
fit are shown, and what comes back is cut to one line. Counting (``perpcs.data.profile``) needs no such model.
"""

from collections.abc import Sequence
from pathlib import Path

from perpcs.errors import PerpcsError
from perpcs.model.base import BaseModel, load_base
from perpcs.model.decode import decode, text_of
from perpcs.tasks import Item, Task

_ASKS = {
    "text": "Describe in at most three short sentences how this person writes: length, tone, wording, punctuation, and "
    "how their texts begin and end. Speak of the style only, not of what single texts are about.",
    "label": "Say in at most two short sentences which of the labels this person gives most often, and what makes them "
    "choose one label over another.",
    "rating": "Say in at most two short sentences how strictly this person scores, which scores they give most often, "
    "and what raises or lowers a score for them.",
    "choice": "Say in at most two short sentences what the papers that this person chose to cite have in common, and "
    "what sets them apart from those passed over.",
}
"""What is asked, by kind of task."""
NEW_TOKENS = 90
_HERE = "<the request>"
_LONGEST = 400  # characters of an item that are shown


class ModelWriter:
    """Writes profiles with an instruct model; greedy, so that a history always gets the same one."""

    def __init__(self, model: BaseModel) -> None:
        self.model = model

    @classmethod
    def load(cls, name: str | Path, device: str = "auto") -> "ModelWriter":
        """Load an instruct model by Hugging Face name or folder.

        Raises:
            PerpcsError: when it cannot be found or read.
        """
        return cls(load_base(name, device=device))

    def __call__(self, task: Task, history: Sequence[Item]) -> str:
        """One line on a person; "" for an empty history.

        Raises:
            PerpcsError: when not even one item fits the model.
        """
        if not history:
            return ""
        ids = self.fitting(task, history)
        *_, last = decode(self.model, [ids], None, max_new_tokens=NEW_TOKENS)
        return " ".join(text_of(self.model, last[0]).split())

    def fitting(self, task: Task, history: Sequence[Item]) -> list[int]:
        """Token ids of the prompt with as many of the newest items as leave room for the profile."""
        room = self.model.max_tokens - NEW_TOKENS
        low, high = 1, len(history)
        while low < high:  # the most items that fit
            middle = (low + high + 1) // 2
            low, high = (middle, high) if len(self._encode(task, history[-middle:])) <= room else (low, middle - 1)
        ids = self._encode(task, history[-low:])
        if len(ids) > room:
            raise PerpcsError("Not one item of the history fits the profile writer.", "Name a model that reads more.")
        return ids

    def _encode(self, task: Task, items: Sequence[Item]) -> list[int]:
        tokenizer, text = self.model.tokenizer, profile_request(task, items)
        if not tokenizer.chat_template:
            return list(tokenizer(text + "\nProfile:")["input_ids"])
        # The template's marks are tokens, but a mark that a person wrote must stay text: the request is encoded alone.
        said = [{"role": "user", "content": _HERE}]
        before, after = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True).split(_HERE)
        marks = [
            tokenizer(part, add_special_tokens=False, split_special_tokens=False)["input_ids"]
            for part in (before, after)
        ]
        return [*marks[0], *tokenizer(text, add_special_tokens=False)["input_ids"], *marks[1]]


def profile_request(task: Task, items: Sequence[Item]) -> str:
    """What a model is asked, with the person's items, oldest first."""
    kind = "choice" if task.history_instruction else task.kind
    shown = "\n".join(f"- {_cut(task.render_item(item))}" for item in items)
    labels = f" The labels are: {', '.join(task.labels)}." if kind == "label" else ""
    return f"Here is what one person wrote before.\n{shown}\n\n{_ASKS[kind]}{labels}"


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[:_LONGEST].rsplit(" ", 1)[0] + " ..."
