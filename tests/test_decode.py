"""Laws of decoding and of likelihoods: a batch is its rows one by one, padding is nothing, people do not mix."""

import math
from types import SimpleNamespace

import pytest
import torch
from tiny import FAMILIES, ITEMS, merged_model, random_pieces, random_weights

from perpcs.model import likelihood
from perpcs.model.basis import _ADAPTER, people
from perpcs.model.decode import decode, text_of
from perpcs.model.likelihood import (
    Encoded,
    encode_pair,
    encode_prompt,
    label_log_probs,
    pad_left,
    positions_of,
    target_nll,
)
from perpcs.tasks import get_task

TASK = get_task("LaMP_4")
PROMPTS = [TASK.pair(item)[0] for item in ITEMS[:4]]  # of very different lengths


def prompt_ids(base):
    return [encode_prompt(base.tokenizer, prompt, base.max_tokens, 30) for prompt in PROMPTS]


def last(steps):
    return list(steps)[-1]


def crowd(base, rows=4, seed=0):
    """(pieces, weights) of different people, one of them without any weight."""
    weights = random_weights(base, rows, seed=seed)
    weights[2:3] = 0
    return random_pieces(base), weights


# ---- decoding -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_a_batch_of_people_is_every_person_alone(family, temperature, tiny_base):
    """Greedy and sampled; rows of other lengths, prompts and adapters beside a row change none of its tokens."""
    base = tiny_base(family)
    prompts = prompt_ids(base)
    pieces, weights = crowd(base)
    options = {"max_new_tokens": 24, "temperature": temperature, "seed": 5}
    together = last(decode(base, prompts, people(pieces, weights), **options))
    plain = last(decode(base, prompts, **options))
    for row, prompt in enumerate(prompts):
        alone = last(decode(base, [prompt], people(pieces, weights[row : row + 1]), **options))
        assert together[row] == alone[0]
    assert together != plain
    assert together[2] == plain[2]  # the person without weights is the base model


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_decoding_is_what_transformers_generates(family, tiny_base, model_folder):
    """With the pieces merged into a model that our code never touched."""
    base = tiny_base(family)
    pieces, weights = crowd(base, rows=1)
    model = merged_model(model_folder(family), base, pieces, weights[0])
    for prompt in prompt_ids(base):
        made = model.generate(
            torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)), max_new_tokens=24, do_sample=False
        )[0, len(prompt) :].tolist()
        if base.eos in made:
            made = made[: made.index(base.eos)]
        assert last(decode(base, [prompt], people(pieces, weights), max_new_tokens=24, no_repeat=0)) == [made]


def runs(answer, length):
    return [tuple(answer[at : at + length]) for at in range(len(answer) - length + 1)]


@pytest.mark.parametrize("temperature", [0.0, 0.3])
@pytest.mark.parametrize("no_repeat", [1, 2, 4])
def test_no_row_writes_the_same_run_of_tokens_twice(no_repeat, temperature, tiny_base):
    base = tiny_base("llama")
    how = {"max_new_tokens": 60, "temperature": temperature, "seed": 3}
    for answer in last(decode(base, prompt_ids(base), no_repeat=no_repeat, **how)):
        found = runs(answer, no_repeat)
        assert len(found) == len(set(found))
    free = last(decode(base, prompt_ids(base), no_repeat=0, **how))
    assert any(len(answer) != len(set(answer)) for answer in free), "left free it does repeat itself"


def test_up_to_its_first_repetition_an_answer_is_the_free_one(tiny_base):
    base = tiny_base("llama")
    free = last(decode(base, prompt_ids(base), max_new_tokens=40, no_repeat=0))
    bound = last(decode(base, prompt_ids(base), max_new_tokens=40, no_repeat=3))
    for one, other in zip(free, bound, strict=True):
        seen = runs(one, 3)
        first = next((at for at, run in enumerate(seen) if run in seen[:at]), None)
        assert other[: len(one) if first is None else first + 2] == one[: len(one) if first is None else first + 2]


def test_what_the_prompt_says_may_be_repeated_and_the_end_is_never_ruled_out(tiny_base, monkeypatch):
    from perpcs.model import decode as module

    base, told = tiny_base("llama"), []
    planned = iter([[5], [6], [5], [7]])

    def choose(logits, *_):
        told.append([token for token in (5, 6, 7, base.eos) if logits[0, token] == -torch.inf])
        return torch.tensor(next(planned))

    monkeypatch.setattr(module, "_choose", choose)
    assert last(decode(base, [[5, 6, 5, 6]], max_new_tokens=4, no_repeat=2)) == [[5, 6, 5, 7]]
    assert told == [[], [], [], [6]]


def test_an_answer_of_one_line_ends_before_the_headings_that_would_follow(tiny_base, monkeypatch):
    from perpcs.model import decode as module

    base = tiny_base("llama")

    def written(text, one_line):
        planned = iter([[token] for token in base.tokenizer.encode(text, add_special_tokens=False)])
        monkeypatch.setattr(module, "_choose", lambda *_: torch.tensor(next(planned, [base.eos])))
        return text_of(base, last(decode(base, [[5, 6]], max_new_tokens=60, no_repeat=0, one_line=one_line))[0])

    leaks = "\nBoats stop early\n### User Instruction:\nWrite"
    assert written(leaks, one_line=True) == "Boats stop early"
    assert "User Instruction" in written(leaks, one_line=False)
    assert written("Boats stop early", one_line=True) == "Boats stop early"


def test_every_step_adds_one_token_to_every_open_row(tiny_base):
    base = tiny_base("llama")
    before = [[] for _ in PROMPTS]
    steps = list(decode(base, prompt_ids(base), max_new_tokens=10))
    assert len(steps) <= 10
    for answers in steps:
        assert all(
            now[: len(old)] == old and len(now) <= len(old) + 1 for now, old in zip(answers, before, strict=True)
        )
        before = answers
    assert any(len(answer) == len(steps) for answer in before)


def test_a_row_ends_at_the_end_token_and_the_work_when_all_have_ended(tiny_base, monkeypatch):
    from perpcs.model import decode as module

    base = tiny_base("llama")
    planned = iter([[5, base.eos], [base.eos, 7], [8, 8]])
    monkeypatch.setattr(module, "_choose", lambda *_: torch.tensor(next(planned)))
    steps = list(decode(base, [[0, 9], [0, 9, 10]], max_new_tokens=9))
    assert steps == [[[5], []], [[5], []]]


def test_the_same_seed_gives_the_same_answer_and_another_seed_another(tiny_base):
    base = tiny_base("llama")
    prompt = prompt_ids(base)[:1]

    def run(seed):
        return last(decode(base, prompt, max_new_tokens=20, temperature=1.0, seed=seed))

    torch.manual_seed(1)
    first = run(3)
    torch.manual_seed(2)  # what others draw does not matter
    assert run(3) == first
    assert run(4) != first


def test_sampling_draws_from_the_softmax_at_that_temperature():
    from perpcs.model.decode import _choose

    logits = torch.tensor([[1.0, 2.0, 0.0]], dtype=torch.float64)
    expected = torch.softmax(logits[0] / 0.7, 0)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.cat([_choose(logits, 0.7, [generator]) for _ in range(4000)])
    found = torch.bincount(drawn, minlength=3) / 4000
    torch.testing.assert_close(found.double(), expected, atol=0.03, rtol=0)


def test_two_decodings_in_turn_do_not_mix_and_stopping_one_leaves_nothing(tiny_base):
    base = tiny_base("llama")
    pieces, weights = crowd(base, rows=4)
    prompt = prompt_ids(base)[:1]
    adapters = [people(pieces, weights[row : row + 1]) for row in (0, 1)]
    expected = [last(decode(base, prompt, adapter, max_new_tokens=12)) for adapter in adapters]
    assert expected[0] != expected[1]
    running = [decode(base, prompt, adapter, max_new_tokens=12) for adapter in adapters]
    for answers in zip(*running, strict=False):
        assert _ADAPTER.get() is None
        assert all(answer[0] == right[0][: len(answer[0])] for answer, right in zip(answers, expected, strict=True))
    assert any(answer[0] == right[0] for answer, right in zip(answers, expected, strict=True))
    stopped = decode(base, prompt, adapters[0], max_new_tokens=12)
    next(stopped)
    stopped.close()
    assert _ADAPTER.get() is None


def test_the_text_of_an_answer_holds_nothing_of_the_prompt(tiny_base):
    base = tiny_base("llama")
    ids = base.tokenizer(" Boats return", add_special_tokens=False)["input_ids"]
    assert text_of(base, [*ids, base.eos]) == "Boats return"


def test_left_padding_is_masked_and_positions_count_real_tokens(tiny_base):
    ids, mask = pad_left([[5, 6, 7], [8]], tiny_base("llama"))
    assert ids.tolist()[0] == [5, 6, 7]
    assert ids.tolist()[1][2] == 8
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert positions_of(mask).tolist() == [[0, 1, 2], [0, 0, 0]]


# ---- likelihoods ----------------------------------------------------------------------------------------------------


def merged_log_probs(base, folder, pieces, weights, ids):
    """Log-probabilities of every next token, by a model with this person's pieces merged in: (t, vocabulary)."""
    model = merged_model(folder, base, pieces, weights)
    with torch.no_grad():
        return torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0], -1)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_of_a_mixed_batch_is_every_persons_own_token_by_token(family, tiny_base, model_folder):
    base = tiny_base(family)
    pieces, weights = crowd(base)
    batch = [encode_pair(base.tokenizer, *TASK.pair(item), base.max_tokens) for item in ITEMS[:4]]
    with torch.no_grad():
        nll, counts = target_nll(base, batch, people(pieces, weights))
    assert nll.dtype == torch.float64
    for row, item in enumerate(batch):
        log_probs = merged_log_probs(base, model_folder(family), pieces, weights[row], item.ids)
        expected = -sum(log_probs[at, item.ids[at + 1]].item() for at in range(item.start, item.end))
        assert math.isclose(nll[row].item(), expected, rel_tol=1e-9)
        assert counts[row].item() == len(item.targets)


@pytest.mark.parametrize("family", FAMILIES)
def test_label_probabilities_are_those_of_every_whole_answer_scored_alone(family, tiny_base, model_folder):
    """Labels of one and of many tokens, prompts of many lengths, a person a row: as full sequences, one by one."""
    base = tiny_base(family)
    pieces, weights = crowd(base)
    labels = ("a", "sci-fi", "based on a book", "1", "thought-provoking")
    factors = [pieces.shared(p, weights[:, p]) for p in range(len(pieces))]
    found = label_log_probs(base, PROMPTS, labels, factors)
    for row, prompt in enumerate(PROMPTS):
        scores = []
        for label in labels:
            item = encode_pair(base.tokenizer, prompt, " " + label, base.max_tokens)
            log_probs = merged_log_probs(base, model_folder(family), pieces, weights[row], item.ids)
            scores.append(sum(log_probs[at, item.ids[at + 1]] for at in range(item.start, item.end)))
        expected = torch.log_softmax(torch.stack(scores), 0)
        torch.testing.assert_close(found[row], expected, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(len(PROMPTS), dtype=torch.float64))


def test_label_probabilities_of_the_base_model_and_of_single_token_labels(tiny_base):
    base = tiny_base("llama")
    labels = ("1", "2", "3")
    one = label_log_probs(base, PROMPTS[:1], labels)
    many = label_log_probs(base, PROMPTS, labels)
    torch.testing.assert_close(many[:1], one, atol=1e-10, rtol=1e-10)
    zero = [None] * len(base.positions)
    assert torch.equal(label_log_probs(base, PROMPTS, labels, zero), many)


@pytest.mark.parametrize("most", [1, 100])
def test_labels_are_scored_in_parts_that_fit_the_memory(tiny_base, monkeypatch, most):
    base = tiny_base("llama")
    pieces, weights = crowd(base)
    factors = [pieces.shared(p, weights[:, p]) for p in range(len(pieces))]
    whole = label_log_probs(base, PROMPTS, ("a", "based on a book"), factors)
    monkeypatch.setattr(likelihood, "_MOST_REPEATED", most)
    parts = label_log_probs(base, PROMPTS, ("a", "based on a book"), factors)
    torch.testing.assert_close(parts, whole, atol=1e-10, rtol=1e-10)


def test_labels_leave_the_models_limit_room(tiny_base):
    """A prompt that is too long is cut like in decoding, so that prompt and label fit."""
    base = tiny_base("gpt2")  # its learned positions end at the limit
    found = label_log_probs(base, ["word " * 500, "short:"], ("a", "thought-provoking"))
    assert torch.isfinite(found).all()


def test_gradients_of_the_loss_reach_the_weights(tiny_base):
    """One backward pass gives d loss / d w of every piece: checked against a central difference."""
    base = tiny_base("llama")
    pieces = random_pieces(base)
    item = encode_pair(base.tokenizer, *TASK.pair(ITEMS[0]), base.max_tokens)

    def loss(weights: torch.Tensor) -> torch.Tensor:
        return target_nll(base, [item], people(pieces, weights))[0].sum()

    weights = torch.full((1, len(pieces), pieces.sharers), 0.1, dtype=torch.float64, requires_grad=True)
    loss(weights).backward()
    for p, s in ((0, 0), (3, 4), (7, 2)):
        step = torch.zeros_like(weights)
        step[0, p, s] = 1e-5
        with torch.no_grad():
            slope = (loss(weights + step) - loss(weights - step)) / 2e-5
        assert math.isclose(weights.grad[0, p, s].item(), slope.item(), rel_tol=1e-5, abs_tol=1e-7)


def test_a_row_without_targets_costs_nothing(tiny_base):
    base = tiny_base("llama")
    item = encode_pair(base.tokenizer, *TASK.pair(ITEMS[0]), base.max_tokens)
    nll, counts = target_nll(base, [Encoded((5, 6), 1, 1), item])
    assert (nll[0].item(), counts[0].item()) == (0.0, 0.0)
    assert torch.equal(nll[1:], target_nll(base, [item])[0])


# ---- words that a row may not write ----------------------------------------------------------------------------------


def once():
    """A check that refuses the first word it is asked about, and none after it."""
    asked = []
    return lambda text: not asked.append(text) and len(asked) == 1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_a_row_that_goes_back_changes_no_other_row(family, temperature, tiny_base):
    base = tiny_base(family)
    prompts = prompt_ids(base)
    options = {"max_new_tokens": 24, "temperature": temperature, "seed": 5}

    def checks():
        return [None, lambda text: len(text) % 3 == 0, None, lambda text: len(text) % 2 == 0]

    plain = last(decode(base, prompts, **options))
    together = last(decode(base, prompts, checks=checks(), **options))
    for row, (prompt, check) in enumerate(zip(prompts, checks(), strict=True)):
        assert together[row] == last(decode(base, [prompt], checks=[check], **options))[0]
    assert [together[0], together[2]] == [plain[0], plain[2]]
    assert together != plain
    assert last(decode(base, prompts, checks=[lambda _: False] * 4, **options)) == plain


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "mistral"])
def test_what_a_row_writes_after_it_went_back_is_what_it_would_write_from_there(family, tiny_base):
    """The cache still holds what was given up, and nothing reads it. A sliding window of attention counts it: the tiny
    mistral's is 24 tokens long.
    """
    base = tiny_base(family)
    for prompt in prompt_ids(base):
        steps = list(decode(base, [prompt], max_new_tokens=30, no_repeat=0, checks=[once()]))
        back = next((at for at in range(1, len(steps)) if steps[at - 1][0] != steps[at][0][: len(steps[at - 1][0])]), 0)
        if back:
            kept = steps[back][0]
            rest = last(decode(base, [[*prompt, *kept]], max_new_tokens=30 - len(kept), no_repeat=0))[0]
            assert steps[-1][0] == [*kept, *rest]
            break
    else:
        raise AssertionError("no row went back")


class Planned:
    """A base model whose next token depends on the position alone: logits (position, token)."""

    WORDS = ("Ġthe", "Ġblo", "rp", "Ġcat", "Ġsat", "<end>")

    def __init__(self, likes):
        self.likes = torch.full((20, len(self.WORDS)), -9.0)
        self.likes[:, 5] = -5.0
        for position, token, logit in likes:
            self.likes[position, self.WORDS.index(token)] = logit
        self.tokenizer, self.model, self.device, self.pad, self.ends = self, self, "cpu", 0, {5}

    def __call__(self, position_ids, **_):
        return SimpleNamespace(logits=self.likes[position_ids].clone(), past_key_values=None)

    def convert_ids_to_tokens(self, token):
        return self.WORDS[token]

    def decode(self, ids, **_):
        return "".join(self.WORDS[at] for at in ids).replace("Ġ", " ")


def test_a_row_goes_back_to_the_token_of_a_refused_word_that_was_least_certain():
    base = Planned(
        [
            *((0, "Ġthe", 3), (1, "Ġblo", 3), (1, "Ġcat", 2)),
            *((2, "rp", 3), (2, "Ġsat", 1), (3, "<end>", 3)),
        ]
    )
    words = {"the", "cat", "sat"}

    def written(check):
        return [text_of(base, rows[0]) for rows in decode(base, [[0]], max_new_tokens=9, no_repeat=0, checks=[check])]

    assert written(None)[-1] == "the blorp"
    steps = written(lambda text: text.split()[-1] not in words)
    assert steps[:5] == ["the", "the blo", "the blorp", "the cat", "the catrp"]
    assert steps[-1] == "the cat sat"


def test_a_row_goes_back_a_bounded_number_of_times(tiny_base, monkeypatch):
    from perpcs.model import decode as module

    monkeypatch.setattr(module, "_RETRIES", 3)
    base, asked = tiny_base("llama"), []
    final = last(decode(base, prompt_ids(base)[:1], max_new_tokens=20, checks=[lambda text: not asked.append(text)]))
    assert len(asked) == 3
    assert final[0]
