"""Six readers of one text: customers of the small town whose modules are shipped with the pool's base model.

`perpcs experiment six --pool POOL` trains them on the pool's adapted base model, a LoRA a reader at the pool's
positions, and writes assets/peftu: their numbers, what their traits are, and how often they are right. The texts are
made up, so they may be shown.
"""

import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from perpcs.data.smalltown import ratings
from perpcs.errors import PerpcsError
from perpcs.files import write_atomic, write_json
from perpcs.model.base import BaseModel
from perpcs.peftu.modules import LoRA, shape_of
from perpcs.peftu.scorer import Scorer
from perpcs.peftu.tasks import Reader, Town, get_peft_task, judged, town_readers
from perpcs.peftu.training import Own, TrainSettings, label_probs, train_people
from perpcs.pool.manifest import Manifest, mapping, read_json
from perpcs.pool.store import expect, read_finite

FOLDER = Path(__file__).resolve().parents[2] / "assets" / "peftu"
TENSORS, FACTS = "six.safetensors", "six.json"
TOWN = Town(people=6, reviews=900, each=220, seed=271)
"""Of 300 seeds the one whose neighbours disagree most often by their traits: six who read alike show nothing."""
SIZE, RATE = 2, 3e-3
TRAINING = TrainSettings(epochs=4)
TEXT_TOKENS = 64


def traits_of(number: int) -> dict[str, Any]:
    """A reader's traits, as ``town_readers`` draws them."""
    return ratings.draw(random.Random(f"{TOWN.seed}/{number}"))


def true_labels(levels: dict[str, int]) -> list[str]:
    """What each reader's traits make of a thing with these levels."""
    return [judged(ratings.score(levels, traits_of(number))) for number in range(TOWN.people)]


def example_reviews(count: int, seed: int = 77) -> list[tuple[str, dict[str, int]]]:
    """Reviews that no reader was trained on, on which their traits disagree, and the levels of each."""
    rng = random.Random(seed)
    found: list[tuple[str, dict[str, int]]] = []
    while len(found) < count:
        levels, text = ratings.draw_review(rng, True)
        if len(set(true_labels(levels))) > 1:
            found.append((text, levels))
    return found


@dataclass(frozen=True)
class Six:
    """The readers, opened."""

    says: tuple[str, ...]
    """A sentence about each."""
    right: float
    """How often the most likely label is what their traits say, on reviews not trained on."""
    wrong: float
    """The same with the next reader's module."""
    parameters: list[Tensor]


def first_layer_of(manifest: Manifest) -> int:
    return min(position.layer for position in manifest.positions)


def scorer_of(base: BaseModel, manifest: Manifest) -> Scorer:
    """The pool's base model, scoring the town's labels."""
    return Scorer(base, get_peft_task("smalltown"), first_layer_of(manifest), text_tokens=TEXT_TOKENS)


def make_six(
    base: BaseModel, manifest: Manifest, folder: Path, say: Callable[[str], None], *, least: float = 0.05
) -> dict[str, Any]:
    """Train the readers and write them.

    Args:
        least: how much more often own modules must be right than the next reader's.

    Raises:
        PerpcsError: when they are not; nothing is written then.
    """
    people = town_readers(TOWN)
    tested = {one.text for reader in people for one in reader.test}
    scorer = scorer_of(base, manifest)
    scorer.read(
        [one.text for reader in people for part in (reader.train, reader.val, reader.test) for one in part],
        say=lambda done, of: say(f"{done} of {of} reviews read"),
    )
    shape, method = shape_of(scorer), LoRA()
    own = [
        Own(
            [one for one in reader.train if one.text not in tested],
            [one for one in reader.val if one.text not in tested],
            RATE,
            number,
        )
        for number, reader in enumerate(people)
    ]
    trained = train_people(scorer, shape, method, SIZE, own, TRAINING, lambda done, of: say(f"step {done} of {of}"))
    texts = [one.text for reader in people for one in reader.test]
    owner = torch.tensor([s for s, reader in enumerate(people) for _ in reader.test])

    def right(shift: int) -> float:
        whose = (owner + shift) % len(people)
        said = label_probs(scorer, texts, lambda rows: method.rows(shape, SIZE, trained.parameters, whose[rows]))
        return round(float(np.mean(_agrees(said, people))), 4)

    as_owner, as_next = right(0), right(1)
    facts = {
        "base_hash": manifest.base_hash,
        "town": asdict(TOWN),
        "traits": [traits_of(number) for number in range(TOWN.people)],
        "right": as_owner,
        "wrong": as_next,
        "reviews": len(texts),
        "best_epoch": trained.best_epoch,
    }
    if as_owner < as_next + least:
        raise PerpcsError(
            f"Own modules are right in {as_owner:.0%}, the next reader's in {as_next:.0%}: not personal.",
            "Change TOWN, RATE or TRAINING in perpcs/peftu/six.py.",
        )
    half = {str(i): part.half().contiguous() for i, part in enumerate(trained.parameters)}
    write_atomic(folder / TENSORS, save(half))
    write_json(folder / FACTS, facts)
    return facts


def _agrees(probs: np.ndarray, people: list[Reader]) -> list[bool]:
    task = get_peft_task("smalltown")
    truth = [true for reader in people for true in reader.truth]
    return [task.labels[best] == true for best, true in zip(probs.argmax(1), truth, strict=True)]


def read_six(base: BaseModel, manifest: Manifest, folder: Path = FOLDER) -> Six | None:
    """The readers that were trained on this base model; None where there are none.

    Raises:
        PerpcsError: when their file is damaged or of another shape.
    """
    if not (folder / FACTS).exists():
        return None
    facts = mapping(read_json(folder / FACTS))
    if facts.get("base_hash") != manifest.base_hash:
        return None
    shape = shape_of(scorer_of(base, manifest))
    forms = {str(i): ("F16", (TOWN.people, *part.shape)) for i, part in enumerate(LoRA().start(shape, SIZE))}
    expect(folder / TENSORS, TENSORS, forms)
    tensors = read_finite(folder / TENSORS, TENSORS)
    says = tuple(ratings.describe(traits_of(number)) for number in range(TOWN.people))
    parameters = [tensors[str(i)].float().to(base.device) for i in range(len(tensors))]
    return Six(says, float(facts["right"]), float(facts["wrong"]), parameters)


def read_by_six(base: BaseModel, manifest: Manifest, six: Six, text: str) -> tuple[np.ndarray, np.ndarray]:
    """Label probabilities of a text by the base model (labels,) and by each reader (6, labels).

    The text is read once; the readers differ in what follows it.
    """
    scorer = scorer_of(base, manifest)
    scorer.read([text])
    shape, method = shape_of(scorer), LoRA()
    alone = label_probs(scorer, [text])[0]
    said = label_probs(scorer, [text] * TOWN.people, lambda rows: method.rows(shape, SIZE, six.parameters, rows))
    return alone, said
