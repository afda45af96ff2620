"""The link to what is on the screen: choices only, never a person's text."""

from urllib.parse import urlencode, urlsplit, urlunsplit

import streamlit as st

from perpcs.ui.state import studio, to_link


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
