"""Where a visitor is: the app's pages, the task and example person on the screen, and the link to it.

Pages have a file each under pages/; the shell registers them and buttons lead to them. A link holds choices only,
never a person's text.
"""

from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import streamlit as st

from perpcs.pool.manifest import Example
from perpcs.tasks import TASKS
from perpcs.ui.state import Person, Studio, example_person, find_example, names_of, remember, studio, to_link

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


# ---- pages -----------------------------------------------------------------------------------------------------------


FOLDER = Path(__file__).resolve().parents[2] / "pages"
TITLES = {
    "overview": "Overview",
    "assemble": "Assemble",
    "compare": "Compare",
    "sharers": "Sharers",
    "results": "Results",
    "share": "Share",
    "method": "Method",
}


def page(name: str) -> "st.Page":
    """One page; its name is also its file name and address. The Overview, the default page, has the bare address."""
    first = name == "overview"
    return st.Page(FOLDER / f"{name}.py", title=TITLES[name], url_path="home" if first else name, default=first)


def home_by_name() -> "st.Page":
    """The Overview under /overview too: the default page only has the bare address, and people type its name."""
    return st.Page(_overview, title=TITLES["overview"], url_path="overview")


def _overview() -> None:
    st.switch_page(page("overview"))


def pages() -> list["st.Page"]:
    """All pages in the order of the masthead."""
    return [page(name) for name in TITLES]


# ---- task and person -------------------------------------------------------------------------------------------------


def pool_tasks(engine: "Engine") -> tuple[str, ...]:
    """Tasks the pool has sharers for."""
    return tuple(task.task for task in engine.pool.manifest.tasks)


def settle(engine: "Engine", record: Studio) -> Example | None:
    """Replace a task or example that the pool lacks with its first ones, preferring tasks with examples; returns the
    example.
    """
    tasks = pool_tasks(engine)
    if record.task not in tasks:
        record.task = next((task for task in tasks if engine.pool.examples(task)), tasks[0])
    example = find_example(engine.pool.examples(record.task), record.example)
    record.example = example.id if example else ""
    return example


_SIDE_BY_SIDE = 2  # more titles do not fit next to each other


def task_picker(engine: "Engine", record: Studio, key: str) -> None:
    """The kind of text, if the pool has more than one."""
    tasks = pool_tasks(engine)
    if len(tasks) > 1:
        if st.session_state.get(key) not in tasks:
            st.session_state[key] = record.task
        about: dict[str, Any] = {"format_func": lambda name: TASKS[name].title, "key": key}
        if len(tasks) > _SIDE_BY_SIDE:
            record.task = st.selectbox("Kind of text", tasks, **about)
        else:
            record.task = st.segmented_control("Kind of text", tasks, required=True, **about) or record.task


def example_picker(engine: "Engine", record: Studio, key: str) -> Example | None:
    """The example people of the task as a list with a line about each."""
    examples = engine.pool.examples(record.task)
    if not examples:
        st.html('<p class="pp-note">This pool has no example people for this kind of text.</p>')
        return None
    ids = [example.id for example in examples]
    key = f"{key}-{record.task}"
    if record.example not in ids:
        record.example = ids[0]
    remember(key, record.example)
    names = names_of(examples)
    record.example = st.radio(
        "Example person",
        ids,
        format_func=names.__getitem__,
        captions=[shorten(example.description, 96, placeholder=" …") for example in examples],
        key=key,
        help="Made up for this program; not sharers, and not in the data that the base model was adapted to.",
    )
    return find_example(examples, record.example)


def current_example(engine: "Engine", record: Studio) -> Person | None:
    """The selected example person with the assembly on the screen."""
    example = settle(engine, record)
    if example is None:
        return None
    return example_person(engine, record.task, example, record.live.get((record.task, example.id)))


# ---- links -----------------------------------------------------------------------------------------------------------


@st.fragment
def copy_link() -> None:
    """A button that shows the link with a copy icon; the link is made when it is opened, from the current screen."""
    box = st.popover("Link", icon=":material/link:", type="tertiary", key="link", on_change="rerun")
    if box.open:
        with box:
            st.markdown("This link opens the same page, example, piece and methods. Your text is never in it.")
            st.code(link_to(st.context.url or "", to_link(studio())), language=None, wrap_lines=True)


def link_to(url: str, choices: dict[str, str]) -> str:
    """The page's address with these choices instead of its own query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(choices), ""))
