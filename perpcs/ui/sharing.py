"""A contribution under way: its work, what came of it, and how a page that was loaded again finds it.

The training outlives a change of page, because it hangs on the session and not on a page; and a reload, because it is
found by a token that the Share page writes into its own address (never into the link that is copied). It
ends when nobody who knows it has had a tab open for ``PATIENCE`` seconds. The text is held by the running work alone.
"""

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from streamlit.runtime import exists, get_instance
from streamlit.runtime.scriptrunner import get_script_run_ctx

from perpcs.errors import PerpcsError
from perpcs.ui.work import Work

if TYPE_CHECKING:
    from perpcs.pool.contribute import Leaving, Trained

PATIENCE = 120.0
"""As long as Streamlit keeps a closed tab's session (.streamlit/config.toml)."""


@dataclass
class Sharing:
    """One person's way from a history to a copy of the pool. In memory only."""

    task: str
    items: int
    pool_hash: str
    """Of the pool that the pieces are trained for."""
    code: str
    """The revocation code; the id follows from it."""
    work: Work[Any] | None = None
    trained: "Trained | None" = None
    previewed: "tuple[bytes, Leaving] | None" = None
    """The share mask's bytes, and what leaves with it."""
    added: Path | None = None
    """The copy that the pieces were added to."""
    stopped: bool = False
    """The training was stopped, by somebody or because nobody was there any more."""
    error: PerpcsError | None = None
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    owners: set[str] = field(default_factory=set)
    """Ids of the sessions that know it."""

    def start(self, do: Callable[[Callable[[Any], None]], Any]) -> None:
        """Begin a piece of work for it."""
        self.error, self.work = None, Work(do, patience=PATIENCE, alive=self._wanted)

    def settle(self) -> None:
        """Take over what ended work has left."""
        work = self.work
        if work is None or not (work.ended or work.stopped):
            return
        self.work, self.error, self.stopped = None, work.error, work.stopped
        if isinstance(work.result, Path):
            self.added = work.result
        elif work.result is not None:
            self.trained = work.result

    def drop(self) -> None:
        """Forget it: stop the work, leave nothing to find."""
        if self.work is not None:
            self.work.stop()
        with _LOCK:
            _KNOWN.pop(self.token, None)

    def _wanted(self) -> bool:
        return not exists() or any(get_instance().is_active_session(owner) for owner in list(self.owners))


_KNOWN: WeakValueDictionary[str, Sharing] = WeakValueDictionary()
"""Found by token only while a session or running work holds it; Streamlit keeps a closed tab’s session a while."""
_LOCK = threading.Lock()


def know(sharing: Sharing) -> Sharing:
    """Make it findable by its token for as long as somebody holds it."""
    context = get_script_run_ctx()
    if context is not None:
        sharing.owners.add(context.session_id)
    with _LOCK:
        _KNOWN[sharing.token] = sharing
    return sharing


def find(token: str) -> Sharing | None:
    """The contribution of a token that a page's address holds, for a session that was loaded again."""
    with _LOCK:
        found = _KNOWN.get(token)
    return know(found) if found is not None else None
