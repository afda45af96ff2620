"""Building a pool from people's data in LaMP or Per-Pcs layout and any Hugging Face causal LM.

    FOLDER/base_users.json           adapt the base model; optional
    FOLDER/sharer_candidates.json    the sharers are chosen from these people
    FOLDER/examples.json             example people of the app; optional, and may lie elsewhere as TASK.json

or under the names that the releases of Per-Pcs and OPPU give these files.

As in the paper (section 2.2) the base model learns the tasks from base users alone, by a LoRA. On the shipped base the
pool keeps that update as it is, and it is merged when the pool is opened; any other base is stored merged and whole.

Task adaptation (section 2.2): what the base model learns from base users, and the LoRA that learns it.

A history item or a profile that stands in a prompt must help, or RAG and PAG are no honest baselines; so a share of the
prompts carry what BM25 retrieves from the writer's strictly earlier history, and a share a profile of it. Base users'
queries are learned from too: where the history is free text, only they show what is asked.

The update of all positions is one low-rank product each, kept as such on disk (a few MB) and merged when the model is
opened (model/base.py). Batches hold texts of similar length; masters are float32 whatever the model computes in.
"""

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from perpcs.data import BASE_USERS, CANDIDATES, people_file, read_users
from perpcs.data.lamp_files import with_others
from perpcs.data.prompts import retrieve, statistics
from perpcs.errors import PerpcsError, quiet_transformers
from perpcs.files import hash_file, write_atomic, write_json
from perpcs.model import opened
from perpcs.model.base import (
    BaseModel,
    adapted_sentence,
    choose_layers,
    layer_of,
    linear_layers,
    load_base,
    merge,
    save_plain,
)
from perpcs.model.basis import Adapter, Factors
from perpcs.model.likelihood import Encoded, encode_pair, length_batches, target_nll
from perpcs.pool.build import Settings, TaskPeople, finish, open_target
from perpcs.pool.hypernet import HypernetSettings
from perpcs.pool.stages import Stage, Workspace, clock, throttled
from perpcs.pool.store import DELTA, REFERENCE
from perpcs.pool.train import DistilSettings, GateSettings, PieceSettings
from perpcs.tasks import Item, Query, Task, User, get_task

# ---- task adaptation -------------------------------------------------------------------------------------------------


RETRIEVED = (1, 1, 2, 4)
"""How many items a prompt with history carries: one of these, equally likely."""
FEWEST_TO_DESCRIBE = 4
"""Items below which a profile says next to nothing."""
CHECKPOINT = "checkpoint.safetensors"
_EVERY = 180.0  # seconds between checkpoints


@dataclass(frozen=True)
class AdaptSettings:
    """How the base model is adapted."""

    rank: int = 16
    alpha: float = 32.0
    rate: float = 1e-3
    warmup: int = 15
    """Steps in which the rate rises; then it falls linearly to zero."""
    batch_tokens: int = 1536
    """Padded tokens of a step."""
    lessons: int = 1500
    """At most so many lessons a task, drawn evenly over its base users."""
    tokens: int = 80_000
    """At most so many tokens a task: tasks with long texts get fewer lessons."""
    longest: int = 400
    """Lessons of more tokens are left out."""
    with_history: float = 0.4
    """Share of lessons whose prompt carries retrieved, strictly earlier items."""
    with_profile: float = 0.08
    """Share of lessons whose prompt carries a profile of strictly earlier items, where there are enough of them."""
    label_weight: float = 4.0
    """How much a token of a label counts beside one of a text: a label has few, and one of these decides."""
    seed: int = 0


@dataclass(frozen=True)
class Lesson:
    """One text to learn from."""

    task: str
    prompt: str
    target: str


Profiles = Callable[[Task, Sequence[tuple[Item, ...]]], list[str]]
"""Writes one line about each of several histories."""


def base_lessons(task: Task, users: Sequence[User], settings: AdaptSettings, profiles: Profiles) -> list[Lesson]:
    """Lessons of one task, at most ``settings.lessons``, in an order drawn from the seed.

    Items of one user are spread over the order, so that a cut keeps as many people as it can.
    """
    rng = random.Random(f"{settings.seed}/{task.name}")
    places = [(user, index) for user in users for index in range(len(user.history) + len(user.queries))]
    rng.shuffle(places)
    seen: dict[str, int] = {}
    rank = {}
    for user, index in places:
        seen[user.id] = rank[user.id, index] = seen.get(user.id, 0) + 1
    places.sort(key=lambda place: rank[place[0].id, place[1]])
    drawn = [(place, rng.random() < settings.with_history, rng.random()) for place in places]
    chosen = [one for one in drawn if _asked(*one[0]) is not None][: settings.lessons]
    told = {
        place: user.history[:index]
        for place, ((user, index), _, draw) in enumerate(chosen)
        if draw < settings.with_profile and min(index, len(user.history)) >= FEWEST_TO_DESCRIBE
    }
    lines = dict(zip(told, profiles(task, list(told.values())), strict=True))
    lessons = []
    for place, ((user, index), shows, _) in enumerate(chosen):
        earlier = user.history[:index]
        item = user.history[index] if index < len(user.history) else None
        query = task.as_query(item) if item else user.queries[index - len(user.history)]
        k = rng.choice(RETRIEVED)
        shown = retrieve(query.sought, earlier, k) if shows and earlier else []
        if item is not None and item.y is None:
            lessons.append(Lesson(task.name, *task.pair(item)))
        elif item is not None:
            lessons.append(Lesson(task.name, *task.pair(item, history=shown, profile=lines.get(place, ""))))
        else:
            lessons.append(Lesson(task.name, task.prompt(query, shown, lines.get(place, "")), f" {query.gold}"))
    return lessons


def _asked(user: User, index: int) -> Item | Query | None:
    """The item or query at a place; None where a query has no answer to learn."""
    if index < len(user.history):
        return user.history[index]
    query = user.queries[index - len(user.history)]
    return query if query.gold is not None else None


@dataclass(frozen=True)
class Delta:
    """A low-rank update of every position: W + s B A."""

    A: list[Tensor]
    """Per position (r, n)."""
    B: list[Tensor]
    """Per position (d, r)."""
    scale: float
    paths: tuple[str, ...]
    """Module names of the positions."""

    def save(self, path: Path) -> None:
        """Write it as half floats."""
        named = {f"{path}.A": a for path, a in zip(self.paths, self.A, strict=True)}
        named |= {f"{path}.B": b * self.scale for path, b in zip(self.paths, self.B, strict=True)}
        write_atomic(path, save({name: tensor.half().contiguous() for name, tensor in named.items()}))


def encode_lessons(base: BaseModel, lessons: Sequence[Lesson], settings: AdaptSettings) -> list[tuple[str, Encoded]]:
    """Task and token ids of the lessons that fit, up to ``settings.tokens`` of each task."""
    left: dict[str, int] = {}
    kept = []
    for lesson in lessons:
        one = encode_pair(base.tokenizer, lesson.prompt, lesson.target, base.max_tokens)
        room = left.setdefault(lesson.task, settings.tokens)
        if len(one.ids) <= min(settings.longest, room):
            left[lesson.task] = room - len(one.ids)
            kept.append((lesson.task, one))
    return kept


def adapt(
    base: BaseModel,
    encoded: Sequence[Encoded],
    weights: Sequence[float],
    settings: AdaptSettings,
    folder: Path | None = None,
    on_step: Callable[[int, int, float], None] | None = None,
) -> tuple[Delta, list[float]]:
    """Train one LoRA on all lessons, once through.

    Args:
        weights: how much a target token of each lesson counts.
        folder: where a checkpoint is kept, so that a killed run goes on where it was.
        on_step: told the step, how many there are, and the loss (weighted nats a target token).

    Returns:
        The update, and the loss of every step.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    parameters: list[Tensor] = []
    for position in base.positions:
        bound = position.n**-0.5
        A = (torch.rand(settings.rank, position.n, generator=generator) * 2 - 1) * bound
        parameters += [A.to(base.device).requires_grad_()]
        parameters += [torch.zeros(settings.rank, position.d, device=base.device).requires_grad_()]
    batches = length_batches([len(one.ids) for one in encoded], settings.batch_tokens)
    random.Random(settings.seed).shuffle(batches)
    optimiser = torch.optim.AdamW(parameters, lr=settings.rate, betas=(0.9, 0.99), weight_decay=0.0)
    c = torch.full((1, 1, settings.rank), settings.alpha / settings.rank, device=base.device)
    adapter: Adapter = lambda p, x: Factors(parameters[2 * p], parameters[2 * p + 1], c)  # noqa: E731
    losses = _resume(folder, parameters, optimiser)
    saved = time.monotonic()
    for step in range(len(losses), len(batches)):
        rate = min(1.0, (step + 1) / settings.warmup) * (1 - step / len(batches))
        optimiser.param_groups[0]["lr"] = settings.rate * rate
        nll, counts = target_nll(base, [encoded[row] for row in batches[step]], adapter)
        count = torch.tensor([weights[row] for row in batches[step]], device=nll.device)
        loss = (nll * count).sum() / (counts * count).sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        losses.append(round(float(loss.detach()), 4))
        if folder is not None and time.monotonic() - saved > _EVERY:
            _keep(folder, parameters, optimiser, losses)
            saved = time.monotonic()
        if on_step:
            on_step(step + 1, len(batches), losses[-1])
    done = [parameter.detach().cpu() for parameter in parameters]
    paths = tuple(position.path for position in base.positions)
    return Delta(done[0::2], [b.T for b in done[1::2]], settings.alpha / settings.rank, paths), losses


def _keep(folder: Path, parameters: Sequence[Tensor], optimiser: torch.optim.AdamW, losses: Sequence[float]) -> None:
    tensors = {"losses": torch.tensor(losses)}
    for number, parameter in enumerate(parameters):
        state = optimiser.state[parameter]
        tensors |= {f"{number}.{key}": state[key] for key in ("exp_avg", "exp_avg_sq", "step")}
        tensors[f"{number}"] = parameter.detach()
    write_atomic(folder / CHECKPOINT, save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}))


def _resume(folder: Path | None, parameters: Sequence[Tensor], optimiser: torch.optim.AdamW) -> list[float]:
    if folder is None or not (folder / CHECKPOINT).exists():
        return []
    read = load_file(folder / CHECKPOINT)
    for number, parameter in enumerate(parameters):
        parameter.data.copy_(read[f"{number}"])
        optimiser.state[parameter] = {key: read[f"{number}.{key}"] for key in ("exp_avg", "exp_avg_sq", "step")}
    return [round(loss, 4) for loss in read["losses"].tolist()]


# ---- recipes ---------------------------------------------------------------------------------------------------------


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


# ---- from folders of people ------------------------------------------------------------------------------------------


FEWEST_CANDIDATES = 2
"""Of a task: one alone would be everybody's pieces."""


def build_from_data(space: Workspace, recipe: Recipe, final: Path) -> list[TaskPeople]:
    """Build the pool folder ``final``.

    Returns:
        Who it was made from, by task.

    Raises:
        PerpcsError: when a file is missing or malformed, or the base model cannot be loaded.
    """
    if not recipe.sources:
        raise PerpcsError("No task was named.", "Name at least one, for example --task LaMP_4.")
    people: list[TaskPeople] = []
    learners: dict[str, list[User]] = {}
    for name, folder in recipe.sources.items():
        task = get_task(name)
        candidates, adapters = people_file(folder, CANDIDATES), people_file(folder, BASE_USERS)
        examples = recipe.examples / f"{name}.json" if recipe.examples else folder / "examples.json"
        learners[name] = with_others(task, read_users(adapters, task)) if adapters.exists() else []
        users = with_others(task, read_users(candidates, task))
        people.append(
            TaskPeople(
                task,
                learners[name],
                users,
                min(recipe.sharers, len(users)),
                {"candidates": hash_file(candidates), "task": name},
                json.loads(examples.read_bytes()) if examples.exists() else (),
                recipe.origins.get(name, ""),
            )
        )
    _refuse_too_few(people)
    base_key, base_folder, result = _adapt_stage(space, recipe, learners, _open_base(recipe))
    target = open_target(space, recipe.name, base_folder, recipe.modules, recipe.first_layer)
    adapted = adapted_sentence(target.base.positions)
    space.say(f"adapted: {adapted}")
    finish(
        space,
        target,
        base_key,
        people,
        recipe.settings,
        final,
        name=recipe.name,
        title=recipe.title or recipe.name,
        licence=recipe.licence,
        users={
            "base": {part.task.name: len(part.base_users) for part in people},
            "candidates": {part.task.name: len(part.candidates) for part in people},
        },
        card={
            **recipe.card,
            "base": {"from": recipe.base, "adaptation": asdict(recipe.adaptation), "adapted": adapted, **result},
        },
    )
    return people


def _refuse_too_few(people: Sequence[TaskPeople]) -> None:
    """Before any work: each task has candidates enough for the sharers, and every candidate has a history."""
    for part in people:
        if len(part.candidates) < FEWEST_CANDIDATES:
            raise PerpcsError(
                f"{part.task.name} has {len(part.candidates)} sharer candidates, and a pool needs {FEWEST_CANDIDATES}.",
                "Bring more people, or leave the task out.",
            )


def _open_base(recipe: Recipe) -> BaseModel:
    """The base model as it learns the tasks: at its attention projections, or where those are not known, at the
    modules that were asked for. What cannot be adapted is refused here, before hours of work.
    """
    quiet_transformers()
    try:
        base = load_base(recipe.base)
    except PerpcsError:
        if not recipe.modules:
            raise
        base = load_base(recipe.base, modules=recipe.modules)
    names = choose_layers(linear_layers(base), recipe.modules)
    if all(layer_of(name) < recipe.first_layer for name in names):
        raise PerpcsError(f"The base model has no layer {recipe.first_layer}.", "Name a lower first layer.")
    return base


def _adapt_stage(space: Workspace, recipe: Recipe, users: Mapping[str, Sequence[User]], base: BaseModel) -> Stage:
    """Train one LoRA on base users of all tasks; without base users the model is taken as it is."""
    files = {name: hash_file(people_file(recipe.sources[name], BASE_USERS)) for name, some in users.items() if some}
    settings = recipe.adaptation
    prompts = {name: get_task(name).version for name in files}
    lessons = _lessons_stage(space, recipe, files, prompts, users) if files else None

    def work(folder: Path) -> dict[str, Any]:
        losses: list[float] = []
        if lessons is not None:
            rows = [Lesson(*row) for row in json.loads((lessons[1] / "lessons.json").read_bytes())]
            encoded = encode_lessons(base, rows, settings)
            space.say(f"base: {len(encoded)} lessons, {sum(len(one.ids) for _, one in encoded):,} tokens")
            weights = [settings.label_weight if get_task(name).labels else 1.0 for name, _ in encoded]
            tell = throttled(space.say)
            left = space.time_left()

            def told(step: int, of: int, loss: float) -> None:
                tell(lambda: f"base: step {step} of {of}, {loss:.2f} nats a token, {clock(left(step, of))} left")

            delta, losses = adapt(base, [one for _, one in encoded], weights, settings, folder, told)
            delta.save(folder / DELTA)
            (folder / CHECKPOINT).unlink(missing_ok=True)
        if recipe.base == opened.NAME:
            write_json(folder / REFERENCE, {"base": opened.NAME, "sha256": opened.SHA256})
        else:
            _save_merged(base, folder)
        return {"lessons": lessons[2] if lessons else {}, "losses": losses}

    inputs = {
        "base": recipe.base,
        "lessons": lessons[0] if lessons else "",
        "adaptation": settings if files else None,
    }
    return space.stage("base", inputs, work)


def _lessons_stage(
    space: Workspace,
    recipe: Recipe,
    files: Mapping[str, str],
    prompts: Mapping[str, int],
    users: Mapping[str, Sequence[User]],
) -> Stage:
    """Write what the base model learns from; profiles of base users are written here, by a model where one is named."""
    settings = recipe.adaptation

    def work(folder: Path) -> dict[str, int]:
        profiles = _writer(recipe, space)
        lessons = [
            lesson
            for name, some in users.items()
            if some
            for lesson in base_lessons(get_task(name), some, settings, profiles)
        ]
        write_json(folder / "lessons.json", [list(asdict(lesson).values()) for lesson in lessons])
        return {name: sum(lesson.task == name for lesson in lessons) for name in files}

    inputs = {
        "users": files,
        "prompts": prompts,
        "shown": (settings.with_history, settings.with_profile, settings.lessons, settings.seed),
        "writer": recipe.writer,
    }
    return space.stage("lessons", inputs, work)


def _writer(recipe: Recipe, space: Workspace) -> Profiles:
    """What describes base users for their lessons: the instruct model of the recipe, or counting."""
    if not recipe.writer:
        return lambda task, histories: [statistics(task, history) for history in histories]
    from perpcs.pool.profile_writer import ModelWriter

    model = ModelWriter.load(recipe.writer)
    tell = throttled(space.say)

    def write(task: Task, histories: Sequence[tuple[Item, ...]]) -> list[str]:
        return model.write_all(
            task, histories, lambda done: tell(lambda: f"profiles {task.name}: {done} of {len(histories)} written")
        )

    return write


def _save_merged(base: BaseModel, folder: Path) -> None:
    """Save a model in Hugging Face format with the update of the folder merged into it."""
    delta = folder / DELTA
    if delta.exists():
        merge(base, load_file(delta))
        delta.unlink()
    save_plain(base, folder)
