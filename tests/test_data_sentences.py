"""What a person is told: one example for each error sentence, each reason for a bad row, and each note."""

import json

import pytest

from perpcs.data import Limits, guess_task, read_pasted, read_upload, user_ids
from perpcs.errors import PerpcsError
from perpcs.tasks import Item, get_task

HEADLINES, MOVIES, RATING, TWEETS = (get_task(name) for name in ("LaMP_4", "LaMP_2", "LaMP_3", "LaMP_7"))
USERS = json.dumps(
    [{"user_id": n, "profile": [{"text": f"article {n}", "title": f"title {n}"}], "query": []} for n in range(101, 109)]
).encode()


@pytest.mark.parametrize(
    ("name", "data", "wrong", "do"),
    [
        ("a.txt", b"", "The file is empty.", "Choose a file"),
        ("a.txt", b"\xef\xbb\xbf \n", "The file is empty.", "Choose a file"),
        ("a.csv", b"PK\x03\x04rest", "opens like a zip archive or an Excel workbook, but it is broken", "CSV or JSON"),
        ("a.txt", b"%PDF-1.4", "The file is a PDF, not text.", "CSV or JSON"),
        ("a.txt", bytes(range(256)) * 4, "full of control characters", "Save it as text"),
        ("a.txt", b"\xff\xfea\x00b", "says it is UTF-16 but breaks off at byte 5", "Save it as text"),
        ("a.json", b'[{"text": "a"', "The JSON breaks at line 1, column 14", "Mend that place"),
        ("a.json", b'[{"text": "a"},\n {"text" "b"}]', "line 2, column 10: expecting ':' delimiter", "Mend"),
        ("a.json", b'{"text": "a"} tail', "there is more text after the end", "Mend"),
        ("a.json", b"[" * 100_000, "nested too deeply", "Mend"),
        ("a.json", b"[]", "There is no item in it.", "at least one"),
        ("a.json", b"[null]", "not an object with fields", '{"field"'),
        ("a.json", b'{"task": "LaMP_4", "golds": []}', "LaMP outputs file", "questions file"),
        ("a.json", USERS, "The file holds 8 users: '101', '102', '103', '104', '105' and 3 more.", "Choose one"),
        (
            "a.csv",
            b"a,b,c\nd,e,f\n",
            "The table has 3 columns, and no name in its first line is article or headline: 'a', 'b', 'c'.",
            "'text' and 'title'",
        ),
        ("a.csv", b"text,mood\nx,y\n", "The only row cannot be read, line 2: The item has no 'title'.", "field"),
        ("a.csv", b"description,tag\nx,comedy\n", "This looks like LaMP_2 (movie tagging), not LaMP_4", "Choose movie"),
        (
            "a.txt",
            b"one\n\ntwo\n",
            "None of 2 rows can be read; the first, line 1: The line has no '=>'",
            "Write the art",
        ),
    ],
)
def test_a_file_that_cannot_be_read_says_why_and_what_to_do(name: str, data: bytes, wrong: str, do: str) -> None:
    with pytest.raises(PerpcsError) as caught:
        read_upload(name, data, HEADLINES)
    assert wrong in caught.value.wrong
    assert do in caught.value.do


def test_too_large_is_said_with_both_sizes() -> None:
    limits = Limits(max_bytes=1_000_000)
    for call in (
        lambda: read_upload("a.txt", b"a => b\n" * 200_000, HEADLINES, limits),
        lambda: read_pasted("a => b\n" * 200_000, HEADLINES, limits),
    ):
        with pytest.raises(PerpcsError, match=r"1\.4 MB; at most 1\.0 MB are read"):
            call()


def test_empty_and_unreadable_pastes() -> None:
    with pytest.raises(PerpcsError, match="There is no text"):
        read_pasted(" \n\t", HEADLINES)
    with pytest.raises(PerpcsError, match="full of control characters"):
        read_pasted("\x01\x02\x03\x04\x05\x06 => a", HEADLINES)


def test_bad_pasted_lines_have_line_reason_advice_and_excerpt() -> None:
    reading = read_pasted("good => one\nno separator " + "x" * 80 + "\n\na => b => c\nd\te\tf\n => empty\n", HEADLINES)
    assert reading.items == (Item("good", "one"),)
    assert [(row.line, row.reason) for row in reading.bad] == [
        (2, "The line has no '=>' and no tab between article and headline."),
        (4, "The line has more than one '=>', so it is not clear where the headline begins."),
        (5, "The line has more than one tab, so it is not clear where the headline begins."),
        (6, "The item has no 'text'."),
    ]
    assert reading.bad[0].do == "Write the article, then =>, then the headline, all on one line."
    assert len(reading.bad[0].excerpt) == 60
    assert reading.bad[0].excerpt.endswith("x…")
    assert reading.summary() == "1 item read, 4 rows kept out."


def test_bad_table_rows() -> None:
    table = b'text,title\none,1\na,b,c\n"\ntwo\nlines",2\n"open,quote\nshort\nlast,3\n'
    reading = read_upload("a.csv", table, HEADLINES)
    assert reading.items == (Item("one", "1"), Item("two\nlines", "2"), Item("last", "3"))
    assert reading.lines == (2, 4, 9)
    assert [(row.line, row.reason) for row in reading.bad] == [
        (3, "The row has 3 columns where its header names 2."),
        (7, "A quote opens in this row and never closes."),
        (8, "The item has no 'title'."),
    ]


def test_bad_json_rows() -> None:
    rows = (
        b'[{"text": "a", "title": "b"},\n{"text": ["a"], "title": "b"},\n{"text": "a", "title": true},\n"alone", 7, {}]'
    )
    reading = read_upload("a.json", rows, HEADLINES)
    assert [(row.line, row.reason) for row in reading.bad] == [
        (2, "The field 'text' holds a list, not text."),
        (3, "The field 'title' holds true or false, not text."),
        (4, "The item has no 'title'."),
        (4, "The element is not an object with fields."),
        (4, "The element is not an object with fields."),
    ]


def test_a_broken_jsonl_line_is_one_bad_row() -> None:
    reading = read_upload("a.jsonl", b'{"text": "a", "title": "b"}\n{"text":\n{"text": "c", "title": "d"}', HEADLINES)
    assert reading.lines == (1, 3)
    assert (reading.bad[0].line, reading.bad[0].reason) == (2, "The line is not JSON: expecting value.")


def test_labels_and_ratings() -> None:
    reading = read_pasted("fun => Comedy\nsad => tragedy", MOVIES)
    assert reading.items == (Item("fun", "comedy"),)
    assert "'tragedy' is not a label of LaMP_2" in reading.bad[0].reason
    assert read_upload("a.json", b'[["good", 5], ["bad", 1.0]]', RATING).items == (Item("good", "5"), Item("bad", "1"))


@pytest.mark.parametrize(
    ("name", "data", "note"),
    [
        ("a.csv", "text;title\nä;b".encode("cp1252"), "read as Windows-1252"),
        ("a.csv", "text;title\nä;b".encode("utf-16"), "Read as UTF-16."),
        ("a.csv", "text;title\näöüß€;b".encode() + b"\xc3", "1 character could not be decoded"),
        ("a.csv", b"text;title\na;b", "Read as semicolon separated, with the header text, title."),
        ("a.csv", b"a,b\nc,d", "without a header: the first column is the article, the second the headline."),
        ("a.csv", b'[{"text": "a", "title": "b"}]', "The name ends in .csv, but it holds JSON."),
        ("a.json", b"text,title\na,b", "The name ends in .json, but it holds a table."),
        ("a.csv", b"one, two => title", "The name ends in .csv, but it holds lines of text."),
        ("a.txt", b"a\x00b => c", "Left out 1 control character."),
        ("a.txt", b"a\tb\nc\td", "Read as tab separated, without a header"),
        ("a.txt", b"a => b", "Read as one item a line."),
        (
            "a.json",
            b'[{"text": "a", "title": "b", "category": "media"}]',
            "It would also fit LaMP_2N (news categorisation)",
        ),
        ("a.json", b'{"id": "9", "profile": [{"text": "a", "title": "b"}]}', "Read the history of user '9'."),
    ],
)
def test_what_was_guessed_is_said(name: str, data: bytes, note: str) -> None:
    assert any(note in each for each in read_upload(name, data, HEADLINES).notes)


def test_one_user_of_several() -> None:
    reading = read_upload("a.json", USERS, HEADLINES, user_id="103")
    assert reading.items == (Item("article 103", "title 103"),)
    assert "Read the history of user '103', one of 8 users in the file." in reading.notes
    assert read_pasted(USERS.decode(), HEADLINES, user_id="103").items == reading.items
    with pytest.raises(PerpcsError, match=r"no user '1033'\. Did you mean '103'"):
        read_upload("a.json", USERS, HEADLINES, user_id="1033")
    assert user_ids(USERS) == tuple(str(n) for n in range(101, 109))
    assert user_ids("a => b") == user_ids(b"") == ()


def test_a_profile_with_dates_is_put_in_order_and_keeps_its_lines() -> None:
    items = [{"text": "new", "title": "b", "date": "2020-01-02"}, {"text": "old", "title": "a", "date": "2019-05-01"}]
    reading = read_upload("a.json", json.dumps({"id": 1, "profile": items}, indent=0).encode(), HEADLINES)
    assert [item.x for item in reading.items] == ["old", "new"]
    assert reading.lines == (9, 4)
    assert "Sorted by date, oldest first." in reading.notes


@pytest.mark.parametrize("names", [("x", "y"), ("Input", "Output"), ("ARTICLE", "headline"), ("text", "label")])
def test_common_names_for_fields(names: tuple[str, str]) -> None:
    x, y = names
    assert read_upload("a.csv", f"{x},{y},id\na,b,7".encode(), HEADLINES).items == (Item("a", "b", "7"),)
    assert read_upload("a.json", json.dumps([{x: "a", y: "b"}]).encode(), HEADLINES).items == (Item("a", "b"),)


def test_quotes_of_prose_survive_in_unquoted_tables() -> None:
    reading = read_pasted('"Never again," she said\tA title\n"Why?"\tAnother\n"Lone quote\tThird', HEADLINES)
    assert [item.x for item in reading.items] == ['"Never again," she said', "Why?", '"Lone quote']


def test_text_that_only_opens_like_json_is_text() -> None:
    assert read_pasted('["No", she said] => Title', HEADLINES).items == (Item('["No", she said]', "Title"),)
    assert read_pasted("[1] {braces} => Title", HEADLINES).items == (Item("[1] {braces}", "Title"),)


def test_free_text_takes_whole_lines() -> None:
    assert read_pasted("a, b\nc, d\te", TWEETS).items == (Item("a, b"), Item("c, d\te"))
    assert read_pasted("it rains => rain again!\nhi", TWEETS).items == (Item("it rains", "rain again!"), Item("hi"))
    assert read_upload("a.csv", b"tweet\nhello, world\n", TWEETS).items == (Item("hello, world"),)


@pytest.mark.parametrize(
    ("text", "task", "why"),
    [
        ("a => comedy\nb => twist ending", "LaMP_2", "2 of 2 answers are labels of movie tagging."),
        ("a => comedy\nb => politics", "LaMP_2N", "2 of 2 answers are labels of news categorisation."),
        ("a\t5\nb\t1", "LaMP_3", "2 of 2 answers are labels of product rating."),
        ("some article => its headline", "LaMP_4", "short texts, each with a title"),
        ("word " * 100 + "=> its title", "LaMP_5", "long texts, each with a title"),
        ("what a day\nso tired", "LaMP_7", "short texts without an answer"),
        ("article;headline\na;b", "LaMP_4", "'article' and 'headline'"),
        (USERS.decode(), "LaMP_4", "'text' and 'title'"),
    ],
)
def test_the_task_is_guessed_with_a_reason(text: str, task: str, why: str) -> None:
    guess = guess_task(text)
    assert guess is not None
    assert guess[0].name == task
    assert why in guess[1]
    assert guess_task(text.encode()) == guess


@pytest.mark.parametrize("text", ["", "\x00", "[" * 5000, '{"a": 1}', b"PK\x03\x04", "word " * 200])
def test_what_fits_no_task_is_not_guessed(text: str | bytes) -> None:
    assert guess_task(text) is None
