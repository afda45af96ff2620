"""`perpcs experiment peftu --data DIR`: which small personal module is best when the same text has different answers.

    people of a task  -->  searched on (rates, shares)  |  measured (test texts)        nobody is both
    cell              =    a method at a size: trained for all measured people together, scored on their test texts
    controls          =    wrong:X (the next person's module), shuffled labels, the person's label counts, one module
                           for all of the searched people

Every cell is a file in the work folder, so a stopped run goes on after the last one. Seconds are of one core's own
time, so that other work on the machine does not count.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from dataclasses import field as new
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from perpcs import __version__
from perpcs.evaluate.experiments import machine, stamp
from perpcs.evaluate.findings import KIND
from perpcs.files import hash_bytes, json_bytes, write_atomic, write_json
from perpcs.model import opened
from perpcs.model.base import BaseModel, load_base
from perpcs.peftu import assembled
from perpcs.peftu.modules import METHODS, InPieces, Method, Shape, shape_of
from perpcs.peftu.scorer import Rows, Scorer
from perpcs.peftu.tasks import Division, Judged, Town, divide, get_peft_task, read_readers, town_readers
from perpcs.peftu.training import (
    Own,
    TrainSettings,
    best_share,
    cell,
    label_probs,
    split_rows,
    summarised,
    train_people,
)
from perpcs.pool.build import versions
from perpcs.pool.manifest import read_json
from perpcs.schema import PIECE_KINDS

SAYS = "Which small personal module is best when the same text has different right answers?"
MEASURED = ("studemo", "subjectivediscourse_response", "smalltown")
FARTHER = 3
"""Rates that are tried beyond those of the method, each a third of the lowest or three times the highest."""
PUBLISHED = {
    "source": "Clarke et al., PEFT-U, arXiv 2407.18078",
    "base_model": "flan-t5-base",
    "says": "published: accuracy, mean over 13 tasks; another base model and other people than here",
    "accuracy": {"adapter": 0.644, "zero-shot": 0.479},
}
Say = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """What the experiment is asked with; all of it goes into the result."""

    tasks: tuple[str, ...] = MEASURED
    measured: int = 14
    """People a task who are scored."""
    search: int = 4
    """Other people, on whom rates and shares are searched."""
    train: int = 40
    """Texts of each person that are trained on, at most."""
    val: int = 8
    test: int = 20
    base: str = opened.NAME
    first_layer: int = 24
    """Modules stand in this layer and those above it."""
    text_tokens: int = 96
    shots: int = 2
    shot_tokens: int = 48
    training: TrainSettings = new(default_factory=lambda: TrainSettings(epochs=4))
    town: Town = new(default_factory=Town)
    seed: int = 0


class TaskRun:
    """One task: its people, what was read, and its cells."""

    def __init__(self, settings: Settings, name: str, data: Path | None, work: Path, base: BaseModel, say: Say) -> None:
        self.settings, self.task, self.base = settings, get_peft_task(name), base
        self.say: Say = lambda line: say(f"{name}: {line}")
        readers = (
            town_readers(settings.town)
            if name == "smalltown"
            else read_readers((data or Path()) / f"{name}.json", self.task)
        )
        self.division: Division = divide(
            readers,
            measured=settings.measured,
            search=settings.search,
            train=settings.train,
            val=settings.val,
            test=settings.test,
            seed=settings.seed,
        )
        asked = json_bytes([asdict(settings) | {"tasks": 0}, asdict(self.task), [one.id for one in self.people]])
        self.folder = work / f"{name}-{hash_bytes(asked)[:10]}"
        self.cells: dict[str, dict[str, Any]] = {}

    @property
    def people(self) -> tuple[Any, ...]:
        return self.division.measured

    @cached_property
    def scorer(self) -> Scorer:
        """The base model with all texts of all people read."""
        scorer = Scorer(self.base, self.task, self.settings.first_layer, text_tokens=self.settings.text_tokens)
        texts = [one.text for p in self.division.everybody for part in (p.train, p.val, p.test) for one in part]
        kept = self.folder / "texts.safetensors"
        if kept.exists():
            scorer.load(load_file(kept))
        began = time.process_time()
        told = [time.monotonic()]

        def say(done: int, of: int) -> None:
            if time.monotonic() - told[0] > 30 or done == of:
                told[0] = time.monotonic()
                self.say(f"{done} of {of} texts read")

        scorer.read(texts, say=say)
        if not kept.exists():
            seconds = (time.process_time() - began) / len(set(texts))
            write_json(self.folder / "reading.json", {"seconds_a_text": round(seconds, 4), "texts": len(set(texts))})
            write_atomic(kept, save(scorer.saved()))  # last: where it is, the facts are
        return scorer

    @cached_property
    def shape(self) -> Shape:
        return shape_of(self.scorer)

    @cached_property
    def budget(self) -> int:
        """Numbers of a LoRA of rank 1, which every method is matched to."""
        return METHODS["lora"].count(self.shape, 1)

    # ---- cells -------------------------------------------------------------------------------------------------------

    def once(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """A cell, made or read."""
        path = self.folder / f"{name.replace(':', '-')}.json"
        if path.exists():
            self.cells[name] = read_json(path)
        else:
            began = time.monotonic()
            self.cells[name] = make()
            write_json(path, self.cells[name])
            mean = np.mean([one["accuracy"] for one in self.cells[name]["people"]])
            self.say(f"{name}: accuracy {mean:.3f}, {time.monotonic() - began:.0f} s")
        return self.cells[name]

    def rows_of(self, people: Sequence[Any]) -> list[str]:
        return [one.text for reader in people for one in reader.test]

    def owners(self, people: Sequence[Any]) -> Tensor:
        return torch.tensor([s for s, reader in enumerate(people) for _ in reader.test])

    def probs(self, people: Sequence[Any], carry: Callable[[Tensor], Rows] | None) -> tuple[np.ndarray, float]:
        """Probabilities of people's test texts, and seconds a text; ``carry`` is told whose each row is."""
        owner, began = self.owners(people), time.process_time()
        found = label_probs(
            self.scorer, self.rows_of(people), None if carry is None else (lambda rows: carry(owner[rows]))
        )
        return found, (time.process_time() - began) / len(found)

    def own(self, people: Sequence[Any], rate: float, labels: str = "") -> list[Own]:
        """What people are trained on; ``shuffled`` gives each text the labels of another of the person's."""
        out = []
        for number, reader in enumerate(people):
            train = reader.train
            if labels == "shuffled":
                order = np.random.default_rng((9, number)).permutation(len(train))
                train = tuple(Judged(one.text, train[i].labels) for one, i in zip(train, order, strict=True))
            out.append(Own(train, reader.val, rate, number))
        return out

    def references(self) -> None:
        """What needs no training: the base model, and the person's own label counts."""
        labels = self.task.labels

        def counts(reader: Any) -> np.ndarray:
            mass = np.full(len(labels), 1e-3)
            for one in reader.train:
                mass[[labels.index(label) for label in one.labels]] += 1 / len(one.labels)
            return np.tile(mass / mass.sum(), (len(reader.test), 1))

        def prior() -> dict[str, Any]:
            share = best_share(self.task, [counts(one) for one in self.division.search], self.division.search)
            said = np.concatenate([counts(one) for one in self.people])
            return cell(self.task, said, self.people, share, kept_bytes=2 * len(labels), trained=0)

        def zero() -> dict[str, Any]:
            share = self.share_of(None)
            said, seconds = self.probs(self.people, None)
            return cell(self.task, said, self.people, share, kept_bytes=0, trained=0, answer_seconds=round(seconds, 5))

        self.once("prior", prior)
        self.once("zero-shot", zero)

    def share_of(self, carry: Callable[[Tensor], Rows] | None) -> float:
        said, _ = self.probs(self.division.search, carry)
        return best_share(self.task, split_rows(said, self.division.search), self.division.search)

    def searched(self, method: Method, size: int, name: str = "") -> dict[str, Any]:
        """The rate with the lowest validation loss of the searched people, and the share that suits their test texts.

        Of a method at its default size; other sizes use what was found there.
        """
        path = self.folder / f"search-{name or method.name}.json"
        if path.exists():
            return read_json(path)
        some = self.division.search
        nats: dict[float, float] = {}
        modules: dict[float, list[Tensor]] = {}

        def try_rates(rates: Sequence[float]) -> None:
            people = [own for rate in rates for own in self.own(some, rate)]
            trained = train_people(self.scorer, self.shape, method, size, people, self.settings.training)
            losses = np.array(trained.val_loss).reshape(len(rates), len(some)).mean(1)
            for row, rate in enumerate(rates):
                nats[rate] = round(float(losses[row]), 4)
                modules[rate] = [part[row * len(some) : (row + 1) * len(some)] for part in trained.parameters]

        try_rates(method.rates)
        for _ in range(FARTHER):  # a best rate at the edge is not known to be the best
            best = min(nats, key=lambda rate: nats[rate])
            if min(nats) < best < max(nats):
                break
            try_rates([float(f"{best / 3 if best == min(nats) else best * 3:.1g}")])
        best = min(nats, key=lambda rate: nats[rate])
        of, rates = modules[best], sorted(nats)
        if isinstance(method, assembled.Fitted):
            method = assembled.Fitted(method.method, method.size, method.pieces, [-1] * len(some))
        share = self.share_of(lambda owner: method.rows(self.shape, size, of, owner))
        found = {"rates": rates, "val_nats": [nats[rate] for rate in rates], "rate": best, "share": share}
        write_json(path, found)
        self.say(f"{name or method.name}: rate {found['rate']} of {found['rates']}, nats {found['val_nats']}")
        return found

    def trained(
        self, name: str, method: Method, size: int, people: Sequence[Own], **facts: Any
    ) -> tuple[dict[str, Any], Callable[[], list[Tensor]]]:
        """Train people's modules; the facts of it, and what gives the parameters."""
        kept = self.folder / f"{name}.safetensors"
        if not kept.exists():
            began = time.process_time()
            done = train_people(self.scorer, self.shape, method, size, people, self.settings.training)
            seconds = (time.process_time() - began) / len(people)
            facts |= {"train_seconds": round(seconds, 3), "best_epoch": done.best_epoch}
            write_json(self.folder / f"{name}.facts.json", facts)
            write_atomic(kept, save({str(i): part.contiguous() for i, part in enumerate(done.parameters)}))
        return read_json(self.folder / f"{name}.facts.json"), lambda: _read(kept)

    def module(self, method: Method, what: str) -> None:
        """A method at its default or matched size: a person's own module, and the next person's."""
        size = method.default if what == "default" else method.matched(self.shape, self.budget)
        name = method.name if what == "default" else f"{method.name}-matched"
        search = self.searched(method, method.default)

        def make(wrong: bool) -> dict[str, Any]:
            facts, read = self.trained(name, method, size, self.own(self.people, search["rate"]))
            parameters, count = read(), len(self.people)
            shift = 1 if wrong else 0
            said, seconds = self.probs(
                self.people, lambda owner: method.rows(self.shape, size, parameters, (owner + shift) % count)
            )
            return cell(
                self.task,
                said,
                self.people,
                search["share"],
                method=method.name,
                what=what,
                size=size,
                trained=sum(part[0].numel() for part in parameters),
                kept_bytes=2 * method.kept(self.shape, size),
                answer_seconds=round(seconds, 5),
                **facts,
            )

        self.once(name, lambda: make(False))
        self.once(f"wrong:{name}", lambda: make(True))

    def lora_controls(self) -> None:
        """A LoRA on shuffled labels, and one LoRA of all the searched people for everybody."""
        method, search = METHODS["lora"], self.searched(METHODS["lora"], METHODS["lora"].default)

        def make(name: str, people: Sequence[Own], everybody: bool) -> dict[str, Any]:
            facts, read = self.trained(name, method, method.default, people)
            parameters = read()
            said, _ = self.probs(
                self.people,
                lambda owner: method.rows(self.shape, method.default, parameters, owner * (0 if everybody else 1)),
            )
            return cell(self.task, said, self.people, search["share"], method="lora", what="control", **facts)

        self.once("shuffled", lambda: make("shuffled", self.own(self.people, search["rate"], "shuffled"), False))
        some = self.division.search
        train, val = [one for reader in some for one in reader.train], [one for reader in some for one in reader.val]
        crowd = Own(train, val, search["rate"], 0)
        self.once("crowd", lambda: make("crowd", [crowd], True))

    def assembled(self, method: InPieces, what: str, ways: Sequence[str]) -> None:
        """People assembled from the pieces of the other measured people."""
        size = method.default if what == "default" else method.matched(self.shape, self.budget)
        name = method.name if what == "default" else f"{method.name}-matched"
        search = self.searched(method, method.default)
        _, read = self.trained(name, method, size, self.own(self.people, search["rate"]))
        pieces = read()
        P, S = len(method.places(self.shape)), len(self.people)

        def others(person: int) -> list[Tensor]:
            return [torch.cat([part[:person], part[person + 1 :]]) for part in pieces]

        def scored(weights: np.ndarray, seconds: float, share: float, **facts: Any) -> dict[str, Any]:
            w = torch.from_numpy(weights).float()
            said, answer = self.probs(self.people, lambda owner: method.mixed(self.shape, size, pieces, w[owner]))
            return cell(
                self.task,
                said,
                self.people,
                share,
                method=method.name,
                what=f"assembled, {what}",
                size=size,
                trained=P * (S - 1),
                kept_bytes=P * (S - 1) + 2,
                pool_bytes=2 * method.kept(self.shape, size) * (S - 1),
                train_seconds=round(seconds, 3),
                answer_seconds=round(answer, 5),
                **facts,
            )

        def newton() -> dict[str, Any]:
            began, weights, lengths = time.process_time(), np.zeros((S, P, S)), []
            for person, reader in enumerate(self.people):
                found, step = assembled.newton_weights(
                    self.scorer, self.shape, method, size, others(person), reader.train
                )
                weights[person][:, [s for s in range(S) if s != person]] = found
                lengths.append(round(step.length, 4))
            seconds = (time.process_time() - began) / S
            some = [
                assembled.newton_weights(self.scorer, self.shape, method, size, pieces, reader.train)[0]
                for reader in self.division.search
            ]
            w = torch.from_numpy(np.stack(some)).float()
            share = self.share_of(lambda owner: method.mixed(self.shape, size, pieces, w[owner]))
            return scored(weights, seconds, share, lengths=lengths)

        def fit() -> dict[str, Any]:
            some = len(self.division.search) * len(assembled.Fitted.rates)
            trial = assembled.Fitted(method, size, pieces, [-1] * some)
            chosen = self.searched(trial, 0, f"fit-{name}")
            own = assembled.Fitted(method, size, pieces, list(range(S)))
            facts, values = self.trained(f"fit-{name}", own, 0, self.own(self.people, chosen["rate"]))
            weights = own.weights(values(), torch.arange(S)).numpy()
            return scored(
                np.stack([assembled.rounded(one) for one in weights]),
                facts["train_seconds"],
                chosen["share"],
                best_epoch=facts["best_epoch"],
            )

        def gate() -> dict[str, Any]:
            began = time.process_time()
            everyone = self.own(self.people, 0.0)
            gates = assembled.train_gates(self.scorer, self.shape, size, pieces, everyone)
            means = assembled.prototypes(self.scorer, self.shape, everyone)
            gate_seconds = (time.process_time() - began) / S
            began = time.process_time()
            weights = np.stack(
                [
                    assembled.gate_weights(self.scorer, self.shape, pieces, gates, means, reader.train, person)
                    for person, reader in enumerate(self.people)
                ]
            )
            seconds = (time.process_time() - began) / S
            return scored(weights, seconds, search["share"], gate_seconds=round(gate_seconds, 3))

        for way in ways:
            make = {"newton": newton, "fit": fit, "gate": gate}[way]
            self.once(f"{way}:{name}", make)

    def few_shot(self) -> None:
        """Solved examples of the person before each test text; the whole model reads them every time."""

        def shown(reader: Any) -> str:
            chosen: list[Judged] = []
            for one in reader.train:  # of different labels, as far as there are
                if len(chosen) < self.settings.shots and one.labels not in [old.labels for old in chosen]:
                    chosen.append(one)
            return "".join(self.scorer.example(one.text, one.labels, self.settings.shot_tokens) for one in chosen)

        def said(people: Sequence[Any]) -> tuple[np.ndarray, float]:
            began, rows = time.process_time(), []
            for reader in people:
                before, texts = shown(reader), [one.text for one in reader.test]
                self.scorer.read(texts, before)
                rows.append(label_probs(self.scorer, texts, shown=[before] * len(texts)))
                self.scorer.forget(before)
            found = np.concatenate(rows)
            return found, (time.process_time() - began) / len(found)

        def make() -> dict[str, Any]:
            some, _ = said(self.division.search)
            share = best_share(self.task, split_rows(some, self.division.search), self.division.search)
            found, seconds = said(self.people)
            length = np.mean([len(shown(one).encode()) for one in self.people])
            return cell(
                self.task,
                found,
                self.people,
                share,
                trained=0,
                kept_bytes=round(float(length)),
                answer_seconds=round(seconds, 5),
                size=self.settings.shots,
            )

        self.once("few-shot", make)

    def result(self) -> dict[str, Any]:
        """What is known so far, numbers only; people are numbers in the order of the draw."""
        searches = sorted(self.folder.glob("search-*.json"))
        return {
            "title": self.task.title,
            "labels": list(self.task.labels),
            "several": self.task.several,
            "metric": self.task.metric,
            "version": self.task.version,
            "people": len(self.people),
            "texts": {
                part: int(np.mean([len(getattr(one, part)) for one in self.people]))
                for part in ("train", "val", "test")
            },
            "dropped": self.division.dropped,
            "budget": self.budget,
            "reading": read_json(self.folder / "reading.json"),
            "search": {path.stem.removeprefix("search-"): read_json(path) for path in searches},
            "methods": summarised(self.cells),
        }


def _read(path: Path) -> list[Tensor]:
    tensors = load_file(path)
    return [tensors[str(i)] for i in range(len(tensors))]


def stages(run: TaskRun) -> list[Callable[[], None]]:
    """What is done for a task, in the order of what matters first."""
    pieces = [METHODS[name] for name in PIECE_KINDS]
    defaults = sorted(METHODS.values(), key=lambda m: m.name != "lora")
    steps: list[Callable[[], None]] = [run.references]
    for method in defaults:
        steps.append(lambda m=method: run.module(m, "default"))  # type: ignore[misc]
        if method.name == "lora":
            steps += [lambda: run.assembled(pieces[0], "default", ("newton", "fit", "gate"))]  # type: ignore[arg-type]
    steps += [run.lora_controls, run.few_shot]
    steps += [
        lambda m=m: run.module(m, "matched")  # type: ignore[misc]
        for m in METHODS.values()
        if m.name != "ia3"  # it has one size
    ]
    steps += [
        lambda m=m: run.assembled(m, "default" if m.name == "ia3" else "matched", ("newton",))  # type: ignore[misc]
        for m in pieces
    ]
    return steps


def run_peftu(settings: Settings, data: Path | None, work: Path, out: Path, say: Say) -> dict[str, Any]:
    """Run the experiment, or go on with it, and write its result after every stage.

    Raises:
        PerpcsError: when a file of the data is missing or has another shape.
    """
    base = load_base(settings.base, modules=("all",), first_layer=settings.first_layer)
    runs = [TaskRun(settings, name, data, work, base, say) for name in settings.tasks]
    lists = [stages(run) for run in runs]
    result: dict[str, Any] = {}
    for step in zip(*lists, strict=True):
        for one in step:
            one()
        result = {
            "kind": KIND,
            "experiment": "peftu",
            "says": SAYS,
            **stamp(),
            "command": "perpcs experiment peftu --data DATA",
            "versions": {"perpcs": __version__, **versions()},
            "machine": machine(),
            "settings": asdict(settings),
            "units": {"nats": "nats a text", "seconds": "of one core", "kept_bytes": "of a person, half floats"},
            "published": PUBLISHED,
            "complete": all("newton:prefix-matched" in run.cells for run in runs),
            "tasks": {run.task.name: run.result() for run in runs},
        }
        write_json(out, result)
    return result
