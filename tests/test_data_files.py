"""Files of users on disk: both layouts, and a sentence naming user and item for whatever is malformed."""

import json
from pathlib import Path
from typing import Any

import pytest

from perpcs.data import CANDIDATES, TARGETS, labels_of, people_file, read_history_file, read_users, task_folder
from perpcs.data.lamp_files import MAX_LABELS
from perpcs.errors import PerpcsError
from perpcs.evaluate.metrics import without_texts, write_predictions
from perpcs.tasks import Item, get_task
from perpcs.tasks.lamp import NEWS_CATEGORIES, NEWS_SECTIONS

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


# ---- files as they were published ------------------------------------------------------------------------------------


def question(id: str, about: str, profile: list[dict[str, str]], **more: Any) -> dict[str, Any]:
    return {"id": id, "input": ASK + about, "profile": profile, **more}


def golds(task: str = "LaMP_4", **answers: Any) -> dict[str, Any]:
    return {"task": task, "golds": [{"id": id, "output": answer} for id, answer in answers.items()]}


def test_several_questions_of_one_user_are_one_person_and_nothing_later_is_history(tmp_path: Path) -> None:
    old, new = ({**item, "date": date} for item, date in zip(PROFILE, ("2013-05", "2012"), strict=True))
    later = {"id": "i3", "text": "of the first question", "title": "told", "date": "2014-01-01"}
    questions = [
        question("q1", "of the first question", [old, new], user_id="u1"),
        question("q2", "b", [later, old, new], user_id="u1"),
        question("q3", "c", [old], user_id="u2"),
    ]
    path = write(tmp_path, "dev_questions.json", questions)
    write(tmp_path, "dev_outputs.json", golds(q1="one", q2="two", q3="three"))
    first, second = read_users(path, HEADLINES)
    assert (first.id, second.id) == ("u1", "u2")
    assert [item.id for item in first.history] == ["i2", "i1"]
    assert [(query.id, query.gold) for query in first.queries] == [("q1", "one"), ("q2", "two")]
    assert read_history_file(path, HEADLINES, "u1")[1].items == first.history


def test_questions_merged_with_their_outputs(tmp_path: Path) -> None:
    path = write(tmp_path, "merged.json", [question("q1", "a", PROFILE, output="one")])
    assert read_users(path, HEADLINES)[0].queries[0].gold == "one"


def test_answers_apart_from_queries(tmp_path: Path) -> None:
    users = release(query=[{"id": "a", "input": ASK + "a"}, {"id": "b", "input": ASK + "b"}])
    path = write(tmp_path, "user_test_100.json", users)
    assert [query.gold for query in read_users(path, HEADLINES)[0].queries] == [None, None]
    elsewhere = write(tmp_path, "answers.json", golds(a="1", b="2"))
    assert [query.gold for query in read_users(path, HEADLINES, elsewhere)[0].queries] == ["1", "2"]
    write(tmp_path, "user_test_100_label.json", golds(a="3", b="4"))
    assert [query.gold for query in read_users(path, HEADLINES)[0].queries] == ["3", "4"]


def test_a_true_answer_of_four_point_nought_is_four(tmp_path: Path) -> None:
    rated = [{"text": "a", "score": 4.0}]
    users = [{"user_id": "u", "profile": rated, "query": [{"id": "q", "input": "review: b", "gold": 4.0}]}]
    (user,) = read_users(write(tmp_path, "users.json", users), RATING)
    assert (user.history[0].y, user.queries[0].gold) == ("4", "4")


@pytest.mark.parametrize(("named", "task"), [("LaMP_2M", "LaMP_2"), ("LaMP_2", "LaMP_2"), ("LaMP_2", "LaMP_2N")])
def test_films_and_news_were_both_called_lamp_2(tmp_path: Path, named: str, task: str) -> None:
    film = task == "LaMP_2"
    item = {"description": "a", "tag": "comedy"} if film else {"text": "a", "title": "b", "category": "travel"}
    asked = {"id": "q", "input": "description: c" if film else "article: c", "profile": [item]}
    path = write(tmp_path, "dev_questions.json", [asked])
    write(tmp_path, "dev_outputs.json", golds(named, q="comedy" if film else "food & drink"))
    (user,) = read_users(path, get_task(task))
    assert user.queries[0].gold == ("comedy" if film else "food & drink")


def news(*categories: str) -> list[dict[str, Any]]:
    return [
        {"user_id": str(n), "profile": [{"text": "a", "title": "b", "category": category}], "query": []}
        for n, category in enumerate(categories)
    ]


@pytest.mark.parametrize(
    ("categories", "labels"),
    [
        (("Travel", "food & drink"), NEWS_CATEGORIES),
        (("wellness", "media"), NEWS_SECTIONS),
        (("World", "sci/tech"), ("sci/tech", "world")),
    ],
)
def test_news_of_other_sections_define_their_labels(
    tmp_path: Path, categories: tuple[str, ...], labels: tuple[str, ...]
) -> None:
    task = get_task("LaMP_2N")
    users = read_users(write(tmp_path, "users.json", news(*categories)), task)
    assert [user.history[0].y for user in users] == [category.lower() for category in categories]
    assert labels_of(task, users) == labels
    assert task.with_labels(labels_of(task, users)).labels == labels
    movies = get_task("LaMP_2")
    assert labels_of(movies, []) == movies.labels


def test_a_title_for_every_text_is_no_set_of_labels(tmp_path: Path) -> None:
    with pytest.raises(PerpcsError, match="This looks like LaMP_4"):
        read_users(
            write(tmp_path, "users.json", news(*(f"title {n}" for n in range(MAX_LABELS + 1)))), get_task("LaMP_2N")
        )


def test_emails_are_refused_by_their_reason(tmp_path: Path) -> None:
    mails = [{"id": "1", "input": "Generate a subject for the following email: a", "profile": PROFILE}]
    path = write(tmp_path, "dev_questions.json", mails)
    for read in (lambda: read_users(path, HEADLINES), lambda: read_history_file(path, HEADLINES)):
        with pytest.raises(PerpcsError, match=r"LaMP_6 .* Avocado collection"):
            read()
    with pytest.raises(PerpcsError, match="Avocado"):
        get_task("LaMP_6")


def test_questions_worded_for_another_task(tmp_path: Path) -> None:
    path = write(tmp_path, "q.json", [question("1", "a", PROFILE)])
    with pytest.raises(PerpcsError, match="This looks like LaMP_4"):
        read_users(path, get_task("LaMP_5"))


def test_the_names_of_the_releases(tmp_path: Path) -> None:
    folder = tmp_path / "movie_tagging" / "test_100"
    folder.mkdir(parents=True)
    assert task_folder(tmp_path, "LaMP_2") == tmp_path / "movie_tagging"
    assert task_folder(tmp_path, "LaMP_3") == tmp_path / "LaMP_3"
    assert people_file(folder.parent, CANDIDATES).name == "sharer_candidates.json"
    for kind, name in ((CANDIDATES, "user_anchor_candidate.json"), (TARGETS, "test_100/user_test_100.json")):
        (folder.parent / name).write_text("[]")
        assert people_file(folder.parent, kind) == folder.parent / name
    assert get_task("movie_tagging") == get_task("LaMP_2M") == get_task("LaMP_2")


def test_predictions_are_written_as_lamp_takes_them(tmp_path: Path) -> None:
    rows = [
        {"id": "q1", "answer": "one", "gold": "1", "nll": 0.5},
        {"id": "q2", "answer": "two", "gold": "2", "nll": 1.0},
    ]
    result = {"task": "LaMP_4", "examples": {"wrong:base": [{"user": "u", "history": 1, "queries": rows}]}}
    (path,) = write_predictions(tmp_path, result)
    assert path.name == "wrong-base.json"
    assert json.loads(path.read_text()) == golds(q1="one", q2="two")
    bare = without_texts(result)["examples"]["wrong:base"][0]["queries"]
    assert bare == [{"id": "q1", "nll": 0.5}, {"id": "q2", "nll": 1.0}]
    rows[1]["id"] = "q1"
    with pytest.raises(PerpcsError, match="no ids of their own"):
        write_predictions(tmp_path, result)
