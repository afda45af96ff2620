"""What a pool is made of, as data: the shipped pool ``people``, and what any pool of one's own says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perpcs.model import opened
from perpcs.pool.adapt import AdaptSettings
from perpcs.pool.build import Settings
from perpcs.pool.distil import DistilSettings
from perpcs.pool.hypernet_train import HypernetSettings
from perpcs.pool.train import GateSettings, PieceSettings


@dataclass(frozen=True)
class Recipe:
    """A pool from people's files and a causal LM."""

    name: str
    base: str
    """The shipped base's name, a Hugging Face name, or a folder."""
    sources: Mapping[str, Path]
    """Of every task the folder with its ``sharer_candidates.json``; where it is there, its ``base_users.json`` adapts
    the base model."""
    licence: str
    title: str = ""
    examples: Path | None = None
    """Folder with TASK.json: example people of the app; None = each task's ``examples.json``."""
    sharers: int = 40
    """Of each task; all candidates where there are fewer."""
    modules: tuple[str, ...] = ()
    """Endings of the names of adapted layers; () = the attention projections."""
    first_layer: int = 0
    """Pieces stand in this layer and those above it: the backward pass of training and routing ends there."""
    adaptation: AdaptSettings = field(default_factory=AdaptSettings)
    settings: Settings = field(default_factory=Settings)
    writer: str = ""
    """Instruct model that writes profiles for the base model's lessons; "" = they are counted."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Of a task who its sharers are, in a sentence."""
    card: Mapping[str, Any] = field(default_factory=dict)


REAL_TASKS = ("LaMP_4", "LaMP_5", "LaMP_3", "LaMP_2N", "LaMP_1")
"""Tasks of ``people`` whose sharers are real writers."""
TOWN_TASKS = ("LaMP_7", "LaMP_2")
"""Tasks of ``people`` whose people are made up by the small town."""
TOWN_SEED = 7
TOWN_BASE_USERS, TOWN_CANDIDATES = 160, 120
REAL = "A real writer of a public research data set, known here by a number."
MADE_UP = "A made-up person of the small town, drawn from a seed."

PEOPLE_SETTINGS = Settings(
    pieces=PieceSettings(rank=8, alpha=16.0, epochs=2, batch=4, rate=3e-3),
    rates={"LaMP_1": 1.5e-3, "LaMP_2N": 1.5e-3},
    gates=GateSettings(steps=6, batch=2, rate=2e-2),
    newest=40,
    sharer_tokens=4000,
    dtype="int8",
    distil=DistilSettings(people=80, items=5),
    hypernet=HypernetSettings(
        width=128, hidden=96, rank=8, alpha=16.0, steps=200, rate=4e-4, warmup=0.1, held_out=0.05, evaluate_every=100
    ),
)


def people_recipe(data: Path, town: Path, examples: Path, sharers: int = 40) -> Recipe:
    """The shipped pool.

    Args:
        data: folder with a folder of real people's files for each of ``REAL_TASKS``.
        town: the same of the small town's people for ``TOWN_TASKS``.
        examples: folder with the example people, TASK.json each.
    """
    return Recipe(
        name="people",
        title="People",
        base=opened.NAME,
        sources={task: data / task for task in REAL_TASKS} | {task: town / task for task in TOWN_TASKS},
        licence=(
            "Weights only; no text of a real person is in this pool. Base model: Apache-2.0. Pieces: for research, "
            "teaching and demonstration."
        ),
        examples=examples,
        sharers=sharers,
        modules=("v_proj", "o_proj"),
        first_layer=15,
        settings=PEOPLE_SETTINGS,
        writer=opened.NAME,
        origins=dict.fromkeys(REAL_TASKS, REAL) | dict.fromkeys(TOWN_TASKS, MADE_UP),
        card={
            "data": (
                "Headlines and news categories: news posts by author. Titles and citations: papers of the ACL "
                "Anthology by author. Ratings: film critics' pull quotes with their own score. Tweets and film "
                "tags: made-up people of the small town (docs/SMALLTOWN.md)."
            ),
            "limits": [
                "The base model has 135 million parameters: it writes fluent short English, knows little, and is often "
                "wrong about facts.",
                "English only.",
                "Real writers are authors of news posts, film reviews and papers: other kinds of text gain less.",
                "Pieces can carry what their owners often wrote about, not only how they wrote.",
            ],
        },
    )
