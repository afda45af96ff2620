"""The one error class for what a person can cause and mend.

Libraries print progress bars and advice; a person who typed one of our commands should read only ours.
"""

import difflib
from collections.abc import Iterable

# ---- errors ----------------------------------------------------------------------------------------------------------


class PerpcsError(Exception):
    """Something a person can put right: one sentence on what is wrong, one on what to do.

    The command line and the app show both sentences and no traceback. A bug raises whatever it raises.
    """

    def __init__(self, wrong: str, do: str) -> None:
        super().__init__(f"{wrong} {do}")
        self.wrong = wrong
        self.do = do


def unknown(what: str, name: str, known: Iterable[str]) -> PerpcsError:
    """The error for a name that is none of the known ones, with the nearest of them."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"Did you mean {near[0]}? " if near else ""
    return PerpcsError(f"Unknown {what} {name!r}.", f"{hint}Known {what}s: {', '.join(names)}.")


# ---- other people's messages -----------------------------------------------------------------------------------------


def quiet_transformers() -> None:
    """Turn off transformers' progress bars and warnings for this process."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
