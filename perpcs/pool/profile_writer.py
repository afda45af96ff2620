"""A profile written by a language model, for PAG (Richardson et al., 2023; Per-Pcs uses one too).

Any instruct model that ``load_base`` reads will do. The prompts ask what those of the paper's Table 5 ask; the person's
newest items that fit are shown, and what comes back is cut to one line. Counting (``perpcs.data.prompts``) needs no
such model.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock

from perpcs.data.prompts import statistics
from perpcs.errors import PerpcsError
from perpcs.model import opened
from perpcs.model.base import BaseModel, load_base
from perpcs.model.decode import decode, text_of
from perpcs.model.likelihood import length_batches, open_ended
from perpcs.pool.store import REFERENCE, Pool
from perpcs.tasks import Item, Task

_ASKS = {
    "LaMP_1": "Summarise in English the research interests and topics of the researcher who published these papers. "
    "Write the summary only.",
    "LaMP_2": "These are films that one person tagged. Which tag do they give most often? Answer in the form: most "
    "popular tag: <tag>",
    "LaMP_2N": "These are articles that one editor filed. Which category do they give most often? Answer in the "
    "form: most popular category: <category>",
    "LaMP_3": "These are one person's reviews. Which score do they give most often to what they like, and which to "
    "what they do not? Answer in the form: most common positive score: <score>, most common negative score: <score>",
    "LaMP_4": "These are one author's articles. Describe a template for their headlines, so that the headline of "
    "another of their articles can be predicted. Be specific about style and wording, and write nothing generic.",
    "LaMP_5": "These are one author's publications. Describe a template for their titles, so that the title of another "
    "paper can be predicted from its abstract. Write the template only.",
    "LaMP_7": "These are one person's tweets. Describe a template for them, so that a plain sentence can be rewritten "
    "in the same style, punctuation, capitals, wording and tone. Write the template only.",
}
"""What is asked, by task: what the prompts of the paper's Table 5 ask for."""
NEW_TOKENS = 60
_READS = 700
"""Tokens of a request, at most: the newest items that fit."""
_HERE = "<the request>"
_LONGEST = 300  # characters of an item that are shown


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

    def write_all(
        self,
        task: Task,
        histories: Sequence[Sequence[Item]],
        on_written: Callable[[int], None] | None = None,
    ) -> list[str]:
        """One line on each of several people, written in batches."""
        prompts = [self.fitting(task, history) for history in histories]
        found = [""] * len(histories)
        done = 0
        for rows in length_batches([len(prompt) for prompt in prompts], 8192, 24):
            *_, last = decode(self.model, [prompts[row] for row in rows], None, max_new_tokens=NEW_TOKENS)
            for row, ids in zip(rows, last, strict=True):
                found[row] = " ".join(text_of(self.model, ids).split())
            done += len(rows)
            if on_written:
                on_written(done)
        return found

    def fitting(self, task: Task, history: Sequence[Item]) -> list[int]:
        """Token ids of the prompt with as many of the newest items as leave room for the profile."""
        room = min(self.model.max_tokens - NEW_TOKENS, _READS)
        low, high = 1, len(history)
        while low < high:  # the most items that fit
            middle = (low + high + 1) // 2
            low, high = (middle, high) if len(self._encode(task, history[-middle:])) <= room else (low, middle - 1)
        ids = self._encode(task, history[-low:])
        if len(ids) > room:
            raise PerpcsError(
                "No item of the history fits the profile writer’s context.", "Name a model with a longer context."
            )
        return ids

    def _encode(self, task: Task, items: Sequence[Item]) -> list[int]:
        tokenizer, text = self.model.tokenizer, profile_request(task, items)
        if not tokenizer.chat_template:
            return open_ended(tokenizer, text + "\nProfile:")[0]
        # The template's marks are tokens, but a mark that a person wrote must stay text: the request is encoded alone.
        said = [{"role": "user", "content": _HERE}]
        before, after = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True).split(_HERE)
        marks = [
            tokenizer(part, add_special_tokens=False, split_special_tokens=False)["input_ids"]
            for part in (before, after)
        ]
        return [*marks[0], *tokenizer(text, add_special_tokens=False)["input_ids"], *marks[1]]


class LazyWriter:
    """A ``ModelWriter`` that is loaded when it is first asked. It keeps nothing: a profile belongs to a session."""

    def __init__(self, name: str | Path, device: str = "auto") -> None:
        self.name, self._device = str(name), device
        self._lock = Lock()

    def __call__(self, task: Task, history: Sequence[Item]) -> str:
        with self._lock:  # one profile at a time: the model would be loaded twice
            return self._model(task, history)

    @cached_property
    def _model(self) -> ModelWriter:
        return ModelWriter.load(self.name, self._device)


def pool_writer(pool: Pool, device: str = "auto") -> Callable[[Task, Sequence[Item]], str]:
    """What writes the profiles of PAG where nothing else is asked for: the shipped base where the pool stands on it,
    before its adaptation to the tasks; else counting.
    """
    on_shipped = bool(pool.manifest.base_hash) and (pool.folder / pool.manifest.base / REFERENCE).exists()
    return LazyWriter(opened.NAME, device) if on_shipped else statistics


def profile_request(task: Task, items: Sequence[Item]) -> str:
    """What a model is asked, with the person's items, oldest first."""
    shown = "\n".join(f"- {_cut(task.render_item(item))}" for item in items)
    return f"{_ASKS[task.name]}\nUser History:\n{shown}"


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[:_LONGEST].rsplit(" ", 1)[0] + " ..."
