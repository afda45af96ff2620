"""What a pool is made of, as data: the shipped small town, and its tiny twin that tests build from scratch."""

from dataclasses import dataclass, field, replace

from perpcs.model.train_base import BaseSettings
from perpcs.pool.adapt import Shares
from perpcs.pool.build import Settings
from perpcs.pool.distil import DistilSettings
from perpcs.pool.hypernet_train import HypernetSettings
from perpcs.pool.train import GateSettings, PieceSettings


@dataclass(frozen=True)
class TaskRecipe:
    """One task of a pool."""

    task: str
    base_users: int
    """Synthetic people whose items the base model learns from."""
    candidates: int
    """Synthetic people from whom the sharers are chosen."""
    sharers: int
    examples: int = 6
    """Example people of the app: synthetic, and target users."""
    late_users: int = 0
    """Base users beside them, whom the base model meets in the last part of its training; 0 = the same ones again."""
    history: tuple[int, int] | None = None
    """Fewest and most items that a candidate wrote; None = as people of the town do."""


TOWN_LESSONS = Shares(
    with_history=0.6,
    with_profile=0.15,
    strange=0.03,
    taste=0.25,
    alone=0.4,
    named=0.1,
    told=0.1,
    marks=0.4,
    label_weight=16,
    unheard=0.3,
    recased=0.4,
)
TOWN_MIXED_LESSONS = replace(TOWN_LESSONS, named=0.2, taste=0.5, alone=0.3, label_weight=32)
"""More choices by taste, for what was learned of them is soon forgotten beside all else."""
TOWN_LAST_LESSONS = replace(
    TOWN_LESSONS, with_history=0.65, strange=0.01, taste=0.04, alone=0.2, named=0.02, told=0.05, marks=0.3
)
"""Nearly all as prompts of a method are, so that a model comes to trust what it is shown as far as that goes."""


@dataclass(frozen=True)
class Recipe:
    """A pool from nothing but seeds."""

    name: str
    title: str
    tasks: tuple[TaskRecipe, ...]
    base: BaseSettings = field(default_factory=BaseSettings)
    """Size of the base model, and the last part of its training."""
    settings: Settings = field(default_factory=Settings)
    lessons: Shares = TOWN_LESSONS
    """What the base model's lessons show (docs/SMALLTOWN.md): what its tokenizer comes from, and how it reads."""
    mixed_lessons: Shares | None = None
    """What those show from which it learns all at once, after its first steps; None = the same."""
    last_lessons: Shares | None = None
    """What those of the last part of its training show; None = the same."""
    reading: int = 0
    """Steps in which the base model first learns from texts above all, so that it can read when it learns to look."""
    looking: int = 0
    """Steps in which the base model then learns to look at what a prompt shows, texts beside it and nothing else."""
    fitting: int = 0
    """Steps in which it then learns which of two texts is about what a prompt is about."""
    choosing: int = 0
    """Steps in which it then learns also which of the two is the one that a prompt names."""
    recalling: int = 0
    """Steps in which it then learns also to choose what was chosen in an item that is shown."""
    finding: int = 0
    """Steps in which it then learns to find that item among others."""
    taste: int = 0
    """Steps in which it then learns to find, in the same way, what taste decides."""
    mixing: int = 0
    """Steps in which it then learns from all lessons at once."""
    town_seed: int = 7


_PARTS = {"LaMP_4": 900, "LaMP_2": 2000, "LaMP_3": 2000, "LaMP_5": 900, "LaMP_7": 600, "LaMP_1": 3600}
"""Base users a task. A choice or a score tells a small model less than a text does, so it gets more of these."""
_LATE = {"LaMP_4": 2000, "LaMP_2": 2000, "LaMP_3": 1500, "LaMP_5": 2000, "LaMP_7": 1300, "LaMP_1": 2400}
"""Those of the last part. Texts are furthest from done by then, and half of it."""

SMALLTOWN = Recipe(
    name="smalltown",
    title="Small town",
    tasks=tuple(
        TaskRecipe(task, base_users=count, candidates=240, sharers=40, late_users=_LATE[task])
        for task, count in _PARTS.items()
    ),
    base=BaseSettings(
        width=192,
        heads=6,
        feed_forward=576,
        vocabulary=6144,
        steps=12_000,
        rate=1e-3,
        warmup=50,
        cooldown=11_950,
        evaluate_every=500,
        compiled=True,
    ),
    mixed_lessons=TOWN_MIXED_LESSONS,
    last_lessons=TOWN_LAST_LESSONS,
    reading=5000,
    looking=2500,
    fitting=1400,
    choosing=1800,
    recalling=1100,
    finding=2000,
    taste=1500,
    mixing=10_400,
    settings=Settings(
        gates=GateSettings(steps=24),
        distil=DistilSettings(),
        hypernet=HypernetSettings(steps=300, smoothing=0.0, evaluate_every=50),
    ),
)

TINY = Recipe(
    name="smalltown-tiny",
    title="Small town, tiny",
    tasks=tuple(
        TaskRecipe(task, base_users=30, candidates=12, sharers=5, examples=2, history=(10, 16)) for task in _PARTS
    ),
    base=BaseSettings(
        width=64, layers=2, heads=2, feed_forward=128, vocabulary=1600, steps=120, cooldown=40, evaluate_every=60
    ),
    lessons=Shares(with_history=0.45, with_profile=0.15, open_book=0.15),
    settings=Settings(
        pieces=PieceSettings(epochs=1),
        gates=GateSettings(steps=6),
        distil=DistilSettings(items=3),
        hypernet=HypernetSettings(width=16, hidden=8, rank=2, steps=12, people=3, evaluate_every=6),
    ),
)
