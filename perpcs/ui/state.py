"""What one visitor's session remembers, what a link may say about it, and how a reload of the tab finds it again.

Everything is in one record under st.session_state["studio"]. Widgets are filled from it and write back to it, so it
survives a change of page. A person's text lives here and nowhere else; ``forget`` empties it.

A tab keeps a random key in its own sessionStorage; the server knows by it which session's record belongs to the tab,
within the time that it keeps a closed tab. The record itself is never copied: once Streamlit drops the old session,
its record is gone and the key opens nothing.

With it whose model is on the screen, and a history that is not yet assembled: what was read, for which task, what is
wrong with it.
"""

import re
import secrets
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from perpcs.assembly.explain import fit_sentence
from perpcs.assembly.record import Assembly
from perpcs.assembly.router import Router
from perpcs.assembly.routers import PRESETS
from perpcs.data import Limits, Look, Opened, Reading, look, read_pasted, read_upload
from perpcs.errors import PerpcsError
from perpcs.figures.columns import ALL, LAYERS, SORTS
from perpcs.figures.style import seconds_text
from perpcs.personalizers.methods import DEFAULT, is_name
from perpcs.pool.manifest import Example
from perpcs.tasks import TASKS, Item, Query, get_task
from perpcs.ui.work import Sharing, Work

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


# ---- people ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Person:
    """A person with an assembly. ``history`` is empty for a saved model: the file holds no text."""

    kind: Literal["example", "own", "saved"]
    name: str
    task: str
    assembly: Assembly
    history: tuple[Item, ...] = ()
    queries: tuple[Query, ...] = ()
    how: str = ""
    """Where the assembly comes from, for the label next to the map."""


def names_of(examples: Sequence[Example]) -> dict[str, str]:
    """Names of example people by id; those without a name are Person A, Person B and so on."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return {
        example.id: example.name or f"Person {letters[i] if i < 26 else i + 1}" for i, example in enumerate(examples)
    }


def find_example(examples: Sequence[Example], example_id: str) -> Example | None:
    """The example with that id, else the first one, else None."""
    return next((e for e in examples if e.id == example_id), examples[0] if examples else None)


def example_person(engine: "Engine", task: str, example: Example, live: Assembly | None = None) -> Person:
    """An example person with the precomputed assembly, or with one that was just assembled here.

    Raises:
        PerpcsError: when the stored assembly cannot be read.
    """
    assembly = live or engine.stored.assembly(task, example.id)
    name = names_of(engine.pool.examples(task))[example.id]
    how = assembled_here(engine, assembly) if live else "precomputed"
    return Person("example", name, task, assembly, example.history, example.queries, how)


def fit_of(person: Person) -> str:
    """The fit check of a person in one line."""
    whose = "your" if person.name == "You" else "this person’s" if person.kind == "saved" else f"{person.name}’s"
    return fit_sentence(person.assembly, whose)


def assembled_here(engine: "Engine", assembly: Assembly) -> str:
    return f"assembled here on {engine.base.device} in {seconds_text(assembly.seconds)}"


def until_now(person: Person | None) -> Person | None:
    """The same person, and up to when this was the model on the screen: for what is compared with a later one."""
    return person and replace(person, how=f"{person.how}, shown until {datetime.now():%H:%M}")


# ---- drafts ----------------------------------------------------------------------------------------------------------


GUESS = "guess"
LIMITS = Limits()


@dataclass(frozen=True)
class Draft:
    """The reading of a paste or an upload. Lives in the session only."""

    size: int
    """Bytes given."""
    task: str = ""
    why: str = ""
    """Why this task, if it was guessed."""
    reading: Reading | None = None
    error: PerpcsError | None = None
    others: tuple[str, ...] = ()
    """Other tasks of the pool as which most of it can be read."""

    @property
    def ready(self) -> bool:
        return self.reading is not None and len(self.reading.items) > 0


def read_draft(
    given: str | tuple[str, bytes],
    wanted: str,
    known: tuple[str, ...],
    user_id: str | None = None,
    replies: bool = True,
    opened: Opened | None = None,
    seen: Look | None = None,
) -> Draft:
    """Read a pasted text, or an uploaded (name, bytes), of which ``user_id`` says who is meant.

    Args:
        wanted: a task's name, or ``GUESS``.
        known: tasks that the pool has sharers for.
        replies: whether posts that answer somebody's count.
        opened: what this run of the page has opened already.
        seen: what ``look_at`` told of it, where nobody was chosen.
    """
    opened = {} if opened is None else opened
    content = given if isinstance(given, str) else given[1]
    size = len(content.encode("utf-8", "surrogatepass")) if isinstance(content, str) else len(content)
    task, why = wanted, ""
    seen = seen if seen is not None and user_id is None else look_at(given, user_id, opened)
    if wanted == GUESS:
        if seen.guess is None:
            task, why = known[0], "The kind of text could not be detected, so the first one in the list is used."
        else:
            task, why = seen.guess[0].name, seen.guess[1]
    others = tuple(fit.name for fit in seen.fits if fit.name in known and fit.name != task)
    if wanted == GUESS and task not in known:
        names = ", ".join(TASKS[name].title for name in known)
        wrong = f"This looks like {TASKS[task].title.lower()}, but the pool has no sharers for it."
        return Draft(size, task, why, error=PerpcsError(wrong, f"Choose a kind of text: {names}."), others=others)
    try:
        if isinstance(given, str):
            reading = read_pasted(given, get_task(task), user_id=user_id, replies=replies, opened=opened)
        else:
            reading = read_upload(given[0], given[1], get_task(task), user_id=user_id, replies=replies, opened=opened)
    except PerpcsError as error:
        return Draft(size, task, why, error=error, others=others)
    return Draft(size, task, why, reading, others=others)


def look_at(given: str | tuple[str, bytes], user_id: str | None = None, opened: Opened | None = None) -> Look:
    """Whose a pasted text or an uploaded (name, bytes) is and what it fits; nothing of what is too large to be read."""
    name, content = ("", given) if isinstance(given, str) else given
    return look(content, name, user_id, opened) if len(content) <= LIMITS.max_bytes else Look()


def as_lines(items: tuple, limit: int = 12) -> str:
    """Items as text that can be pasted: ``given => answer``, one per line."""
    lines = []
    for item in items[:limit]:
        x = " ".join(item.x.replace("=>", "->").split())
        lines.append(x if item.y is None else f"{x} => {item.y}")
    return "\n".join(lines)


# ---- the record ------------------------------------------------------------------------------------------------------


T = TypeVar("T")
Source = Literal["example", "paste", "upload", "saved"]
SOURCES: dict[str, str] = {"example": "Example", "paste": "Paste", "upload": "Upload", "saved": "Saved"}
MOST_METHODS = 6
"""Columns that Compare has room for."""
VIEWS: dict[str, str] = {
    "piece": "This piece",
    "words": "Word by word",
    "whatif": "What if",
    "numbers": "In numbers",
    "difference": "Side by side",
}


@dataclass
class Studio:
    """One visitor's session."""

    # what a link may carry
    pool: str = ""
    """Key of the pool in ``perpcs.ui.engine``; empty = the one that the server was started with."""
    task: str = ""
    example: str = ""
    source: str = "example"
    module: str = LAYERS
    """Rows of the map: a module, ``LAYERS``, or empty for all positions."""
    sort: str = "gain"
    every_sharer: bool = False
    """Whether the map has a column for every sharer, not only for the fewest that bring nearly all."""
    cell: tuple[str, str] | None = None
    """(position label, sharer id) of the piece in the panel."""
    methods: tuple[str, ...] = DEFAULT
    query: str = ""
    """Id of the held-out item that Compare asks."""
    seed: int = 0
    measure: str = "metric"
    """Results: the task's metric, or likelihood."""
    result: tuple[str, str] = ("", "")
    """Results: (task, method) of the cell that is open."""
    strategy: str = "cluster"
    """Sharers: by which rule candidates would be chosen."""
    colour: str = "cluster"
    """Sharers: what the colours of the map say."""
    star: str = ""
    """Sharers: id of the sharer whose card is open."""
    only: tuple[int, ...] = ()
    """Sharers: numbers of the sharers that were picked, in the pool's order."""

    view: str = "piece"
    """What Assemble shows under the map, one of ``VIEWS``."""
    present: str = ""
    """The screen of the presentation (``?present=1``: the first one of the page); empty = no presentation."""
    tour: str = ""
    """``page.step`` of the guided tour that is on; empty = none."""

    # what it must not carry
    text: str = ""
    wanted_task: str = GUESS
    drafts: dict[str, tuple[Any, Draft]] = field(default_factory=dict)
    """By source: what was read, and the reading of it."""
    looks: dict[str, tuple[Any, Look]] = field(default_factory=dict)
    """By source: what was given, and whose it may be."""
    loaded_file: str = ""
    """Id of the saved person's file that ``own`` came from."""
    own: Person | None = None
    """The visitor's own person: assembled here, or loaded from a file."""
    live: dict[tuple[str, str], Assembly] = field(default_factory=dict)
    """Example people assembled again here, by (task, id)."""
    options: Router = field(default_factory=lambda: PRESETS["default"])
    turned: dict[str, Any] = field(default_factory=dict)
    """Every option that was set by hand, also those of a router that is not the current one."""
    work: Work | None = None
    sharing: Sharing | None = None
    """A contribution under way, or made."""
    asked: Any = None
    """Compare's last question and answers."""
    prepared: dict[Any, Any] = field(default_factory=dict)
    """People prepared for methods, so that the next question costs no training."""
    by_person: bool = False
    """Whether Compare's columns are people."""
    person_method: str = "perpcs"
    """The one method that answers for them."""
    blind: bool = False
    ballots: list[Any] = field(default_factory=list)
    """Votes given in blind mode."""
    diff_with: str = ""
    """The column that words are compared with; empty = the true answer."""
    typed: str = ""
    """A query typed on Compare."""
    typed_options: tuple[str, str] = ("", "")
    """What it is a choice between, where the task is one."""
    max_new_tokens: int = 0
    temperature: float = 0.0
    failure: PerpcsError | None = None
    notice: str = ""
    compare_own: bool = False
    before: Person | None = None
    """The person on Assemble as they were before the last assembly of the same history."""
    pinned: Person | None = None
    """Somebody to lay beside whoever is on Assemble."""
    kept: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    """What was worked out about a person and takes a while, the last of each kind: (what for, outcome)."""
    result_page: int = 0
    remade: Any = None
    """Sharers: whose assembly was made again there, and what it was before."""
    alike: dict[Any, Any] = field(default_factory=dict)
    """Sharers: likeness of the person on the screen to every sharer, as numbers."""
    key: str = ""
    """By which a reload of the tab finds this record, see ``perpcs.ui.state``; empty = nothing to come back to."""
    generation: int = 0
    """Part of the keys of widgets that hold a person's text; raising it makes them new and empty."""


def studio() -> Studio:
    """This session's record; the first call of a session takes over what its link says."""
    if "studio" not in st.session_state:
        st.session_state["studio"] = from_link(st.query_params.to_dict())
    return st.session_state["studio"]


def forget() -> None:
    """Empty the session: text, files, own person, answers, running work. Keeps which example and task were chosen."""
    old = studio()
    if old.work is not None:
        old.work.stop()
    if old.sharing is not None:
        old.sharing.drop()
    kept = Studio(pool=old.pool, task=old.task, example=old.example, generation=old.generation + 1)
    for key in list(st.session_state.keys()):
        del st.session_state[key]
    st.session_state["studio"] = kept
    context = get_script_run_ctx()
    if context is not None and hasattr(context.uploaded_file_mgr, "remove_session_files"):
        context.uploaded_file_mgr.remove_session_files(context.session_id)


def clear_button(key: str = "forget", on_click: Callable[[], None] = forget) -> None:
    """The button that ends what is kept of the visitor."""
    st.button("Clear my data", icon=":material/delete:", on_click=on_click, key=key)


def remember(key: str, value: Any) -> str:
    """Fill a widget's state from the record where the widget is new on this page; returns the widget's key."""
    if key not in st.session_state:
        st.session_state[key] = value
    return key


def worked_out(record: Studio, kind: str, of: Any, make: Callable[[], T]) -> T:
    """``make()``, or its last outcome where it was of the same: so that a click elsewhere does not work it out again.

    Args:
        kind: what is worked out; of each kind the last outcome is kept in this session.
        of: what the outcome depends on, told apart by ``==``.
    """
    if kind not in record.kept or record.kept[kind][0] != of:
        record.kept[kind] = (of, make())
    outcome: T = record.kept[kind][1]
    return outcome


# ---- links ----------------------------------------------------------------------------------------------------------


def to_link(record: Studio) -> dict[str, str]:
    """What a link says: choices only, each from a closed set. No field that could hold a person's text is read."""
    link = {"task": record.task, "sort": record.sort if record.sort != "gain" else ""}
    if record.module != LAYERS:
        link["module"] = record.module or ALL
    link["sharers"] = "all" if record.every_sharer else ""
    link |= {"user": record.example, "query": record.query, "pool": record.pool}
    if record.source != "example":
        link["source"] = record.source
    if record.cell:
        link["cell"] = "~".join(record.cell)
    link |= {"view": record.view if record.view != "piece" else "", "present": record.present, "tour": record.tour}
    if record.methods != DEFAULT:
        link["methods"] = ",".join(record.methods)
    if record.by_person:
        link["columns"] = "people"
    if record.seed:
        link["seed"] = str(record.seed)
    link |= {name: value for name, (value, usual) in _choices(record).items() if value != usual}
    return {name: value for name, value in link.items() if value}


def _choices(record: Studio) -> dict[str, tuple[str, str]]:
    """What the links of Results and Sharers say, and what they leave out because it is usual."""
    usual = Studio()
    only = ",".join(map(str, record.only))
    return {
        "measure": (record.measure, usual.measure),
        "result": ("~".join(record.result) if all(record.result) else "", ""),
        "strategy": (record.strategy, usual.strategy),
        "colour": (record.colour, usual.colour),
        "star": (record.star, ""),
        "only": (only, ""),
    }


def from_link(link: Mapping[str, str]) -> Studio:
    """A new session as a link says; what a link says wrongly is left out."""
    record = Studio(task=link.get("task", "")[:20], example=link.get("user", "")[:80])
    if link.get("module"):
        record.module = link["module"][:40].replace(ALL, "")
    record.every_sharer = link.get("sharers") == "all"
    record.query, record.pool = link.get("query", "")[:80], link.get("pool", "")[:80]
    if link.get("sort") in SORTS:
        record.sort = link["sort"]
    if link.get("source") in SOURCES:
        record.source = link["source"]
    record.by_person = link.get("columns") == "people"
    methods = [name for name in link.get("methods", "")[:400].split(",") if is_name(name)]
    record.methods = tuple(dict.fromkeys(methods))[:MOST_METHODS] or DEFAULT
    if link.get("view") in VIEWS:
        record.view = link["view"]
    if re.fullmatch(r"[a-z0-9-]{1,24}", link.get("present", "")):
        record.present = link["present"]
    if re.fullmatch(r"[a-z]{1,16}\.\d{1,2}", link.get("tour", "")):
        record.tour = link["tour"]
    if link.get("seed", "").isdecimal():
        record.seed = min(int(link["seed"][:9]), 10**6)
    position, mark, sharer = link.get("cell", "").partition("~")
    if mark and len(position) < 80 and len(sharer) < 80:
        record.cell = (position, sharer)
    _take_choices(record, link)
    return record


def _take_choices(record: Studio, link: Mapping[str, str]) -> None:
    """What a link says of Results and Sharers; the pages keep what they know and replace the rest."""
    if link.get("measure") in ("metric", "nll", "style"):
        record.measure = link["measure"]
    task, mark, method = link.get("result", "").partition("~")
    if mark and len(task) < 20 and len(method) < 60:
        record.result = (task, method)
    record.strategy = link.get("strategy", "")[:20] or record.strategy
    record.colour = link.get("colour", "")[:40] or record.colour
    record.star = link.get("star", "")[:80]
    numbers = link.get("only", "")[:2000].split(",")
    record.only = tuple(sorted({int(number) for number in numbers if number.isdecimal() and len(number) < 6}))


def write_link(record: Studio) -> None:
    """Make the address bar say what ``to_link`` says."""
    link = to_link(record)
    if st.query_params.to_dict() != link:
        st.query_params.from_dict(link)


# ---- a reload --------------------------------------------------------------------------------------------------------


_PRIVATE = (
    *("text", "wanted_task", "own", "typed", "typed_options", "options", "asked", "prepared", "live", "before"),
    *("pinned", "diff_with", "blind", "loaded_file", "source", "max_new_tokens", "temperature"),
)
"""Fields of the record that a link does not carry."""
_SCRIPT = """export default function ({ data, setTriggerValue }) {
  const name = 'perpcs-key';
  try {
    if (data.key) sessionStorage.setItem(name, data.key);
    else if (data.cleared) sessionStorage.removeItem(name);
    else if (sessionStorage.getItem(name) && !window.perpcsCameBack) {
      window.perpcsCameBack = true;
      setTriggerValue('key', sessionStorage.getItem(name));
    }
  } catch (error) { /* a browser that keeps nothing: a reload begins anew */ }
}"""


class Records:
    """The records of sessions by their keys, for as long as the sessions are there."""

    def __init__(self) -> None:
        self._by_key: weakref.WeakValueDictionary[str, Studio] = weakref.WeakValueDictionary()
        self._lock = Lock()

    def put(self, record: Studio) -> None:
        """Give a record a key if it has none, and know it by that key."""
        with self._lock:
            record.key = record.key or secrets.token_urlsafe(24)
            self._by_key[record.key] = record

    def take(self, key: str) -> Studio | None:
        """The record of a key; None where its session is gone or was cleared."""
        with self._lock:
            return self._by_key.get(key)

    def drop(self, key: str) -> None:
        """Forget a key."""
        with self._lock:
            self._by_key.pop(key, None)


@st.cache_resource(show_spinner=False)
def records() -> Records:
    """The one table of this server."""
    return Records()


def come_back(record: Studio) -> None:
    """Tell the tab this session's key, or hear the one of the session before a reload."""
    if record.text or record.own is not None or record.typed:
        records().put(record)
    elif record.key:
        records().drop(record.key)
        record.key = ""
    listener = st.components.v2.component("perpcs_come_back", js=_SCRIPT)
    listener(
        key="come-back",
        data={"key": record.key, "cleared": bool(record.generation) and not record.key},
        on_key_change=_take_over,
    )


def _take_over() -> None:
    """The tab named a key: its earlier record's fields become this session's."""
    key = str(st.session_state["come-back"].get("key") or "")
    record, earlier = studio(), records().take(key[:64])
    if earlier is None or earlier is record:
        return
    for name in _PRIVATE:
        setattr(record, name, getattr(earlier, name))
    record.key = key
    record.generation += 1  # widgets that hold text are made anew
    records().put(record)
