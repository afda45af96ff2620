"""Laws of reading people's text: every row is accounted for, what is rendered is read back, line numbers are true."""

import csv
import io
import json
import string
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpcs.data import Limits, Reading, guess_task, read_pasted, read_upload, user_ids
from perpcs.data.clean import clean_field, without_markup
from perpcs.data.read import MISSING
from perpcs.errors import PerpcsError
from perpcs.tasks import TASKS, Item, Task, get_task

TASK = st.sampled_from(list(TASKS.values()))
ENDING = st.sampled_from([".txt", ".csv", ".tsv", ".json", ".jsonl", ".xyz", ""])
# Text as fields hold it: with line breaks, quotes and delimiters, already free of what cleaning takes out.
MESSY = st.text(
    st.one_of(st.sampled_from(',;\t\n"=>[]{}: '), st.characters(exclude_categories=("Cc", "Cs"))),
    min_size=1,
    max_size=40,
)
FIELD = MESSY.filter(
    lambda text: (
        bool(text.strip()) and clean_field(text) == text == without_markup(text) and text.lower() not in MISSING
    )
)
LINE = st.text(string.ascii_letters + " ,;'", min_size=1, max_size=40).map(str.strip)
LINE = LINE.filter(lambda text: bool(text) and text.lower() not in MISSING)


@st.composite
def task_and_items(draw: st.DrawFn, field: st.SearchStrategy[str] = FIELD) -> tuple[Task, list[Item]]:
    task = draw(TASK)
    free = task.kind == "text" or bool(task.history_instruction)
    answer = field if free else st.sampled_from(task.labels)
    item = st.builds(Item, x=field, y=st.none() if task.y_field is None else answer)
    return task, draw(st.lists(item, min_size=1, max_size=8))


def fields(item: Item, task: Task) -> dict[str, str]:
    named = {task.x_fields[0]: item.x}
    if task.y_field and item.y is not None:
        named[task.y_field] = item.y
    return named


def render_table(task: Task, items: list[Item], delimiter: str, line_break: str) -> tuple[str, list[int]]:
    """The table as the csv module writes it, and the line on which each record starts."""
    out, lines = io.StringIO(), []
    writer = csv.writer(out, delimiter=delimiter, lineterminator=line_break)
    writer.writerow(fields(items[0], task))
    for item in items:
        lines.append(out.getvalue().count("\n") + 1)
        writer.writerow(fields(item, task).values())
    return out.getvalue(), lines


def read_or_sentence(name: str, data: bytes, task: Task, limits: Limits = Limits()) -> Reading | None:  # noqa: B008
    try:
        reading = read_upload(name, data, task, limits)
    except PerpcsError as error:
        sentences = (error.wrong, error.do)
    else:
        sentences = ()
        check_reading(reading, limits)
    assert all(sentence.endswith((".", '"')) for sentence in sentences)
    return None if sentences else reading


def check_reading(reading: Reading, limits: Limits) -> None:
    assert reading.items
    assert len(reading.items) == len(reading.lines)
    assert len(reading.items) + len(reading.bad) <= limits.max_rows
    for row in reading.bad:
        assert row.line >= 1
        assert len(row.excerpt) <= 60
        assert row.reason
        assert row.do
    for item in reading.items:
        assert item.x.strip() == item.x != ""
        for text in (item.x, item.y or ""):
            assert not any(ord(char) < 32 and char not in "\n\t" for char in text)
            text.encode("utf-8")


PIECES = [
    b'[{"text": "a", "title": "b"}, ',
    b'{"user_id": 1, "profile": [',
    b"text,title\n",
    b" => ",
    b"comedy",
    b"NaN",
]
PIECES += [b'"', b"]", b"}", b"{", b":", b",", b"\n", b"\t", b"\r", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b'"\\ud800"']
PIECES += [b"[" * 2000, b"9" * 5000]


@settings(max_examples=400, deadline=None)
@given(
    data=st.one_of(
        st.binary(max_size=300),
        st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=5)), max_size=20).map(b"".join),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(
                    st.sampled_from(["text", "title", "profile", "id", "golds", "items"]), inner, max_size=4
                )
            ),
            max_leaves=20,
        ).map(lambda value: json.dumps(value).encode()),
    ),
    ending=ENDING,
    task=TASK,
)
def test_any_bytes_give_a_reading_or_a_sentence(data: bytes, ending: str, task: Task) -> None:
    read_or_sentence("file" + ending, data, task)
    guess_task(data)
    user_ids(data)


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(codec=None), max_size=200), task=TASK)
def test_any_pasted_text_gives_a_reading_or_a_sentence(text: str, task: Task) -> None:
    try:
        reading = read_pasted(text, task)
    except PerpcsError:
        return
    assert reading.items
    guess_task(text)


@settings(deadline=None)
@given(
    rendered=task_and_items(),
    delimiter=st.sampled_from(",;\t"),
    line_break=st.sampled_from(["\n", "\r\n"]),
    ending=ENDING,
)
def test_a_rendered_table_is_read_back_with_its_lines(
    rendered: tuple[Task, list[Item]], delimiter: str, line_break: str, ending: str
) -> None:
    task, items = rendered
    if task.y_field is None and ending not in (".csv", ".tsv"):
        ending = ".csv"  # one column is a table only by its name
    text, lines = render_table(task, items, delimiter, line_break)
    reading = read_upload("table" + ending, text.encode(), task)
    assert list(reading.items) == items
    assert list(reading.lines) == lines
    assert not reading.bad


@settings(deadline=None)
@given(
    rendered=task_and_items(),
    indent=st.sampled_from([None, 2]),
    gaps=st.lists(st.integers(0, 3), min_size=8, max_size=8),
    wrap=st.sampled_from(["[{}]", '{{"items":\n{}}}', '{{"user_id": "7", "query": [], "profile": [{}]}}']),
    ending=ENDING,
)
def test_rendered_json_is_read_back_with_its_lines(
    rendered: tuple[Task, list[Item]], indent: int | None, gaps: list[int], wrap: str, ending: str
) -> None:
    task, items = rendered
    before, after = wrap.split("{}") if wrap.startswith("[") else wrap.format("\0").split("\0")
    if "items" in wrap:
        before, after = before + "[", "]" + after
    lines, text = [], before
    for number, (item, gap) in enumerate(zip(items, gaps, strict=False)):
        text += ("," if number else "") + "\n" * gap
        lines.append(text.count("\n") + 1)
        text += json.dumps(fields(item, task), indent=indent)
    reading = read_upload("file" + ending, (text + after).encode(), task)
    assert list(reading.items) == items
    assert list(reading.lines) == lines


@settings(deadline=None)
@given(rendered=task_and_items(), gaps=st.lists(st.integers(0, 2), min_size=8, max_size=8), ending=ENDING)
def test_rendered_jsonl_is_read_back_with_its_lines(
    rendered: tuple[Task, list[Item]], gaps: list[int], ending: str
) -> None:
    task, items = rendered
    lines, text = [], ""
    for item, gap in zip(items, gaps, strict=False):
        text += "\n" * gap
        lines.append(text.count("\n") + 1)
        text += json.dumps(fields(item, task), ensure_ascii=False) + "\n"
    reading = read_upload("file" + ending, text.encode(), task)
    assert list(reading.items) == items
    assert list(reading.lines) == lines


@settings(deadline=None)
@given(rendered=task_and_items(LINE), separator=st.sampled_from([" => ", "=>", "\t"]))
def test_pasted_lines_are_read_back(rendered: tuple[Task, list[Item]], separator: str) -> None:
    task, items = rendered
    items = [Item("it is " + item.x, item.y) for item in items]  # no first line that could be a header
    text = "\n\n".join(item.x if item.y is None else f"{item.x}{separator}{item.y}" for item in items)
    reading = read_pasted(text, task)
    assert list(reading.items) == items
    assert list(reading.lines) == [1 + 2 * n for n in range(len(items))]


@settings(deadline=None)
@given(good=st.lists(st.booleans(), min_size=1, max_size=30), max_rows=st.integers(1, 30), form=st.sampled_from("tcjl"))
def test_kept_and_bad_and_cut_are_all_the_rows(good: list[bool], max_rows: int, form: str) -> None:
    task, limits = get_task("LaMP_4"), Limits(max_rows=max_rows)
    if form == "t":
        name, data = "a.txt", "\n".join(f"article {n} => title" if ok else f"alone {n}" for n, ok in enumerate(good))
    elif form == "c":
        name, data = "a.csv", "text,title\n" + "\n".join(f"article {n},{'t' * ok}" for n, ok in enumerate(good))
    else:
        rows = [{"text": f"article {n}", **({"title": "t"} if ok else {})} for n, ok in enumerate(good)]
        lines = [json.dumps(row) for row in rows]
        name, data = ("a.json", "[" + ",\n".join(lines) + "]") if form == "j" else ("a.jsonl", "\n".join(lines))
    first = 2 if form == "c" else 1
    reading = read_or_sentence(name, data.encode(), task, limits)
    cut = max(0, len(good) - max_rows)
    kept = good[cut:]
    if reading is None:
        assert not any(kept)
        return
    assert len(reading.items) + len(reading.bad) + reading.cut == len(good)
    assert list(reading.lines) == [n + first + cut for n, ok in enumerate(kept) if ok]
    assert [row.line for row in reading.bad] == [n + first + cut for n, ok in enumerate(kept) if not ok]
    assert any("Only the last" in note for note in reading.notes) == (len(good) > max_rows) == (reading.cut > 0)
    assert reading.summary().startswith(f"{len(reading.items):,} item")


@settings(max_examples=50, deadline=None)
@given(rendered=task_and_items(LINE))
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_the_encoding_does_not_change_what_is_read(rendered: tuple[Task, list[Item]], encoding: str) -> None:
    task, items = rendered
    text, _ = render_table(task, [Item("Señor € " + item.x, item.y) for item in items], ",", "\n")
    reading = read_upload("a.csv", text.encode(encoding), task)
    assert reading.items == read_upload("a.csv", text.encode(), task).items
    assert (encoding in ("utf-8", "utf-8-sig")) == (
        not any("Read as UTF" in n or "Windows" in n for n in reading.notes)
    )


@settings(deadline=None)
@given(rendered=task_and_items(), limit=st.integers(1, 20))
def test_a_long_field_is_cut_and_said(rendered: tuple[Task, list[Item]], limit: int) -> None:
    task, items = rendered
    if task.kind != "text":
        return
    data = json.dumps([fields(item, task) for item in items]).encode()
    reading = read_upload("a.json", data, task, Limits(max_chars_per_field=limit))
    assert [item.x for item in reading.items] == [item.x[:limit].rstrip() for item in items]
    long = [item for item in items if len(item.x) > limit or len(item.y or "") > limit]
    assert any("longer than" in note for note in reading.notes) == bool(long)
    if long:
        assert any(note.startswith(f"{len(long)} item") for note in reading.notes)


@settings(deadline=None)
@given(rendered=task_and_items(LINE))
def test_a_file_with_lamps_field_names_is_guessed_and_refused_for_other_tasks(
    rendered: tuple[Task, list[Item]],
) -> None:
    task, items = rendered
    data = json.dumps([fields(item, task) for item in items])
    guess = guess_task(data)
    assert guess is not None
    assert guess[0] == task
    assert guess[1].endswith(".")
    for other in TASKS.values():
        own_profile = (task.name, other.name) == ("LaMP_5", "LaMP_1")  # title and abstract are a citation profile too
        if other.y_field and task.y_field and other != task and not own_profile:
            with pytest.raises(PerpcsError, match=f"This looks like {task.name} "):
                read_upload("a.json", data.encode(), other)


@pytest.mark.parametrize(
    "unit",
    ['a","x\n', '"a,b\n', '"', '" ', "=>", ",", '""a,', '[{"a":"', "[{", '{"a":1}\n', " " * 50 + '"', '{"profile":'],
)
@pytest.mark.parametrize("ending", [".csv", ".txt"])
def test_reading_time_is_linear_in_the_worst_files(unit: str, ending: str) -> None:
    data = (unit * (400_000 // len(unit))).encode()
    start = time.process_time()
    read_or_sentence("a" + ending, data, get_task("LaMP_4"))
    guess_task(data)
    assert time.process_time() - start < 10  # a quadratic reader needs minutes


def test_reading_needs_no_torch_and_logs_nothing() -> None:
    code = (
        "import sys, perpcs.data as d; from perpcs.tasks import get_task\n"
        "d.read_pasted('a => b\\nc', get_task('LaMP_4')); print('torch' in sys.modules, 'streamlit' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("False False", "")
