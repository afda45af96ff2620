"""Words fall into the same pieces in every casing, and nothing that a byte-level BPE promises is lost."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpcs.data.smalltown import make_people
from perpcs.model.tokenizer import BOS, EOS, PAD, train_tokenizer
from perpcs.pool.unheard import word

VOCABULARY = 1500


@pytest.fixture(scope="module")
def tokenizer():
    people = make_people("LaMP_4", seed=1, count=40, split="base", queries=0)
    return train_tokenizer([f"{item.x}\n{item.y}" for person in people for item in person.history], VOCABULARY)


def small(pieces):
    return [piece.translate({ord(c): c.lower() for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}) for piece in pieces]


@given(text=st.text(st.characters(max_codepoint=0x17F), max_size=40))
def test_capitals_are_cut_where_small_letters_are(text, tokenizer):
    capitals, letters = ("".join(f(c) if c.isascii() else c for c in text) for f in (str.upper, str.lower))
    assert small(tokenizer.tokenize(capitals)) == tokenizer.tokenize(letters)


def test_names_are_cut_alike_with_a_capital_first(tokenizer):
    rng = random.Random(3)
    names = [word(rng) for _ in range(300)]
    alike = [small(tokenizer.tokenize(f" {name.capitalize()}")) == tokenizer.tokenize(f" {name}") for name in names]
    assert sum(alike) > 0.98 * len(names)  # where a letter is doubled at the beginning, another pair may come first
    pieces = [len(tokenizer.tokenize(f" {name}")) for name in names]
    assert sum(map(int.__lt__, pieces, map(len, names))) > 0.9 * len(names)  # and not into letters


@given(text=st.text(max_size=60))
def test_any_text_comes_back(text, tokenizer):
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text.encode("utf-8", "replace").decode()


def test_the_vocabulary_is_as_large_as_asked_and_its_special_tokens_come_first(tokenizer):
    assert VOCABULARY - 3 < len(tokenizer) <= VOCABULARY
    assert tokenizer.convert_tokens_to_ids([BOS, EOS, PAD]) == [0, 1, 2]
    assert tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id == 0


def test_it_is_the_same_once_saved_and_learned_again(tokenizer, tmp_path):
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    text = 'WHY DID "Wilacliff" scrap it?  2 July…'
    assert AutoTokenizer.from_pretrained(tmp_path)(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert (
        train_tokenizer(["a few words"] * 2, 270).get_vocab() == train_tokenizer(["a few words"] * 2, 270).get_vocab()
    )
