"""Token scores: they add up to the scores that were chosen by, and belong to the person's own words."""

import dataclasses

import numpy as np
import pytest
import torch
from tiny import ITEMS, write_tiny_pool

from perpcs.assembly.assemble import assemble, scoring_router, target_texts, token_scores
from perpcs.assembly.explain import END
from perpcs.assembly.routers import make_router
from perpcs.errors import PerpcsError
from perpcs.model.likelihood import encode_pair
from perpcs.pool.store import Pool
from perpcs.tasks import Item, get_task

TASK = get_task("LaMP_4")
LATE = 5
"""A position of the second layer: earlier ones must have read with the person's pieces."""


@pytest.fixture(scope="module")
def tiny_pool(tmp_path_factory):
    pool = Pool(write_tiny_pool(tmp_path_factory.mktemp("pool")))
    return pool.base("cpu", "float64"), pool


ROUTERS = [
    {"router": "gate", "normalise": "cosine", "reduce": "sum", "sqrt_n": True, "centre": False, "standardise": False},
    {"router": "gate", "normalise": "layernorm", "reduce": "mean", "centre": False, "standardise": False},
    {"router": "prototype", "normalise": "cosine", "reduce": "pooled"},
    {"router": "prototype", "normalise": "layernorm", "reduce": "pooled"},
    {"router": "arrow"},
    {"router": "prototype", "without": ("s1", "s2")},
]


@pytest.mark.parametrize("options", ROUTERS, ids=lambda o: "-".join(map(str, o.values()))[:30])
@pytest.mark.parametrize("position", [0, LATE])
def test_an_items_token_scores_make_the_score_that_it_chose_by(tiny_pool, options, position):
    base, pool = tiny_pool
    person = assemble(base, pool, TASK, ITEMS, options=make_router(**options))
    for sharer in (0, 3):
        found = token_scores(base, pool, TASK, ITEMS, person, position, sharer, range(len(ITEMS)))
        total = np.sum if options.get("reduce") == "sum" else np.mean
        means = [total(item.scores) for item in found.items]
        # votes are stored as half floats, so later layers read a text that is a little off
        tolerance = 1e-5 if position == 0 else 3e-2 * max(map(abs, means))
        assert np.mean(means) == pytest.approx(float(person.scores[position, sharer]), abs=tolerance)
        assert not found.stands_in


def test_an_item_reads_alone(tiny_pool):
    base, pool = tiny_pool
    person = assemble(base, pool, TASK, ITEMS, options=make_router(router="prototype"))
    all_of_them = token_scores(base, pool, TASK, ITEMS, person, LATE, 2, range(len(ITEMS)))
    one = token_scores(base, pool, TASK, ITEMS, person, LATE, 2, [4])
    assert one.items[0].item == 4
    assert one.items[0].scores == pytest.approx(all_of_them.items[4].scores)
    assert one.items[0].tokens == all_of_them.items[4].tokens


@pytest.mark.parametrize("router", ["fit", "gradient", "uniform"])
def test_routers_that_score_no_token_have_the_prototype_stand_in(tiny_pool, router):
    base, pool = tiny_pool
    person = assemble(base, pool, TASK, ITEMS, options=make_router(router=router, steps=2))
    found = token_scores(base, pool, TASK, ITEMS, person, LATE, 1, [0, 1])
    assert (found.router, found.stands_in) == ("prototype", True)
    assert scoring_router(person)[0].name == "prototype"
    other = dataclasses.replace(person, weights=person.weights * 0)
    assert found.items[0].scores != token_scores(base, pool, TASK, ITEMS, other, LATE, 1, [0, 1]).items[0].scores


def test_the_tokens_are_the_persons_own_words_in_order(tiny_pool):
    base, pool = tiny_pool
    items = [*ITEMS, Item("A café by the sea.", "Naïve café 🦓 wins")]
    person = assemble(base, pool, TASK, items, options=make_router(router="prototype"))
    found = token_scores(base, pool, TASK, items, person, 0, 0, range(len(items)))
    for item, tokens in zip(items, found.items, strict=True):
        assert len(tokens.tokens) == len(tokens.scores)
        assert tokens.tokens[-1] == END
        assert "".join(tokens.tokens[:-1]).strip() == item.y


@pytest.mark.parametrize("room", [6, 300])
def test_texts_belong_to_the_target_tokens(tiny_pool, room):
    base, _ = tiny_pool
    for prompt, target in (("The harbour Headline:", " Boats return"), ("", "Free text, all of it")):
        encoded = encode_pair(base.tokenizer, prompt, target, room)
        texts = target_texts(base.tokenizer, prompt, target, encoded)
        assert len(texts) == len(encoded.targets)
        said = [base.tokenizer.decode([token]) for token in encoded.targets if token != base.tokenizer.eos_token_id]
        assert [text for text in texts if text != END] == said


def test_another_history_is_refused(tiny_pool):
    base, pool = tiny_pool
    person = assemble(base, pool, TASK, ITEMS, options=make_router(router="prototype"))
    with pytest.raises(PerpcsError, match="was assembled from 6"):
        token_scores(base, pool, TASK, ITEMS[:2], person, 0, 0, [0])


def test_the_model_keeps_no_trace(tiny_pool):
    base, pool = tiny_pool
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    person = assemble(base, pool, TASK, ITEMS, options=make_router(router="prototype"))
    token_scores(base, pool, TASK, ITEMS, person, LATE, 0, [0])
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.model.state_dict().items())
