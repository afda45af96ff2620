"""Tokens of labels that a model can tell apart, and an embedding that stays as it is."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from test_base_models import SMALL
from tiny import TEXTS

from perpcs.model.apart import label_tokens, set_apart
from perpcs.model.text import Lesson
from perpcs.model.tokenizer import train_tokenizer
from perpcs.model.train_base import new_model, train_base


def test_tokens_that_are_alike_are_set_apart_and_others_stay():
    tokenizer = train_tokenizer(TEXTS, SMALL.vocabulary)
    model = new_model(tokenizer, SMALL)
    table = model.get_input_embeddings().weight
    tokens = label_tokens(tokenizer, ["[1]", "[2]", "[3]"])
    assert len(tokens) == 3
    assert not set_apart(model, tokens)  # they are not alike
    with torch.no_grad():
        table[tokens] = table[tokens[0]] + 0.1 * table[tokens].std() * torch.randn_like(table[tokens])
    before = table.detach().clone()
    assert set_apart(model, tokens)
    others = [i for i in range(len(table)) if i not in tokens]
    assert torch.equal(before[others], table[others])
    assert torch.allclose(before[tokens].norm(dim=1), table[tokens].norm(dim=1))
    assert (torch.corrcoef(table[tokens].detach()) - torch.eye(3)).max() < 0.9 * torch.corrcoef(before[tokens]).min()
    assert not set_apart(model, tokens[:1])


def test_labels_differ_by_the_tokens_of_the_first_place_where_not_all_agree():
    tokenizer = train_tokenizer(TEXTS, SMALL.vocabulary)
    inside = [tokenizer.decode(token) for token in label_tokens(tokenizer, ["[1]", "[2]"])]
    assert inside == ["1", "2"]
    assert label_tokens(tokenizer, ["same", "same"]) == []
    assert label_tokens(tokenizer, []) == []


@pytest.mark.parametrize("still", [True, False])
def test_a_still_embedding_stays_as_it_is(still, tmp_path):
    tokenizer, name = train_tokenizer(TEXTS, SMALL.vocabulary), "model.embed_tokens.weight"
    lessons = [Lesson(f"Article: {a} Headline:", f" {a} again") for a in TEXTS[1].split()]
    train_base(lessons, {}, tokenizer, SMALL, tmp_path / "one")
    before = load_file(tmp_path / "one" / "model.safetensors")
    train_base(lessons, {}, tokenizer, replace(SMALL, still=still), tmp_path / "two", start=tmp_path / "one")
    after = load_file(tmp_path / "two" / "model.safetensors")
    assert torch.equal(before[name], after[name]) == still
    moved = "model.layers.0.self_attn.q_proj.weight"
    assert not torch.equal(before[moved], after[moved])
