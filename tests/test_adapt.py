"""Laws of task adaptation: nobody's later items are shown, a kill costs nothing, merging is the adapter."""

import re
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from tiny import ITEMS, load_tiny, plain_model, random_ids

from perpcs.model.base import merge, save_plain
from perpcs.model.basis import Factors, adapted, fixed
from perpcs.model.likelihood import encode_pair, target_nll
from perpcs.pool import from_data as module
from perpcs.pool.from_data import AdaptSettings, Delta, _save_merged, adapt, base_lessons, encode_lessons
from perpcs.pool.stages import Settings, newest
from perpcs.pool.store import DELTA, packed, rounded, unpacked
from perpcs.tasks import Item, Query, User, get_task

TASK = get_task("LaMP_4")
SETTINGS = AdaptSettings(rank=2, alpha=4.0, rate=1e-2, warmup=2, batch_tokens=80, with_history=1.0, with_profile=1.0)
ITEMS_EACH = 9


def writers(count):
    """Base users whose every text names its writer and its place in the history; the query stands after all items."""

    def text(u, i, what):
        return f"{what} u{u}i{i}"

    return [
        User(
            f"u{u}",
            tuple(Item(text(u, i, "article"), text(u, i, "headline"), str(i)) for i in range(ITEMS_EACH)),
            (Query(text(u, ITEMS_EACH, "article"), id="q", gold=text(u, ITEMS_EACH, "headline")),),
        )
        for u in range(count)
    ]


def told(task, histories):
    """A profile that names what it was made of."""
    return [f"profile of {' '.join(item.y for item in history)}" for history in histories]


def named(text):
    return [(int(u), int(i)) for u, i in re.findall(r"u(\d+)i(\d+)", text)]


# ---- lessons --------------------------------------------------------------------------------------------------------


def test_a_lesson_shows_what_its_writer_wrote_strictly_earlier():
    lessons = base_lessons(TASK, writers(3), SETTINGS, told)
    assert len(lessons) == 3 * (ITEMS_EACH + 1), "queries are learned from too"
    for lesson in lessons:
        ((u, i),) = named(lesson.target)
        shown, asked = lesson.prompt.split("### User Instruction:")
        assert named(asked) == [(u, i)]
        assert all(who == u and at < i for who, at in named(shown))
        assert bool(named(shown)) == (i > 0)
        assert ("profile of" in shown) == (i >= module.FEWEST_TO_DESCRIBE)


def test_a_cut_keeps_as_many_people_as_it_can_and_the_seed_decides():
    few = base_lessons(TASK, writers(5), replace(SETTINGS, lessons=5), told)
    assert {named(lesson.target)[0][0] for lesson in few} == set(range(5))
    assert few == base_lessons(TASK, writers(5), replace(SETTINGS, lessons=5), told)
    assert few != base_lessons(TASK, writers(5), replace(SETTINGS, lessons=5, seed=1), told)


def test_a_query_without_an_answer_is_no_lesson():
    (one,) = writers(1)
    asks = replace(one, queries=(Query("article u0i9", id="q"),))
    assert len(base_lessons(TASK, [asks], SETTINGS, told)) == ITEMS_EACH


def test_lessons_stay_within_the_room_of_their_task(tiny_base):
    base = tiny_base()
    lessons = base_lessons(TASK, writers(3), SETTINGS, told)
    whole = encode_lessons(base, lessons, SETTINGS)
    assert len(whole) == len(lessons)
    room = sum(len(one.ids) for _, one in whole) // 2
    assert sum(len(one.ids) for _, one in encode_lessons(base, lessons, replace(SETTINGS, tokens=room))) <= room
    longest = sorted(len(one.ids) for _, one in whole)[5]
    assert max(len(one.ids) for _, one in encode_lessons(base, lessons, replace(SETTINGS, longest=longest))) == longest


# ---- training -------------------------------------------------------------------------------------------------------


def encoded(base):
    return [encode_pair(base.tokenizer, *TASK.pair(item), base.max_tokens) for item in ITEMS * 2]


class Killed(Exception):
    pass


@pytest.mark.parametrize("stops", [(1,), (2, 4)])
def test_a_killed_adaptation_goes_on_to_the_same_update(stops, tiny_base, tmp_path, monkeypatch):
    base = tiny_base()
    lessons, weights = encoded(base), [1.0, 4.0] * len(ITEMS)
    whole, losses = adapt(base, lessons, weights, SETTINGS)
    monkeypatch.setattr(module, "_EVERY", -1.0)  # a checkpoint after every step
    for stop in stops:

        def kill(step, of, loss, stop=stop):
            if step == stop:
                raise Killed

        with pytest.raises(Killed):
            adapt(base, lessons, weights, SETTINGS, tmp_path, kill)
    steps = []
    again, found = adapt(base, lessons, weights, SETTINGS, tmp_path, lambda step, of, loss: steps.append(step))
    assert steps == list(range(stops[-1] + 1, len(losses) + 1))
    assert found == losses
    assert all(map(torch.equal, [*again.A, *again.B], [*whole.A, *whole.B]))


def test_an_adaptation_makes_its_lessons_likelier(tiny_base):
    base = tiny_base()
    lessons = encoded(base)
    delta, _ = adapt(base, lessons, [1.0] * len(lessons), SETTINGS)
    scale = torch.full((1, 1, SETTINGS.rank), delta.scale)
    factors = [Factors(a, b.T.contiguous(), scale) for a, b in zip(delta.A, delta.B, strict=True)]
    with torch.no_grad():
        before, after = (target_nll(base, lessons, adapter)[0].sum() for adapter in (None, fixed(factors)))
    assert after < before


def random_delta(base):
    generator = torch.Generator().manual_seed(0)
    A = [torch.randn(2, p.n, generator=generator) for p in base.positions]
    B = [torch.randn(p.d, 2, generator=generator) * 0.1 for p in base.positions]
    return Delta(A, B, 1.5, tuple(p.path for p in base.positions))


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
def test_a_merged_update_is_the_adapter_and_saves_under_the_models_own_names(family, model_folder, tmp_path):
    base = load_tiny(model_folder(family))
    delta, ids = random_delta(base), random_ids(base, 2, 8)
    delta.save(tmp_path / DELTA)
    read = load_file(tmp_path / DELTA)  # half floats, with the scale in B
    ones = torch.ones(1, 1, 2, dtype=torch.float64)
    factors = [Factors(read[f"{p.path}.A"].double(), read[f"{p.path}.B"].double().mT, ones) for p in base.positions]
    with torch.no_grad():
        with adapted(fixed(factors)):
            expected = base.model(input_ids=ids).logits
        assert not torch.allclose(base.model(input_ids=ids).logits, expected, atol=1e-2)
        _save_merged(base, tmp_path)
        assert not (tmp_path / DELTA).exists()
        merged = plain_model(tmp_path)
        torch.testing.assert_close(merged(input_ids=ids).logits, expected, atol=1e-4, rtol=1e-4)
    assert list(merged.state_dict()) == list(plain_model(model_folder(family)).state_dict())


def test_an_update_of_a_layer_that_is_not_there_is_an_error(model_folder):
    base = load_tiny(model_folder("llama"))
    with pytest.raises(AttributeError):
        merge(base, {"model.layers.7.self_attn.q_proj.A": torch.zeros(1, 32)})


# ---- how pieces are stored, and what they learn from ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["A.0", "B.0", "gate.0"])
@pytest.mark.parametrize("size", [1e-3, 0.1, 30.0])
def test_int8_is_off_by_half_a_step_of_its_row_at_most(name, size):
    rows = size * torch.randn(3, 6, 20, generator=torch.Generator().manual_seed(1))
    rows[0, 0] = 0
    rows = rows.mT.contiguous() if name == "B.0" else rows
    kept = packed(name, rows, "int8")
    assert kept[name].dtype == torch.int8
    found = unpacked(kept.__getitem__, kept, name)
    step = (rows.abs().amax(1 if name == "B.0" else -1, keepdim=True) / 127).clamp(min=1e-7)
    assert found.shape == rows.shape
    assert (
        (found - rows).abs() <= 0.51 * step + 127 * 2.0**-25
    ).all()  # steps are half floats, 2^-24 apart at the least
    assert found[0, 0].any() == (name == "B.0")
    assert not (found[0, :, 0] if name == "B.0" else found[0, 0]).any()


@pytest.mark.parametrize("dtype", ["int8", "float16", "float32"])
def test_pieces_that_are_rounded_are_stored_without_a_further_loss(dtype):
    generator = torch.Generator().manual_seed(1)
    A, B = 0.05 * torch.randn(4, 2, 16, generator=generator), 0.01 * torch.randn(4, 16, 2, generator=generator)
    once = rounded([A, B], dtype)
    for name, rows in zip(("A.0", "B.0"), once, strict=True):
        kept = packed(name, rows, dtype)
        assert torch.equal(unpacked(kept.__getitem__, kept, name).float(), rows)


def test_pieces_learn_from_the_newest_items_within_their_limits(tiny_base):
    history = encoded(tiny_base())
    assert newest(history, Settings()) == history
    assert newest(history, Settings(newest=3)) == history[-3:]
    assert newest([], Settings(newest=3, sharer_tokens=5)) == []
    for tokens in range(1, sum(len(one.ids) for one in history) + 2):
        kept = newest(history, Settings(sharer_tokens=tokens))
        used = sum(len(one.ids) for one in kept)
        assert kept == history[-len(kept) :]
        assert used <= tokens or len(kept) == 1
        assert len(kept) == len(history) or used + len(history[-len(kept) - 1].ids) > tokens


def test_a_saved_base_is_the_wrapped_one(tiny_base, tmp_path):
    base = tiny_base()
    save_plain(base, tmp_path / "plain")
    again = load_tiny(tmp_path / "plain")
    ids = torch.tensor([[3, 5, 7, 11]])
    assert torch.equal(base.hidden(ids), again.hidden(ids))
