"""What several test modules use."""

import dataclasses
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from streamlit.testing.v1 import AppTest
from tiny import ITEMS, SHARERS

from perpcs.assembly.record import Assembly
from perpcs.assembly.routers import PRESETS, make_router
from perpcs.figures.results import Band
from perpcs.files import hash_file
from perpcs.model.likelihood import encode_pair
from perpcs.pool.hypernet import HypernetSettings, HypernetShape
from perpcs.pool.store import Pool
from perpcs.pool.train import GateSettings
from perpcs.schema import Position
from perpcs.tasks import Item, Query, User, get_task
from perpcs.ui.tours import TOURS

# ---- figures ---------------------------------------------------------------------------------------------------------


def band(method, *means):
    return Band(method, (3, 10, 50), means, tuple(m - 0.1 for m in means), tuple(m + 0.2 for m in means))


def luminance(colour: str) -> float:
    """WCAG relative luminance of ``#rrggbb`` or ``rgb(r,g,b)``."""
    if colour.startswith("#"):
        parts = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    else:
        parts = [int(float(part)) for part in colour[4:-1].split(",")]
    linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in (part / 255 for part in parts)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


# ---- scores by the book ----------------------------------------------------------------------------------------------


TASK = get_task("LaMP_4")


CLOSE = {"atol": 1e-10, "rtol": 1e-10}


SHARP = make_router(
    router="gate", normalise="layernorm", centre=True, standardise=False, reduce="mean", temperature=0.1
)
"""Weights far from uniform, so that what chooses them is seen."""


def encode(base, items=ITEMS):
    return [encode_pair(base.tokenizer, *TASK.pair(item), base.max_tokens) for item in items]


def some_shared(base, seed=0):
    """A share mask with positions of no, one, two and all shared pieces."""
    mask = torch.rand(len(base.positions), SHARERS, generator=torch.Generator().manual_seed(seed)) < 0.6
    mask[0] = torch.tensor([True, True, True, True, True])
    mask[1] = torch.tensor([False, False, True, False, False])
    mask[2] = False
    mask[3] = torch.tensor([True, False, False, False, True])
    return mask


def dot(u, v):
    return sum(a * b for a, b in zip(u.tolist(), v.tolist(), strict=True))


def cosine(u, v):
    lengths = math.sqrt(dot(u, u)) * math.sqrt(dot(v, v))
    return dot(u, v) / lengths if lengths else 0.0


def standard(v):
    """Layer norm without weights."""
    mean = sum(v.tolist()) / len(v)
    variance = sum((x - mean) ** 2 for x in v.tolist()) / len(v)
    return (v - mean) / math.sqrt(variance + 1e-5)


def paper_score(task, p, s, tokens):
    """Cosine of gate and activation, summed over the target tokens; the softmax divides by sqrt(n)."""
    return sum(cosine(task.gates[p][s], v) for v in tokens)


def reference_score(task, p, s, tokens):
    """Layer-normed gate and activation, product over sqrt(n), mean over the target tokens."""
    gate = standard(task.gates[p][s])
    return sum(dot(gate, standard(v)) / math.sqrt(len(v)) for v in tokens) / len(tokens)


def mean_of_shared(task, p, rows):
    shared = [row for s, row in enumerate(rows) if task.mask[p, s]]
    return sum(shared) / len(shared)


def centred_score(task, p, s, tokens):
    """Cosine of gate and mean activation, less the shared gates' and the shared prototypes' mean."""
    gate = task.gates[p][s] - mean_of_shared(task, p, task.gates[p])
    return cosine(gate, sum(tokens) / len(tokens) - mean_of_shared(task, p, task.prototypes[p]))


def standardised_score(task, p, s, tokens):
    """Cosine of prototype and mean activation, both centred and divided by the spread over shared prototypes."""
    mean = mean_of_shared(task, p, task.prototypes[p])
    spread = mean_of_shared(task, p, [(row - mean) ** 2 for row in task.prototypes[p]]).sqrt().clamp(min=1e-6)
    return cosine((task.prototypes[p][s] - mean) / spread, (sum(tokens) / len(tokens) - mean) / spread)


NAIVE = {
    "paper": (replace(PRESETS["paper"], temperature=0.05), paper_score, math.sqrt),
    "reference_code": (replace(PRESETS["reference_code"], temperature=0.2), reference_score, lambda n: 1.0),
    "centred": (
        make_router(router="gate", normalise="cosine", centre=True, standardise=False, reduce="pooled", sqrt_n=False),
        centred_score,
        lambda n: 1.0,
    ),
    "standardised": (
        make_router(router="prototype", normalise="cosine", centre=True, standardise=True, reduce="pooled"),
        standardised_score,
        lambda n: 1.0,
    ),
}
"""Options, the same score written naively, and what the softmax divides by. The published presets give nearly uniform
weights; a low temperature makes later positions depend on them.
"""


def np_close(tolerance):
    return {"atol": tolerance, "rtol": tolerance}


# ---- training --------------------------------------------------------------------------------------------------------


IDS = ("ada", "bruno", "cleo")


GATES = GateSettings(steps=5, batch=2, rate=1e-2)


def histories(base):
    """Three sharers with one, three and five items: other numbers of steps for each."""
    items = [encode_pair(base.tokenizer, *get_task("LaMP_4").pair(item), base.max_tokens) for item in ITEMS]
    return [items[:1], items[1:4], items[1:]]


# ---- pages -----------------------------------------------------------------------------------------------------------


ROOT = Path(__file__).resolve().parents[1]


SECRET = "zebrafish at midnight"


PASTE = f"The harbour was closed after a storm => {SECRET}\nthis line has no arrow\nThe bakery sold out => Bread gone"


def open_page(name: str = "", **link: str) -> AppTest:
    """A new session whose first request is this page with this link."""
    app = AppTest.from_file(str(ROOT / "perpcs" / "ui" / "shell.py"), default_timeout=30)
    app.query_params.update(link)
    app.run()
    if name:
        app.switch_page(f"../../pages/{name}.py")
        app.query_params.update(link)
        app.run()
    assert not app.exception
    return app


def shown(app: AppTest) -> str:
    """All text on the page, without tags."""
    parts = [element.proto.body for element in app.get("html")]
    parts += [element.value for element in app.markdown]
    return re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]+>", "", " ".join(parts), flags=re.S))


def by_key(app: AppTest, kind: str, key: str):
    return next(element for element in app.get(kind) if element.key == key)


def press(app: AppTest, key: str) -> AppTest:
    app.button(key=key).click().run()
    assert not app.exception
    return app


def paste(app: AppTest, text: str) -> AppTest:
    app.text_area[0].set_value(text).run()
    assert not app.exception
    return app


def everything(app: AppTest) -> str:
    state = app.session_state
    return repr({key: state[key] for key in state.filtered_state}) if hasattr(state, "filtered_state") else repr(state)


def keys(app) -> set[str]:
    return {button.key for button in app.button}


def link_of(app) -> dict[str, str]:
    return {key: value if isinstance(value, str) else value[0] for key, value in app.query_params.items()}


def walk_tour(page):
    app = press(open_page("" if page == "overview" else page), "tour-start")
    for number, stop in enumerate(TOURS[page], start=1):
        text = shown(app)
        assert f"Step {number} of {len(TOURS[page])}" in text
        assert stop.action in text
        assert link_of(app)["tour"] == f"{page}.{number}" or number == 1  # the link is written when the page ends
        press(app, "tour-next")
    assert "tour-next" not in keys(app)
    assert "tour" not in link_of(app)


# ---- records ---------------------------------------------------------------------------------------------------------


def an_assembly(pool: Pool, task: str, seed: int = 0) -> Assembly:
    """A person with random weights, choices and votes, as the prototype router leaves one."""
    random, P, S = np.random.default_rng(seed), len(pool.manifest.positions), pool.task(task).sharers
    votes = np.full((3, P, 2), 0.5, np.float16)
    choices = np.stack([random.permutation(S)[:2] for _ in range(3 * P)]).reshape(3, P, 2).astype(np.int16)
    person = Assembly(
        weights=np.zeros((P, S), np.float32),
        scores=random.normal(size=(P, S)).astype(np.float32),
        choices=choices,
        votes=votes,
        task=task,
        positions=tuple(position.label for position in pool.manifest.positions),
        sharers=tuple(sharer.id for sharer in pool.sharers(task)),
        pool=pool.manifest.name,
        pool_hash=pool.hash,
        router={"router": "prototype", "k": 2, "without": []},
        user="ada",
    )
    person.weights[:] = person.item_weights().mean(axis=0)
    return person


def state(folder: Path) -> dict[str, str]:
    """Every file of a folder by its hash."""
    return {str(f.relative_to(folder)): hash_file(f) for f in sorted(folder.rglob("*")) if f.is_file()}


def made(choices, votes, sharers=4, router="prototype", weights=None, **options) -> Assembly:
    """A record from every item's choices (N, P, k) and votes."""
    choices, votes = np.array(choices, np.int16), np.array(votes, np.float16)
    p = choices.shape[1]
    blank = np.zeros((p, sharers), np.float32)
    record = Assembly(
        weights=blank,
        scores=blank,
        choices=choices,
        votes=votes,
        task="LaMP_4",
        positions=tuple(f"layer {i}, q_proj" for i in range(p)),
        sharers=tuple(f"s{i}" for i in range(sharers)),
        pool="tiny",
        pool_hash="0",
        router={"router": router, **options},
    )
    mean = np.tensordot(record.item_shares().astype(np.float32), record.item_weights(), axes=1)
    return dataclasses.replace(record, weights=mean if weights is None else np.array(weights, np.float32))


def large(items=200, positions=128, sharers=100, k=3, **options) -> Assembly:
    random = np.random.default_rng(0)
    choices = random.permuted(np.tile(np.arange(sharers), (items, positions, 1)), axis=2)[:, :, :k]
    votes = random.dirichlet(np.ones(k), (items, positions))
    return made(choices, np.sort(votes, axis=2)[:, :, ::-1], sharers, **options)


# ---- words -----------------------------------------------------------------------------------------------------------


def seen(text: str) -> list[str]:
    return re.findall(r"\w[\w'-]*", text.lower())


# ---- the network of P2P ----------------------------------------------------------------------------------------------


SHAPE = HypernetShape(profile=6, width=16, hidden=8, rank=2, alpha=4.0)


QUICK = HypernetSettings(
    width=16, hidden=8, rank=2, alpha=4.0, steps=30, people=4, pairs=2, rate=7e-3, penalty=0.0, evaluate_every=10
)


def random_profiles(count, seed=0):
    return torch.randn(count, SHAPE.profile, generator=torch.Generator().manual_seed(seed))


def shaken(net, seed=1):
    """A network as if after training: no number of it is where it began."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in net.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator).to(parameter)
    net.centre_on(random_profiles(9, seed).to(net.mean))
    return net


POSITIONS = (
    Position(0, "q", "a.0.q", 5, 7), Position(0, "o", "a.0.o", 7, 5), Position(1, "q", "a.1.q", 5, 7),
    Position(1, "o", "a.1.o", 7, 5), Position(2, "q", "a.2.q", 5, 9),
)  # fmt: skip
"""The last layer's q is wider: it has a head of its own."""


def user(count, queries=2, name="u"):
    history = tuple(Item(f"Article {name} {i}.", f"Headline {name} {i}") for i in range(count))
    return User(name, history, tuple(Query(f"Question {i}", f"Answer {name} {i}") for i in range(queries)))


# ---- results ---------------------------------------------------------------------------------------------------------


def at(mean):
    return {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "n_users": 4}


ROBUST = {
    "users": 4,
    "base": at(1.0),
    "sharers": {"x": [1, 4], "methods": {"perpcs:fit": {"nll": [at(0.8), at(0.6)]}}},
    "share_ratio": {"x": [0.5, 1.0], "methods": {"perpcs:fit": {"nll": [at(0.7), at(0.6)]}}},
    "selection": {"taken": 1, "rules": {"all": {"perpcs:fit": at(0.6)}, "random": {"perpcs:fit": at(0.8)}}},
    "choices": [{"method": "perpcs:fit", "choice": "", "nll": at(0.6), "minus_default": None}],
}


def flip(path, at=0.5):
    data = bytearray(path.read_bytes())
    data[int(len(data) * at)] ^= 1
    path.write_bytes(bytes(data))
