"""A reload finds its person again, within the time that the server keeps a closed tab.

The tab keeps a random key in its own sessionStorage; the server knows by it which session's record belongs to the tab.
The record itself is never copied: once Streamlit drops the old session, its record is gone and the key opens nothing.
"""

import secrets
import weakref
from threading import Lock

import streamlit as st

from perpcs.ui.state import Studio, studio

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
