"""Files of users on disk: both layouts, and a sentence naming user and item for whatever is malformed."""

import json
from pathlib import Path
from typing import Any

import pytest

from perpcs.data import read_history_file, read_users
from perpcs.errors import PerpcsError
from perpcs.tasks import Item, get_task

HEADLINES, RATING = get_task("LaMP_4"), get_task("LaMP_3")
PROFILE = [{"id": "i1", "text": "first article", "title": "one"}, {"id": "i2", "text": "second", "title": "two"}]
ASK = "Generate a headline for the following article: "


def write(folder: Path, name: str, value: Any) -> Path:
    path = folder / name
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def release(**changes: Any) -> list[dict[str, Any]]:
    query = [{"id": "q1", "input": ASK + "third", "gold": "three"}]
    return [{"user_id": "u1", "profile": PROFILE, "query": query} | changes]


def test_the_release_layout(tmp_path: Path) -> None:
    (user,) = read_users(write(tmp_path, "users.json", release()), HEADLINES)
    assert user.id == "u1"
    assert user.history == (Item("first article", "one", "i1"), Item("second", "two", "i2"))
    assert [(query.x, query.gold, query.id) for query in user.queries] == [("third", "three", "q1")]


def test_one_user_a_line_is_read_as_well(tmp_path: Path) -> None:
    lines = "\n".join(json.dumps(release(user_id=name)[0]) for name in ("a", "b"))
    assert [user.id for user in read_users(write(tmp_path, "users.jsonl", lines), HEADLINES)] == ["a", "b"]


def test_the_lamp_layout_with_its_sibling_outputs(tmp_path: Path) -> None:
    questions = write(tmp_path, "dev_questions.json", [{"id": "110", "input": ASK + "third", "profile": PROFILE}])
    (user,) = read_users(questions, HEADLINES)
    assert (user.id, user.queries[0].x, user.queries[0].gold) == ("110", "third", None)
    outputs = {"task": "LaMP_4", "golds": [{"id": "110", "output": "three"}]}
    write(tmp_path, "dev_outputs.json", outputs)
    assert read_users(questions, HEADLINES)[0].queries[0].gold == "three"
    other = write(tmp_path, "other.json", outputs | {"golds": [{"id": "110", "output": "else"}]})
    assert read_users(questions, HEADLINES, outputs=other)[0].queries[0].gold == "else"


def test_numbers_and_dates(tmp_path: Path) -> None:
    profile = [{"text": "new", "score": 5, "date": "2020-01-01"}, {"text": "old", "score": "1", "date": "2019-01-01"}]
    query = [{"id": 7, "input": "review: fine", "gold": 4}]
    users = [{"user_id": 12, "profile": profile, "query": query}]
    (user,) = read_users(write(tmp_path, "users.json", users), RATING)
    assert user.id == "12"
    assert [item.x for item in user.history] == ["old", "new"]
    assert (user.queries[0].id, user.queries[0].gold) == ("7", "4")


@pytest.mark.parametrize(
    ("users", "sentence"),
    [
        ([], "holds no users"),
        ([{"text": "a", "title": "b"}], "Line 1: this is not a user with a 'profile' list."),
        (release(user_id=None), "the user has no 'user_id' and no 'id'"),
        (release() * 2, "holds user 'u1' twice"),
        (
            release(profile=[*PROFILE, {"id": "i3", "text": "a"}]),
            "User 'u1', item 3 (id i3), line 1: The item has no 'tit",
        ),
        (release(profile=[*PROFILE, "text"]), "User 'u1', item 3, line 1: this is not an object with fields."),
        (release(profile=[{"text": "a", "score": "5"}]), "This looks like LaMP_3 (product rating), not LaMP_4"),
        (release(query={}), "User 'u1': 'query' is not a list."),
        (release(query=[{"id": "q"}]), "User 'u1', query 1: there is no 'input' text."),
        (release(query=[{"input": "a", "gold": []}]), "User 'u1', query 1: 'gold' is not text."),
        (release(query=[{"input": " "}]), "User 'u1', query 1: The query is empty."),
    ],
)
def test_a_malformed_user_is_named(tmp_path: Path, users: Any, sentence: str) -> None:
    with pytest.raises(PerpcsError) as caught:
        read_users(write(tmp_path, "users.json", users), HEADLINES)
    assert sentence in caught.value.wrong


@pytest.mark.parametrize(
    ("outputs", "sentence"),
    [
        ({"task": "LaMP_5", "golds": []}, "holds the answers of LaMP_5, not of LaMP_4"),
        ({"task": "LaMP_4"}, "is not a LaMP outputs file"),
        ({"task": "LaMP_4", "golds": [{"id": "110"}]}, "answer 1 has no 'id' and 'output'"),
        ({"task": "LaMP_4", "golds": []}, "Question '110' has no answer"),
    ],
)
def test_outputs_that_do_not_belong(tmp_path: Path, outputs: Any, sentence: str) -> None:
    questions = write(tmp_path, "q.json", [{"id": "110", "input": ASK + "a", "profile": PROFILE}])
    with pytest.raises(PerpcsError, match=sentence):
        read_users(questions, HEADLINES, outputs=write(tmp_path, "o.json", outputs))


def test_a_path_that_cannot_be_read(tmp_path: Path) -> None:
    for read in (lambda path: read_users(path, HEADLINES), lambda path: read_history_file(path, HEADLINES)):
        with pytest.raises(PerpcsError, match="There is no file"):
            read(tmp_path / "missing.json")
        with pytest.raises(PerpcsError, match="is a directory"):
            read(tmp_path)
        with pytest.raises(PerpcsError, match="cannot be read"):
            read(tmp_path / "nul\0.json")
    with pytest.raises(PerpcsError, match=r"users\.json: The file is empty"):
        read_users(write(tmp_path, "users.json", ""), HEADLINES)


def test_a_persons_own_history_is_named_by_the_file_or_as_told(tmp_path: Path) -> None:
    path = write(tmp_path, "ada.csv", "text,title\na,b\n")
    name, reading = read_history_file(path, HEADLINES)
    assert (name, reading.items) == ("ada", (Item("a", "b"),))
    assert read_history_file(path, HEADLINES, "lovelace")[0] == "lovelace"


def test_one_user_out_of_a_file_of_users(tmp_path: Path) -> None:
    path = write(tmp_path, "users.json", release() + release(user_id="u2", profile=PROFILE[1:]))
    name, reading = read_history_file(path, HEADLINES, "u2")
    assert (name, reading.items) == ("u2", (Item("second", "two", "i2"),))
    with pytest.raises(PerpcsError, match=r"holds 2 users: 'u1', 'u2'\. Choose one"):
        read_history_file(path, HEADLINES)
    with pytest.raises(PerpcsError, match=r"no user 'u22'\. Did you mean 'u2'\? It holds 2 users: 'u1', 'u2'\."):
        read_history_file(path, HEADLINES, "u22")
    single = write(tmp_path, "one.json", release())
    assert read_history_file(single, HEADLINES)[0] == "u1"


def test_the_history_of_a_reading_is_that_of_the_user(tmp_path: Path) -> None:
    path = write(tmp_path, "users.json", release())
    assert read_history_file(path, HEADLINES, "u1")[1].items == read_users(path, HEADLINES)[0].history
