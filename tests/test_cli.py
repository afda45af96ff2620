"""The commands as a user types them: what they print, what they write, and what they say when something is wrong.

`perpcs share` and `perpcs revoke`, from a text file to a copy of a pool and back.
"""

import json
from pathlib import Path

import pytest
from helpers import an_assembly, state

from perpcs.assembly.record import Assembly
from perpcs.cli import main
from perpcs.pool.contribute import id_of
from perpcs.pool.manifest import contributed
from perpcs.pool.store import Pool

# ---- commands --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def person(tiny_town: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An example person of the tiny town, assembled by the command."""
    out = tmp_path_factory.mktemp("person") / "user.json"
    examples = tiny_town / "LaMP_4" / "examples.json"
    user = json.loads(examples.read_text())[0]["user_id"]
    command = ["assemble", "--pool", str(tiny_town), "--task", "LaMP_4", "--history", str(examples), "--user", user]
    assert main([*command, "--out", str(out)]) == 0
    return out


def test_assemble_says_what_it_did_and_saves_a_few_kilobytes(person: Path) -> None:
    assert person.stat().st_size < 16_000
    assert json.loads(person.read_text())["kind"] == "perpcs-assembly"


def test_assemble_twice_saves_the_same_person(tiny_town: Path, tmp_path: Path) -> None:
    history = tmp_path / "me.txt"
    history.write_text("A dog ran. => Dog runs\nA cat sat in Marlow. => Cat sits\n")
    records = []
    for name in ("one.json", "two.json"):
        command = ["assemble", "--pool", str(tiny_town), "--task", "LaMP_4", "--history", str(history)]
        assert main([*command, "--out", str(tmp_path / name)]) == 0
        record = json.loads((tmp_path / name).read_text())
        del record["seconds"]
        records.append(record)
    assert records[0] == records[1]


def test_json_for_programs(tiny_town: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history = tmp_path / "me.txt"
    history.write_text("A dog ran. => Dog runs\nno separator here\n")
    command = ["assemble", "--pool", str(tiny_town), "--task", "LaMP_4", "--history", str(history), "--json"]
    assert main([*command, "--preset", "paper", "--k", "2", "--out", str(tmp_path / "u.json")]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["items"], facts["bad_rows"]) == (1, 1)
    assert facts["router"]["normalise"] == "cosine"
    assert facts["router"]["k"] == 2
    assert len(facts["effective_sharers"]) == 8
    assert max(facts["effective_sharers"].values()) <= 2.01, "one item, two pieces: at most two sharers at a position"


def test_bad_rows_are_named_by_line(tiny_town: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history = tmp_path / "me.txt"
    history.write_text("A dog ran. => Dog runs\nno separator here\n")
    command = ["assemble", "--pool", str(tiny_town), "--task", "LaMP_4", "--history", str(history)]
    assert main([*command, "--out", str(tmp_path / "u.json")]) == 0
    assert "line 2:" in capsys.readouterr().out


def test_generate_answers(tiny_town: Path, person: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["generate", "--pool", str(tiny_town), "--user", str(person), "--input", "A council approved a bridge."]
    assert main([*command, "--max-new-tokens", "5"]) == 0
    capsys.readouterr()
    assert main([*command, "--methods", "base,perpcs", "--json", "--max-new-tokens", "5"]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert [answer["method"] for answer in answers] == ["base", "perpcs"]
    assert all(answer["done"] for answer in answers)


def test_a_history_is_answered_by_every_method_with_its_costs(
    tiny_town: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = tmp_path / "me.txt"
    history.write_text("A dog ran. => Dog runs\nA cat sat in Marlow. => Cat sits\nRain fell. => Wet again\n")
    command = ["generate", "--pool", str(tiny_town), "--task", "LaMP_4", "--history", str(history)]
    command += ["--input", "A council approved a bridge.", "--max-new-tokens", "4"]
    names = "base,random-history,rag:2,pag,retrieval,perpcs:gate,perpcs:fit,oppu,perpcs+rag,wrong:perpcs"
    assert main([*command, "--methods", names]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[0].split() == ["method", "prepare", "answer", "stored", "exposed", "answer"]
    assert len(lines) == 1 + len(names.split(","))
    exposed = [" yes " in f"{line} " for line in lines[1:]]
    assert exposed == [name in ("rag:2", "pag", "perpcs+rag") for name in names.split(",")]
    assert main([*command, "--methods", "rag,oppu", "--json"]) == 0
    rag, oppu = json.loads(capsys.readouterr().out)
    assert rag["text_leaves"]
    assert oppu["bytes_stored"] > 1000
    assert oppu["prepare_seconds"] > 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (["--methods", "base,percps"], "Did you mean perpcs?"),
        (["--methods", "oppu:bets"], "Did you mean oppu:best?"),
        (["--methods", "base"], "No person was given."),
    ],
)
def test_generate_says_what_is_wrong_before_a_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: list[str], says: str
) -> None:
    assert main(["generate", "--pool", str(tmp_path), "--input", "x", *change]) == 1
    assert says in capsys.readouterr().err


def test_an_oppu_is_exported_from_a_history(
    tiny_town: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = tmp_path / "me.txt"
    history.write_text("A dog ran. => Dog runs\nA cat sat in Marlow. => Cat sits\n")
    command = ["export", "--pool", str(tiny_town), "--task", "LaMP_4", "--history", str(history), "--method", "oppu"]
    assert main([*command, "--out", str(tmp_path / "lora"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["method"], facts["error"]) == ("oppu", 0)
    assert (tmp_path / "lora" / "adapter_model.safetensors").stat().st_size > 1000


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (["--task", "LaMP_44"], "Did you mean LaMP_4"),
        (["--pool", "no-such-pool"], "There is no pool"),
        (["--history", "no-such-file.txt"], "no-such-file.txt"),
        (["--preset", "papers"], "Unknown preset 'papers'"),
        (["--router", "magic"], "router is 'magic'"),
        (["--k", "0"], "k is 0"),
        (["--temperature", "0"], "temperature is 0"),
        (["--device", "toaster"], "Unknown device 'toaster'"),
    ],
)
def test_a_mistake_gets_two_sentences_and_no_traceback(
    tiny_town: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: list[str], says: str
) -> None:
    history = tmp_path / "me.txt"
    history.write_text("A dog ran. => Dog runs\n")
    command = ["assemble", "--pool", str(tiny_town), "--task", "LaMP_4", "--history", str(history)]
    assert main([*command, "--out", str(tmp_path / "u.json"), *change]) == 1
    error = capsys.readouterr().err
    assert says in error
    assert "Traceback" not in error
    assert len(error.strip().splitlines()) == 2
    assert not (tmp_path / "u.json").exists()


def test_a_damaged_person_is_said(
    tiny_town: Path, tmp_path: Path, person: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text(person.read_text()[:-200])
    assert main(["generate", "--pool", str(tiny_town), "--user", str(broken), "--input", "A dog ran."]) == 1
    assert "damaged" in capsys.readouterr().err


def test_smalltown_writes_a_town_with_traits_apart(tmp_path: Path) -> None:
    assert main(["smalltown", "--seed", "9", "--users", "3", "--out", str(tmp_path)]) == 0
    for task in ("LaMP_4", "LaMP_2"):
        users = json.loads((tmp_path / task / "target_users.json").read_text())
        traits = json.loads((tmp_path / task / "traits.json").read_text())
        assert {user["user_id"] for user in users} == set(traits)
        assert all("traits" not in user for user in users)


def test_a_new_person_of_a_new_town_can_be_assembled(tiny_town: Path, tmp_path: Path) -> None:
    assert main(["smalltown", "--seed", "9", "--users", "2", "--out", str(tmp_path), "--task", "LaMP_2"]) == 0
    users = tmp_path / "LaMP_2" / "target_users.json"
    user = json.loads(users.read_text())[1]["user_id"]
    command = ["assemble", "--pool", str(tiny_town), "--task", "LaMP_2", "--history", str(users), "--user", user]
    assert main([*command, "--out", str(tmp_path / "u.json")]) == 0
    assert json.loads((tmp_path / "u.json").read_text())["user"] == user


def test_validate_says_valid_and_finds_an_altered_file(
    tiny_town: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    assert main(["validate", str(tiny_town)]) == 0
    copy = tmp_path / "pool"
    shutil.copytree(tiny_town, copy)
    pieces = copy / "LaMP_2" / "pieces.safetensors"
    data = bytearray(pieces.read_bytes())
    data[-1] ^= 1
    pieces.write_bytes(data)
    assert main(["validate", str(copy)]) == 1
    assert "hash" in capsys.readouterr().err


# ---- sharing ---------------------------------------------------------------------------------------------------------


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
    assert "not a copy of a pool" in capsys.readouterr().err
    assert state(tiny_pool_folder) == before


@pytest.mark.parametrize("seed", [str(2**70), "-1", "one"])
def test_a_seed_that_no_generator_takes_is_refused(seed, capsys):
    with pytest.raises(SystemExit):
        main(["generate", "--user", "me.json", "--input", "x", "--seed", seed])
    assert "--seed" in capsys.readouterr().err
