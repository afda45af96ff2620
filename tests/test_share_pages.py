"""The Share page and the pool picker, run by AppTest: training, preview, consent, taking back, other pools."""

import gc
import json
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import FakeEngine, put_in_place
from helpers import ROOT, open_page, press, shown, walk_tour
from tiny import write_tiny_pool

from perpcs.files import hash_file
from perpcs.pool.contribute import MIN_ITEMS, Trained, check_items, id_of, leaving
from perpcs.pool.manifest import contributed
from perpcs.pool.store import Pool
from perpcs.pool.train import TrainedPieces
from perpcs.serve.stored import share as share_into
from perpcs.tasks import get_task
from perpcs.ui import engine, share
from perpcs.ui.work import Sharing, find_sharing, register_sharing

SECRET = "zebrafish at midnight"
LINES = "\n".join(f"The harbour was closed {n} times => {SECRET} {n}" for n in range(MIN_ITEMS))


class SharingEngine(FakeEngine):
    """A fake that trains nothing, on a tiny pool that is really there."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.pool = Pool(folder)
        self.pool.manifest = replace(self.pool.manifest, title="Tiny")
        self.trained_on: list[tuple] = []
        self.hold = 0.0

    def train_sharer(self, task, items, id, say):
        check_items(items)
        self.trained_on.append(items)
        for step in ("pieces", "gates", "prototypes"):
            for done in range(1, 4):
                say(step, done, 3)
                time.sleep(self.hold)
        positions, random = self.pool.manifest.positions, torch.Generator().manual_seed(0)
        A = [torch.randn(1, self.pool.manifest.rank, p.n, generator=random) for p in positions]
        B = [torch.randn(1, p.d, self.pool.manifest.rank, generator=random) for p in positions]
        keys = [torch.randn(1, p.n, generator=random) for p in positions]
        pieces = TrainedPieces(A, B, [[2.0, 1.0]])
        return Trained(task.name, id, len(items), pieces, keys, keys, None, self.pool.manifest.base_hash)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_pool(tmp_path_factory.mktemp("own") / "tiny")


@pytest.fixture
def fake(monkeypatch, folder, tmp_path):
    """The fake engine; copies go to a folder of the test."""
    monkeypatch.setenv("PERPCS_SHARED", str(tmp_path / "shared"))
    monkeypatch.setenv("PERPCS_POOL", str(folder))
    monkeypatch.setattr(share, "TICK", 0.001)
    yield from put_in_place(monkeypatch, SharingEngine(folder))


def test_the_tour_of_the_page_is_walked(fake):
    walk_tour("share")


def trained_page():
    app = open_page("share")
    app.text_area[0].set_value(LINES).run()
    return press(app, "train")


def copies_of(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "shared").glob("*") if not path.name.startswith(".")]


def test_the_page_says_what_will_happen_and_waits_for_enough(fake):
    app = open_page("share")
    assert "What will happen" in shown(app)
    assert app.button(key="train").disabled
    app.text_area[0].set_value("\n".join(LINES.splitlines()[:3])).run()
    assert f"at least {MIN_ITEMS} items; you have 3" in shown(app)
    assert app.button(key="train").disabled
    assert fake.trained_on == []


def test_from_a_text_to_a_copy_and_back(fake, folder, tmp_path):
    before = {file: hash_file(file) for file in folder.rglob("*") if file.is_file()}
    app = trained_page()
    text = shown(app)
    assert "the loss fell from 2.00 to 1.00" in text
    assert "8 of 8pieces" in text.replace(" pieces", "pieces")
    assert app.button(key="add").disabled
    assert app.session_state["studio"].sharing.code in [block.value for block in app.code], "seen before it is needed"
    app.checkbox(key="consent").check().run()
    press(app, "add")
    (copy,) = copies_of(tmp_path)
    code = app.session_state["studio"].sharing.code
    assert f"You are a sharer: {id_of(code)}" in shown(app)
    assert contributed(Pool(copy).manifest) == {"LaMP_4": (id_of(code),)}
    assert {file: hash_file(file) for file in before} == before
    files = b"".join(file.read_bytes() for file in copy.rglob("*") if file.is_file())
    assert b"zebrafish" not in files

    press(app, "take-back")
    assert f"{id_of(code)} is no longer in {copy.name}" in shown(app)
    assert Pool(copy).task("LaMP_4").sharers == 5
    assert app.session_state["studio"].sharing is None


def test_what_is_chosen_is_what_is_previewed(fake):
    app = trained_page()
    next(e for e in app.get("button_group") if e.key == "share-way").set_value("ratio").run()
    app.slider(key="share-ratio").set_value(25).run()
    text = shown(app)
    assert "2 of 8" in text
    given = app.session_state["studio"].sharing.previewed[1]
    assert len(given.parts()) == 8
    for part in given.parts():
        assert part.sha256[:12] in text


def test_stopping_keeps_nothing(fake):
    fake.hold = 0.2
    app = open_page("share")
    app.text_area[0].set_value(LINES).run()
    work = {}

    def stop_soon(self, *arguments, start=Sharing.start):
        start(self, *arguments)
        work["it"] = self.work
        self.work.stop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sharing, "start", stop_soon)
        press(app, "train")
    assert "Stopped. Nothing was kept." in shown(app)
    assert app.session_state["studio"].sharing is None
    work["it"].join(5)
    assert work["it"].ended
    assert work["it"].result is None


def test_the_training_survives_another_page_and_a_reload(fake):
    app = trained_page()
    token = app.session_state["studio"].sharing.token
    assert app.query_params["job"] in (token, [token])
    app.switch_page("../../pages/assemble.py").run()
    app.switch_page("../../pages/share.py").run()
    assert "Your pieces are trained" in shown(app)
    again = open_page("share", job=token)
    assert "Your pieces are trained" in shown(again)
    assert SECRET not in shown(again)  # the numbers are found again, the text is not
    assert "What will happen" in shown(open_page("share", job="0" * 16))
    press(again, "discard")
    assert find_sharing(token) is None


def test_what_nobody_holds_any_more_is_not_kept():
    token = register_sharing(Sharing("LaMP_4", 10, "hash", "code")).token
    gc.collect()
    assert find_sharing(token) is None


def test_clearing_my_data_ends_the_training(fake):
    app = trained_page()
    token = app.session_state["studio"].sharing.token
    press(app, "forget")
    assert find_sharing(token) is None
    assert "Your pieces are trained" not in shown(app)


def test_an_id_takes_nothing_back_and_a_wrong_code_says_so(fake):
    app = open_page("share")
    for given, says in (("guest-12345678", "public sharer id"), ("no such code", "No copy on this server")):
        app.text_input(key="code").set_value(given)
        next(button for button in app.button if button.label == "Take back").click().run()
        assert says in shown(app)


def test_my_own_person_goes_on_without_a_revoked_sharer(fake, tmp_path):
    from helpers import an_assembly

    from perpcs.ui.state import Person

    trained = fake.train_sharer(get_task("LaMP_4"), LINES.splitlines(), id_of("c"), lambda *step: None)
    given = leaving(trained, fake.pool, np.ones(8, dtype=bool))
    pool = share_into(fake.pool.folder, given, tmp_path / "shared" / "mine")
    app = open_page("share")
    app.session_state["studio"].own = Person("own", "You", "LaMP_4", an_assembly(pool, "LaMP_4"))
    app.text_input(key="code").set_value("c")
    next(button for button in app.button if button.label == "Take back").click().run()
    own = app.session_state["studio"].own.assembly
    assert own.pool_hash == Pool(pool.folder).hash
    assert own.sharers == ("s0", "s1", "s2", "s3", "s4")
    assert own.extra["without"] == [id_of("c")]


# ---- pools -----------------------------------------------------------------------------------------------------------


def test_known_pools_are_the_servers_own_the_shipped_and_the_copies(fake, folder, tmp_path):
    write_tiny_pool(tmp_path / "shared" / "other")
    (tmp_path / "shared" / ".other.new-x").mkdir()
    (tmp_path / "shared" / "no pool").mkdir()
    known = engine.known_pools()
    assert known[""] == folder
    assert known["other"] == tmp_path / "shared" / "other"
    assert set(known) - {"", "other"} == {
        path.parent.name for path in (ROOT / "assets" / "pools").glob("*/manifest.json")
    }


def test_two_sessions_look_at_two_pools(fake, monkeypatch, folder, tmp_path):
    other = write_tiny_pool(tmp_path / "shared" / "other", sharers=3)
    made = {folder: fake, other: SharingEngine(other)}
    monkeypatch.setattr(engine, "open_engine", made.__getitem__)
    engine.opening.clear()
    first, second = open_page("share"), open_page("share", pool="other")
    assert fake.pool.hash[:8] in shown(first)
    assert made[other].pool.hash[:8] in shown(second)
    assert second.query_params["pool"] in ("other", ["other"])
    record = first.session_state["studio"]
    record.live[("LaMP_4", "ada")], record.alike["ada"], record.prepared["ada"] = ["of the old pool"] * 3
    record.star, record.only = "s4", (4,)
    radio = next(one for one in first.radio if one.label == "Open a pool")
    radio.set_value("other").run()
    assert made[other].pool.hash[:8] in shown(first)
    record = first.session_state["studio"]
    assert (record.live, record.alike, record.prepared, record.star, record.only) == ({}, {}, {}, "", ())


def test_a_copy_that_was_changed_is_opened_anew(fake, monkeypatch, tmp_path):
    opened = []
    copy = write_tiny_pool(tmp_path / "shared" / "copy")
    monkeypatch.setattr(engine, "open_engine", lambda folder: opened.append(folder) or SharingEngine(copy))
    engine.opening.clear()
    open_page("share", pool="copy")
    open_page("share", pool="copy")
    assert opened == [copy]
    manifest = json.loads((copy / "manifest.json").read_bytes())
    (copy / "manifest.json").unlink()
    (copy / "manifest.json").write_text(json.dumps(manifest))
    open_page("share", pool="copy")
    assert opened == [copy, copy]


def test_a_pool_that_is_gone_or_broken_leads_back(fake, monkeypatch, tmp_path, folder):
    assert fake.pool.hash[:8] in shown(open_page("share", pool="gone"))
    broken = write_tiny_pool(tmp_path / "shared" / "broken")
    (broken / "LaMP_4" / "pieces.safetensors").write_bytes(b"")
    from perpcs.serve.engine import Engine

    opened = []

    def open_engine(path):
        opened.append(path)
        return fake if path == folder else Engine.open(path, "cpu")

    monkeypatch.setattr(engine, "open_engine", open_engine)
    engine.opening.clear()
    app = open_page("share")
    app = open_page("share", pool="broken")
    assert "altered" in shown(app)
    next(button for button in app.button if button.label == "Try again").click().run()
    assert "altered" in shown(app)
    assert [path for path in opened if path == folder] == [folder], "the other pool stays open"
    assert fake.pool.hash[:8] in shown(press(app, "own-pool"))


def test_a_base_model_that_does_not_fit_is_told_before_it_is_loaded(monkeypatch, folder):
    from perpcs.pool import validate
    from perpcs.pool.store import Pool

    count, _ = validate.parameters(folder / "base")
    assert count == sum(p.numel() for p in Pool(folder).base("cpu", "float32").model.parameters())
    monkeypatch.setattr(validate, "free_memory", lambda: math.ceil(1.3 * 4 * count))
    validate.check_fits(folder, "cpu")
    monkeypatch.setattr(validate, "free_memory", lambda: 4 * count)
    monkeypatch.setenv("PERPCS_POOL", str(folder))
    engine.opening.clear()
    text = shown(open_page())
    engine.opening.clear()
    assert "needs about 0.0 GB of memory, and this computer has 0.0 GB free" in text
    assert "Choose another pool" in text


def test_free_memory_is_a_number_of_bytes():
    from perpcs.pool.validate import free_memory

    found = free_memory()
    assert found is None or found > 1_000_000
