"""How the app reports an error: what is wrong and what to do; never a traceback."""

import html
import logging
import traceback

import streamlit as st

from perpcs.errors import PerpcsError

_log = logging.getLogger("perpcs.ui")


def show_error(error: PerpcsError) -> None:
    """The two sentences of a PerpcsError as a card."""
    wrong, do = html.escape(error.wrong), html.escape(error.do)
    st.html(f'<div class="pp-error" role="alert"><b>{wrong}</b> <span>{do}</span></div>')


def as_error(error: BaseException) -> PerpcsError:
    """A bug as two sentences for the page. The server's log says where it happened, not the message."""
    if isinstance(error, PerpcsError):
        return error
    frames = "".join(traceback.format_tb(error.__traceback__))
    _log.error("%s (its message is left out: it may quote a person's text)\n%s", type(error).__name__, frames)
    return PerpcsError(
        f"Something in the program went wrong ({type(error).__name__}).",
        "Try again; if it happens again, report it with the server's log.",
    )


def on_script_error(error: Exception) -> bool:
    """Called by Streamlit for errors that a page did not catch; True keeps Streamlit from drawing its own box."""
    show_error(as_error(error))
    return True
