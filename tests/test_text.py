"""Laws of encoding: the targets are exactly the tokens of y and the end, whatever is cut, padded or batched."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import ITEMS, tiny_tokenizer
from tiny_model import BOS, EOS, train_tokenizer

from perpcs.model.likelihood import (
    Encoded,
    encode_pair,
    encode_prompt,
    length_batches,
    pad_right,
    target_mask,
    target_places,
)
from perpcs.tasks import TASKS, Item, get_task

PROMPT, TARGET = "Article: the harbour Headline:", " Boats return at dawn"
# Any text a person can have: no lone surrogates, which no file and no browser can send.
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
words = texts.filter(lambda text: text.strip())


def direct(tokenizer, prompt, target):
    """(ids, |x|) by tokenizing both parts on their own."""
    x = tokenizer(prompt)["input_ids"]
    y = tokenizer(target, add_special_tokens=False)["input_ids"]
    return [*x, *y, tokenizer.eos_token_id], len(x)


@pytest.mark.parametrize("bos", [True, False])
def test_input_positions_from_the_last_of_x_predict_exactly_y_and_the_end(bos):
    tokenizer = tiny_tokenizer(bos)
    ids, x = direct(tokenizer, PROMPT, TARGET)
    found = encode_pair(tokenizer, PROMPT, TARGET, 256)
    assert list(found.ids) == ids
    assert (found.start, found.end, found.cut) == (x - 1, len(ids) - 1, False)  # from 0; the paper counts from 1
    assert list(found.targets) == ids[x:]
    assert found.targets[-1] == tokenizer.eos_token_id
    assert found.ids.count(tokenizer.eos_token_id) == 1
    assert (found.ids[0] == tokenizer.bos_token_id) == bos


def test_free_text_has_every_token_as_a_target():
    with_bos = encode_pair(tiny_tokenizer(True), "", "Boats return", 256)
    assert with_bos.start == 0
    assert list(with_bos.targets) == list(with_bos.ids[1:])
    assert tiny_tokenizer(True).decode(with_bos.targets[:-1]) == "Boats return"
    without = encode_pair(tiny_tokenizer(False), "", "Boats return", 256)  # nothing stands before the first token
    assert (without.start, without.end) == (0, len(without.ids) - 1)
    assert tiny_tokenizer(False).decode(without.ids[:-1]) == "Boats return"


@pytest.mark.parametrize("bos", [True, False])
@settings(max_examples=150, deadline=None)
@given(x=words, y=words)
def test_decoding_the_targets_gives_y_back(bos, x, y):
    """In any script, with emoji, control characters and spelled-out special tokens, in every task's own prompt."""
    tokenizer = tiny_tokenizer(bos)
    tokenizer.split_special_tokens = True  # as load_base sets it
    prompt, target = get_task("LaMP_4").pair(Item(x, y))
    found = encode_pair(tokenizer, prompt, target, 10_000)
    assert found.targets[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(found.targets[:-1]) == " " + y
    assert tokenizer.decode(found.ids[1 if bos else 0 : found.start + 1]) == prompt


@settings(max_examples=150, deadline=None)
@given(x=texts, y=words, room=st.integers(2, 40), bos=st.booleans(), free=st.booleans())
def test_cutting_keeps_the_target_and_takes_from_the_beginning_of_the_prompt(x, y, room, bos, free):
    tokenizer = tiny_tokenizer(bos)
    prompt, target = ("", y) if free else (f"{x}:", " " + y)
    whole = encode_pair(tokenizer, prompt, target, 10_000)
    found = encode_pair(tokenizer, prompt, target, room)
    assert len(found.ids) == min(len(whole.ids), room)
    assert found.cut == (len(whole.ids) > room)
    head = whole.start + 1 if bos or not free else 0
    targets, kept = whole.ids[head:], found.ids
    before = len(kept) - len(targets)  # what is left of the prompt
    assert found.end == len(kept) - 1
    if before >= min(head, 1):
        assert kept[before:] == targets
        assert kept[:before] == (
            whole.ids[:1] + whole.ids[head - before + 1 : head] if before > 1 else whole.ids[:head][-1:]
        )
    else:  # the target alone is too long: it loses its end, and one token is left to predict its first one
        assert kept == whole.ids[:head][-1:] + targets[: room - min(head, 1)]


def test_a_target_one_token_short_of_the_limit_is_whole():
    tokenizer = tiny_tokenizer()
    ids, x = direct(tokenizer, PROMPT, TARGET)
    found = encode_pair(tokenizer, PROMPT, TARGET, len(ids) - x + 1)
    assert list(found.targets) == ids[x:]
    assert list(found.ids) == ids[x - 1 :]


@pytest.mark.parametrize("bos", [True, False])
def test_a_prompt_alone_is_the_prompt_of_its_pair(bos):
    tokenizer = tiny_tokenizer(bos)
    pair = encode_pair(tokenizer, PROMPT, TARGET, 256)
    assert encode_prompt(tokenizer, PROMPT, 256, 10) == list(pair.ids[: pair.start + 1])


@settings(max_examples=60, deadline=None)
@given(length=st.integers(0, 60), limit=st.integers(4, 40), room=st.integers(1, 30))
def test_a_cut_prompt_leaves_the_room_asked_for_and_keeps_its_end(length, limit, room):
    tokenizer = tiny_tokenizer()
    whole = encode_prompt(tokenizer, "x" * length + ":", 10_000, 0)
    found = encode_prompt(tokenizer, "x" * length + ":", limit, room)
    assert len(found) == min(len(whole), max(limit - room, 2))
    assert found[0] == whole[0] == tokenizer.bos_token_id
    assert found[1:] == whole[len(whole) - len(found) + 1 :]


def test_an_end_token_that_the_tokenizer_adds_itself_is_not_counted_twice():
    from tokenizers import processors

    tokenizer = train_tokenizer([PROMPT + TARGET], 300)
    plain = encode_pair(tokenizer, PROMPT, TARGET, 256), encode_prompt(tokenizer, PROMPT, 256, 8)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A {EOS}", special_tokens=[(BOS, 0), (EOS, 1)]
    )
    assert tokenizer(PROMPT)["input_ids"][-1] == tokenizer.eos_token_id
    assert (encode_pair(tokenizer, PROMPT, TARGET, 256), encode_prompt(tokenizer, PROMPT, 256, 8)) == plain


@pytest.mark.parametrize("name", TASKS)
def test_every_label_is_the_whole_target_of_its_pair(name):
    tokenizer = tiny_tokenizer()
    for label in get_task(name).labels:
        found = encode_pair(tokenizer, *get_task(name).pair(Item("something", label)), 4096)
        assert tokenizer.decode(found.targets[:-1]) == " " + label or get_task(name).history_instruction


# ---- batches --------------------------------------------------------------------------------------------------------


def encoded_items():
    return [encode_pair(tiny_tokenizer(), *get_task("LaMP_4").pair(item), 256) for item in ITEMS]


def test_padding_comes_after_the_text_and_masks_and_places_name_the_targets():
    batch = encoded_items()
    ids = pad_right([item.ids for item in batch], 2, "cpu")
    assert ids.shape == (len(batch), max(len(item.ids) for item in batch))
    mask = target_mask(batch, ids.shape[1], "cpu")
    rows, columns = target_places(batch, "cpu")
    assert mask.sum() == len(rows) == sum(len(item.targets) for item in batch)
    assert bool((mask[rows, columns] == 1).all())
    for row, item in enumerate(batch):
        assert ids[row, : len(item.ids)].tolist() == list(item.ids)
        assert set(ids[row, len(item.ids) :].tolist()) <= {2}
        assert ids[row, columns[rows == row] + 1].tolist() == list(item.targets)
        assert mask[row].nonzero()[:, 0].tolist() == list(range(item.start, item.end))


def test_targets_are_what_the_next_position_holds():
    item = Encoded((7, 8, 9, 1), start=1, end=3)
    assert item.targets == (9, 1)


@settings(max_examples=100, deadline=None)
@given(lengths=st.lists(st.integers(1, 50), max_size=40), limit=st.integers(1, 200), rows=st.integers(1, 8))
def test_batches_hold_everyone_once_within_the_limits(lengths, limit, rows):
    batches = length_batches(lengths, limit, rows)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert 1 <= len(batch) <= rows
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= limit
    assert all(torch.is_tensor(pad_right([[1] * lengths[i] for i in batch], 0, "cpu")) for batch in batches)
