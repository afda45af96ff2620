"""`perpcs share` and `perpcs revoke`, from a text file to a copy of a pool and back."""

import json
from pathlib import Path

import pytest
from test_contribute import an_assembly, state

from perpcs.assembly.record import Assembly
from perpcs.cli import main
from perpcs.pool.contribute import id_of
from perpcs.pool.manifest import contributed
from perpcs.pool.store import Pool

WORD = "quagmire-seven"


@pytest.fixture
def command(tiny_pool_folder, tmp_path) -> list[str]:
    history = tmp_path / "me.txt"
    history.write_text("\n".join(f"A dog ran {n} miles. => {WORD} runs {n}" for n in range(10)))
    folders = ["--pool", str(tiny_pool_folder), "--history", str(history), "--out", str(tmp_path / "copy")]
    return ["share", "--task", "LaMP_4", "--device", "cpu", *folders]


def told(command: list[str], capsys: pytest.CaptureFixture[str]) -> dict:
    assert main([*command, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_without_consent_the_numbers_are_listed_and_nothing_is_kept(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--layer", "1", "--module", "v_proj"]) == 0
    said = capsys.readouterr().out
    for line in ("A.6 ", "B.6 ", "gate.6 ", "prototype.6 ", "sha256", "1 of 8 pieces", "Nothing was shared"):
        assert line in said
    assert WORD not in said
    assert not (tmp_path / "copy").exists()


def test_share_twice_and_revoke(
    command: list[str], tmp_path: Path, tiny_pool_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = state(tiny_pool_folder)
    first = told([*command, "--consent", "--ratio", "0.5"], capsys)
    second = told([*command, "--consent"], capsys)
    assert (first["pieces"], second["pieces"], second["sharers"]) == (4, 8, 7)
    pool = Pool(tmp_path / "copy")
    assert contributed(pool.manifest) == {"LaMP_4": (first["id"], second["id"])}
    assert first["id"] == id_of(first["code"])

    person = an_assembly(pool, "LaMP_4", seed=5)
    person.save(tmp_path / "p.json")
    command = ["revoke", second["code"], "--pool", str(tmp_path / "copy"), "--user", str(tmp_path / "p.json")]
    assert main(command) == 0
    assert f"{second['id']} is no longer in" in capsys.readouterr().out
    left = Assembly.load(tmp_path / "p.json")
    assert left.sharers == ("s0", "s1", "s2", "s3", "s4", first["id"])
    assert left.pool_hash == Pool(tmp_path / "copy").hash
    assert (left.weights == person.without_sharers([second["id"]]).weights[:, :6]).all()
    assert main(["validate", str(tmp_path / "copy")]) == 0
    assert main(["revoke", second["id"], "--pool", str(tmp_path / "copy")]) == 1
    assert "contributed" in capsys.readouterr().err
    assert state(tiny_pool_folder) == before


def test_a_person_of_another_state_is_refused_before_anything_changes(
    command: list[str], tmp_path: Path, tiny_pool_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = told([*command, "--consent"], capsys)
    an_assembly(Pool(tiny_pool_folder), "LaMP_4").save(tmp_path / "p.json")
    before = state(tmp_path / "copy")
    revoke = ["revoke", shared["code"], "--pool", str(tmp_path / "copy"), "--user", str(tmp_path / "p.json")]
    assert main(revoke) == 1
    assert "not assembled from this state" in capsys.readouterr().err
    assert state(tmp_path / "copy") == before


def test_the_shipped_pools_folder_is_refused(
    command: list[str], tiny_pool_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = state(tiny_pool_folder)
    assert main([*command, "--consent", "--out", str(tiny_pool_folder)]) == 1
    assert "no copy of a pool" in capsys.readouterr().err
    assert state(tiny_pool_folder) == before
