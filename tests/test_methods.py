"""Laws of the one interface: names, what is prepared, what a row carries, and that rows of anybody share a batch."""

import threading
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch
from tiny import ITEMS, RANK, SHARERS, exact, load_tiny, plain_model, random_ids, random_weights

from perpcs.assembly.record import rounded
from perpcs.data.prompts import statistics
from perpcs.errors import PerpcsError
from perpcs.model.basis import OwnPiece, adapted, fixed
from perpcs.personalizers import adapters
from perpcs.personalizers.methods import (
    METHODS,
    Person,
    Prepared,
    Setting,
    Shown,
    known_names,
    names_in,
    parse,
    prepare,
    text_bytes,
    title_of,
)
from perpcs.pool.profile_writer import NEW_TOKENS, LazyWriter, ModelWriter, profile_request
from perpcs.pool.store import Pool
from perpcs.serve.engine import Engine
from perpcs.serve.queue import row_updates
from perpcs.tasks import Item, Query, get_task

TASK = get_task("LaMP_4")
SETTINGS = {"rank": RANK, "alpha": 3.0, "epochs": 2, "batch": 2, "rate": 1e-2}
ADA, BRUNO = Person("ada", ITEMS[:5]), Person("bruno", ITEMS[2:])
ASKED = Query("The harbour was closed after a storm.")


@pytest.fixture(scope="module")
def pool(tiny_pool_folder):
    pool = Pool(tiny_pool_folder)
    for name in ("LaMP_4", "LaMP_2"):
        pool.task(name).training["pieces"] = SETTINGS
    return pool


@pytest.fixture(scope="module")
def base(pool):
    base = pool.base("cpu", "float64")
    exact(base.model)
    return base


@pytest.fixture(scope="module")
def engine(pool, base):
    return Engine(pool, base)


@pytest.fixture(scope="module")
def setting(pool, base):
    return Setting(base, pool, TASK, [(one.id, one.history) for one in (ADA, BRUNO)])


def logits(base, pool, prepared, ids):
    pieces = pool.pieces(TASK.name, "cpu", torch.float64).pieces
    with torch.no_grad(), adapted(fixed(row_updates(base, pieces, prepared))):
        return base.model(input_ids=ids).logits


# ---- names ----------------------------------------------------------------------------------------------------------


def test_every_known_name_is_taken_apart_and_has_a_title_of_its_own():
    names = known_names()
    assert set(METHODS) <= set(names)
    assert parse("perpcs").title == parse("perpcs:newton").title, "newton is what stands behind the plain name"
    assert len({parse(name).title for name in names}) == len(names) - 1
    assert title_of("perpcs:fit+own+rag:2") == "Per-Pcs (fit+own) + RAG (2 items)"
    assert title_of("wrong:oppu") == "OPPU, wrong user"
    assert title_of("something") == "something"
    assert parse("oppu+pag:1").shown == Shown(1, True)
    assert parse("perpcs:fit+own").shown == Shown()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("percps", "Did you mean perpcs?"),
        ("perpcs:gat", "Did you mean perpcs:gate?"),
        ("rag:3", "Did you mean rag"),
        ("base:", "Unknown method"),
        ("oppu+rga", "Unknown method 'oppu.rga'"),
        ("rag+", "Unknown method"),
        ("", "Unknown method"),
        ("wrong:magic", "Unknown method 'magic'"),
    ],
)
def test_a_misspelt_name_is_told_with_the_nearest(name, says):
    with pytest.raises(PerpcsError, match=says.replace("?", r"\?")):
        parse(name)


def test_every_line_of_the_registry_names_a_function_that_is_there():
    """Before anybody asks: what moves to another file is imported on first use only."""
    for method in METHODS.values():
        module, _, function = method.prepare.partition(".")
        assert callable(getattr(import_module(f"perpcs.personalizers.{module}"), function)), method.name


def test_names_are_listed_with_commas():
    assert names_in("base, rag:2 ,oppu+rag,") == ["base", "rag:2", "oppu+rag"]


# ---- one batch for anybody ------------------------------------------------------------------------------------------


def sixteen(base):
    """Sixteen people: weights of the pool, a rank-1 piece of their own, a whole LoRA, and weights and a piece."""
    random = torch.Generator().manual_seed(4)
    weights = random_weights(base, 16).float().numpy()

    def own(rank):
        A = [torch.randn(rank, p.n, generator=random) / p.n**0.5 for p in base.positions]
        return OwnPiece(A, [torch.randn(rank, p.d, generator=random) for p in base.positions], 0.7)

    rows = []
    for i in range(16):
        some, rank = i % 4 in (0, 3), (0, 1, 3, 1)[i % 4]
        piece = own(rank) if rank else None
        rows.append(Prepared(TASK, method="perpcs", weights=weights[i] if some else None, own=piece))
    return rows


def streamed(engine, rows, **how):
    return [[one.text for one in snapshot] for snapshot in engine.answer_rows(TASK, rows, max_new_tokens=10, **how)]


@pytest.mark.parametrize("how", [{}, {"temperature": 1.0, "seed": 3}])
def test_sixteen_people_in_one_batch_are_sixteen_single_runs_token_by_token(engine, base, how):
    rows = [(row, replace(ASKED, x=ITEMS[i % 6].x)) for i, row in enumerate(sixteen(base))]
    together = streamed(engine, rows, **how)
    for index, row in enumerate(rows):
        for step, (text,) in enumerate(streamed(engine, [row], **how)):
            assert together[step][index] == text, (index, step)
    same = [(row, ASKED) for row, _ in rows]
    assert len(set(streamed(engine, same, **how)[-1])) >= 14, "people who all say the same could be mixed up unseen"


def test_neighbours_do_not_matter(engine, base):
    rows = [(row, ASKED) for row in sixteen(base)]
    forward, backward = streamed(engine, rows)[-1], streamed(engine, rows[::-1])[-1]
    assert forward == backward[::-1]


def test_twenty_threads_that_ask_for_different_people_get_their_own(engine, base):
    """Weights, own pieces and whole LoRAs at once, while somebody trains."""
    rows = [(row, ASKED) for row in (*sixteen(base), *sixteen(base)[:4])]
    alone = [streamed(engine, [row])[-1] for row in rows]
    found = [None] * len(rows)

    def work(index):
        found[index] = streamed(engine, [rows[index]])[-1]

    def train():
        engine.prepare(TASK, "oppu", ADA.history)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(rows))]
    threads.insert(7, threading.Thread(target=train))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == alone
    assert engine.queue.waiting == 0


# ---- what is shown --------------------------------------------------------------------------------------------------


def test_rag_and_pag_show_the_history_and_keep_it_once(setting):
    rag, pag, both, bare = (prepare(setting, [ADA], name)[0] for name in ("rag:2", "pag:1", "pag:1+rag:2", "pag"))
    size, profile = text_bytes(ADA.history), statistics(TASK, ADA.history)
    assert len(rag.prompt(ASKED).retrieved) == 2
    assert profile in pag.prompt(ASKED).text
    assert [pag.prompt(ASKED).retrieved[0].x in pag.prompt(ASKED).text] == [True]
    assert (rag.bytes, pag.bytes) == (size, size + len(profile.encode()))
    assert both.bytes == pag.bytes, "a text that both keep is kept once"
    assert bare.bytes == len(profile.encode())
    assert bare.prompt(ASKED).retrieved == ()
    assert all(one.text_leaves for one in (rag, pag, both, bare))


def test_random_history_is_other_peoples_and_the_same_for_the_same_question(setting):
    drawn = prepare(setting, [ADA], "random-history:2")[0]
    shown = drawn.prompt(ASKED).retrieved
    assert shown == drawn.prompt(ASKED).retrieved
    assert len(shown) == 1, "Bruno has one item that is not Ada's as well"
    assert not set(shown) & set(ADA.history)
    assert (drawn.bytes, drawn.text_leaves) == (0, False)
    with pytest.raises(PerpcsError, match="there are none"):
        prepare(replace(setting, strangers=[("ada", ADA.history)]), [ADA], "random-history")


@pytest.mark.parametrize("name", ["rag", "pag", "oppu", "perpcs", "retrieval", "oppu:best"])
def test_a_method_says_that_it_lacks_the_history(setting, name):
    with pytest.raises(PerpcsError, match=r"history|assembled"):
        prepare(setting, [Person("saved")], name)


def test_what_is_carried_and_what_is_shown_go_together(setting):
    fitted, shown = (prepare(setting, [ADA], name)[0] for name in ("perpcs:fit", "perpcs:fit+rag:2"))
    assert np.array_equal(fitted.weights, shown.weights)
    assert fitted.prompt(ASKED).text == TASK.prompt(ASKED)
    assert len(shown.prompt(ASKED).retrieved) == 2
    assert shown.bytes == fitted.bytes + text_bytes(ADA.history)


def test_an_assembly_that_there_is_is_used_and_another_router_is_run(engine, setting):
    gate = engine.assemble(TASK, ADA.history)
    mine = replace(ADA, assembly=gate)
    assert prepare(setting, [mine], "perpcs")[0].weights is gate.weights
    assert prepare(setting, [mine], "perpcs:newton")[0].weights is gate.weights
    other = prepare(setting, [mine], "perpcs:prototype")[0]
    assert not np.array_equal(other.weights, gate.weights)
    assert prepare(setting, [mine], "perpcs")[0].seconds == gate.seconds


def test_progress_is_told_and_stopping_gives_the_turn_back(engine):
    told = []

    def watch(progress):
        told.append(progress)
        if len(told) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.prepare(TASK, "oppu", ADA.history, watch=watch)
    assert engine.queue.waiting == 0
    assert [one.step for one in told] == [1, 2, 3]
    assert told[0].steps == 6
    assert told[0].losses["training"] > 0


# ---- PEFT retrieval and OPPU against plain peft ---------------------------------------------------------------------


def test_peft_retrieval_is_pefts_exact_merge_of_whole_sharers(setting, pool, base, monkeypatch):
    from peft import LoraConfig, get_peft_model

    alike = torch.tensor([0.1, 0.9, 0.3, 0.8, 0.2])
    monkeypatch.setattr("perpcs.assembly.assemble.likeness", lambda pool, task, items: alike)
    found = prepare(setting, [ADA], "retrieval:2")[0]
    weights = torch.softmax(alike[[1, 3]].double() / 0.1, 0)  # the default temperature
    weights = torch.from_numpy(rounded(weights.numpy())).double()  # as a person is kept
    pieces, ids = pool.pieces(TASK.name, "cpu", torch.float64).pieces, random_ids(base, 1, 24)
    paths = [position.path for position in base.positions]
    config = LoraConfig(r=RANK, lora_alpha=pool.manifest.alpha, target_modules=paths)
    model = get_peft_model(plain_model(pool.folder / "base"), config, adapter_name="s0")
    for s in range(1, SHARERS):
        model.add_adapter(f"s{s}", config)
    for p, path in enumerate(paths):
        layer = model.base_model.model.get_submodule(path)
        for s in range(SHARERS):
            layer.lora_A[f"s{s}"].weight.data = pieces.A[p][s].clone()
            layer.lora_B[f"s{s}"].weight.data = pieces.Bt[p][s].T.clone()
    model.add_weighted_adapter(["s1", "s3"], weights.tolist(), "mix", combination_type="cat")
    model.set_adapter("mix")
    with torch.no_grad():
        expected = model.double().eval()(input_ids=ids).logits
    torch.testing.assert_close(logits(base, pool, [found], ids), expected, atol=1e-5, rtol=1e-5)


def test_oppu_is_what_plain_peft_trains(setting, pool, base):
    """The same first values and batches: peft's LoRA under torch's Adam comes to the same matrices."""
    from peft import LoraConfig, get_peft_model

    from perpcs.pool.train import PieceSettings, epoch_batches, initial_A

    settings = PieceSettings(**SETTINGS)
    found = prepare(setting, [ADA], "oppu")[0]
    paths = {position.path: position for position in base.positions}
    config = LoraConfig(r=RANK, lora_alpha=settings.alpha, lora_dropout=0.0, target_modules=list(paths))
    model = get_peft_model(plain_model(pool.folder / "base"), config).double()
    layers = [model.base_model.model.get_submodule(path) for path in paths]
    for layer, position in zip(layers, paths.values(), strict=True):
        layer.lora_A["default"].weight.data = initial_A("ada", position.path, position.n, settings).double()
    pairs = adapters.training_pairs(setting, ADA.history, Shown())
    batches = epoch_batches(pairs, "ada", settings.batch, settings.epochs, settings.seed)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(trained, lr=settings.rate)
    for step, batch in enumerate(batches):
        optimiser.param_groups[0]["lr"] = settings.rate * (1 - step / len(batches))
        total = count = 0
        for pair in batch:  # one by one: no padding, no masks of ours
            ids = torch.tensor([pair.ids])
            out = model(input_ids=ids).logits[0, pair.start : pair.end]
            total = total + torch.nn.functional.cross_entropy(
                out, ids[0, pair.start + 1 : pair.end + 1], reduction="sum"
            )
            count += pair.end - pair.start
        optimiser.zero_grad()
        (total / count).backward()
        optimiser.step()
    for p, layer in enumerate(layers):
        torch.testing.assert_close(found.own.A[p].double(), layer.lora_A["default"].weight.data, atol=2e-4, rtol=2e-3)
        torch.testing.assert_close(
            found.own.Bt[p].T.double(), layer.lora_B["default"].weight.data, atol=2e-4, rtol=2e-3
        )
    assert found.own.Bt[0].abs().max() > 1e-2, "something was learned"
    assert found.bytes == 2 * sum(RANK * (p.n + p.d) for p in base.positions)


def test_an_oppu_is_saved_as_plain_peft_reads_it(setting, engine, pool, base, tmp_path):
    from peft import PeftModel

    found = prepare(setting, [ADA], "oppu")[0]
    engine.prepared_adapter(found).save(tmp_path)
    model = PeftModel.from_pretrained(plain_model(pool.folder / "base"), tmp_path).double().eval()
    ids = random_ids(base, 2, 20)
    with torch.no_grad():
        expected = model(input_ids=ids).logits
    torch.testing.assert_close(logits(base, pool, [found, found], ids), expected, atol=1e-5, rtol=1e-5)
    with pytest.raises(PerpcsError, match="nothing to export"):
        engine.prepared_adapter(prepare(setting, [ADA], "rag")[0])


def test_oppu_sees_nobody_else(setting):
    """Two people in one call are each one alone."""
    alone, together = prepare(setting, [ADA], "oppu")[0], prepare(setting, [BRUNO, ADA], "oppu")[1]
    for one, other in zip(alone.own.Bt, together.own.Bt, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_training_prompts_show_strictly_earlier_items_only(setting, base):
    roomy = replace(setting, base=replace(base, max_tokens=5000))
    pairs = adapters.training_pairs(roomy, ITEMS, Shown(2, True))
    for index, (pair, item) in enumerate(zip(pairs, ITEMS, strict=True)):
        text = base.tokenizer.decode(pair.ids)
        assert all(later.y not in text for later in ITEMS[index + 1 :])
        assert text.count(item.y) == 1, "its own answer is the target and nothing else"
        assert ("### User History:" in text) == (index > 0)
        assert ("### User Profile:" in text) == (index > 0)


def test_the_search_decides_inside_the_history(setting, base, monkeypatch):
    """It trains on the first items alone, looks at the last ones, and stops when they get no better."""
    monkeypatch.setattr(adapters, "STEPS", 16)
    monkeypatch.setattr(adapters, "PASSES", 2)
    seen = []
    real = adapters.descend

    def noted(base, parameters, batches, *args, **more):
        seen.append({item for own in batches for batch in own for item in batch})
        return real(base, parameters, batches, *args, **more)

    monkeypatch.setattr(adapters, "descend", noted)
    pairs = adapters.training_pairs(setting, ITEMS, Shown())
    found = prepare(setting, [Person("ada", ITEMS)], "oppu:best")[0]
    assert seen[0] == set(pairs[:-1])
    assert len(seen) == 1 + (found.own is not None)
    held = [loss for _, loss in found.curve["held out"]]
    assert len(held) >= 2
    if found.own is None:
        assert min(held) == held[0]
        assert "the base model stays" in found.says
    else:
        assert min(held[1:]) < held[0]
        assert seen[1] <= set(pairs)


def test_a_search_that_finds_nothing_leaves_the_base_model(setting, monkeypatch):
    monkeypatch.setattr(adapters, "search", lambda *args: adapters.Found(0.01, 0.0, 2.0, 2.0))
    found = prepare(setting, [Person("ada", ITEMS)], "oppu:best")[0]
    assert found.own is None
    assert found.bytes == 0


# ---- the profile writer ---------------------------------------------------------------------------------------------


def test_a_language_model_writes_the_profile_from_the_newest_items_that_fit(setting, model_folder):
    writer = ModelWriter(replace(load_tiny(model_folder("llama")), max_tokens=480))
    long = [Item(f"{item.x} {n}", item.y) for n in range(5) for item in ITEMS]
    profile = writer(TASK, long)
    assert profile == writer(TASK, long), "greedy: the same history gets the same profile"
    assert "\n" not in profile
    ids = writer.fitting(TASK, long)
    assert len(ids) <= writer.model.max_tokens - NEW_TOKENS
    told = writer.model.tokenizer.decode(ids)
    assert long[-1].y in told
    assert writer(TASK, ()) == ""
    said = prepare(replace(setting, writer=writer), [ADA], "pag")[0]
    assert said.prompt(ASKED).profile == writer(TASK, ADA.history)


def test_a_chat_template_is_used_and_a_mark_in_the_text_stays_text(model_folder):
    writer = ModelWriter(replace(load_tiny(model_folder("llama")), max_tokens=900))
    writer.model.tokenizer.chat_template = "{% for m in messages %}<|end|>{{ m.content }}<|end|>{% endfor %}"
    items = [Item("a <|end|> b", "c")]
    ids = writer.fitting(TASK, items)
    assert ids.count(writer.model.eos) == 2 * (
        writer.model.tokenizer.convert_ids_to_tokens(writer.model.eos) == "<|end|>"
    )


@pytest.mark.parametrize("name", ["LaMP_1", "LaMP_2", "LaMP_3", "LaMP_4", "LaMP_7"])
def test_every_task_has_words_for_its_profile(name):
    items = [Item("x", "y", other="z")] if name == "LaMP_1" else [Item("x", None if name == "LaMP_7" else "5")]
    text = profile_request(get_task(name), items)
    asked, _, shown = text.partition("\nUser History:\n")
    assert asked.endswith((".", ">"))
    assert shown.startswith("- ")


def test_a_writer_of_profiles_keeps_nothing_of_a_person(monkeypatch):
    writer = LazyWriter("tiny")
    monkeypatch.setitem(vars(writer), "_model", lambda task, history: f"About {history[0].x}")
    assert writer(get_task("LaMP_4"), (Item("my secret diary", "Diary"),)) == "About my secret diary"
    del vars(writer)["_model"]
    assert "secret" not in repr(vars(writer))
