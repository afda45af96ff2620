"""What every page is made of: the style sheet and theme, a chart, a row of numbers, and what is drawn first.

HTML that several pages show is made here, so that it looks the same everywhere.

The glossary too: each term defined once, and the longer sentences that more than one screen uses.
"""

import html
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from zlib import crc32

import plotly.graph_objects as go
import streamlit as st

from perpcs.figures.style import CHART_CONFIG

# ---- terms and sentences ---------------------------------------------------------------------------------------------


TERMS = {
    "base model": "A language model that is the same for everyone; it is never changed here.",
    "position": "One adapted layer of the base model: a layer number and a module, such as layer 3, v_proj.",
    "sharer": "A person who chose to share pieces of their adapter. The pool holds numbers, not their text.",
    "piece": "One sharer's small update at one position: two thin matrices, A and B.",
    "gate": "A vector that says which words a piece helps with, trained on its owner or fitted to many people.",
    "prototype": "A sharer's mean activation at a position: what their words look like there. Needs no training.",
    "pool": "All shared pieces and gates, with the base model they belong to.",
    "history": "What a person wrote before: past items, oldest first.",
    "item": "One entry of a history: an input, and the person's own answer to it.",
    "router": "The rule that scores pieces for a history.",
    "score": "How well a piece fits the history, before any piece is selected.",
    "weight": "How much of a piece is added for this person: 0 adds nothing, a negative weight subtracts it.",
    "assembly": "The result: one weight per piece, and a record of how it was computed. Numbers only, no text.",
    "effective sharers": "exp of the entropy of the weights: 1 = one sharer has all, 40 = forty have equal weight.",
    "top-1 share": "The largest weight at a position, divided by the sum of the weights there.",
    "full adapter": "The size of an adapter trained separately for one person (the method OPPU), at the same rank.",
    "RAG": "Retrieval: similar items from the history go into the prompt; the model itself is not personal.",
    "Per-Pcs": "The assembled model: sharers' pieces, weighted for this person. The prompt contains no history.",
    "Newton weights": "The weights after one damped Gauss-Newton step, solved from one backward pass over the history.",
    "OPPU": "One full adapter trained on this person's history alone: what you get if you pay for training.",
    "P2P": "A network generates a whole adapter from a person's profile, in one pass and without training.",
    "wrong user": "A control: everyone gets the next person's weights. A method that personalises must get worse.",
    "majority": "Needs no model: the person's most frequent past answer. Only for tasks with labels.",
    "oracle": "Knows the rules each made-up person follows; it misses only the random slips built into them.",
    "accuracy": "Share of answers that equal the person's own label; higher is better.",
    "MAE": "Mean absolute error between the predicted and the true rating, in stars; lower is better.",
    "style": "Share of six traits in which an answer is like the person’s own: casing, length, opening, end mark, "
    "punctuation inside, emoji or hashtags; higher is better.",
    "ROUGE-L": "F-measure of the longest common subsequence of words with the true answer, 0 to 1; higher is better.",
    "NLL": "Negative log-likelihood of the true answer, in nats per target token; lower is better.",
    "interval": "The people were resampled many times, with replacement; 95 % of the resampled means lie in it.",
    "held out": "Kept out of training, to test whether what was learned holds for unseen data.",
    "PEFT retrieval": "Takes all pieces of the sharers with the most similar histories, weighted the same everywhere.",
    "agreement": "How much two mixes overlap at a position: 100 % = the same mix, 0 % = no piece in common.",
    "update norm": "Frobenius norm of what is added to a layer's matrix, divided by the norm of that matrix.",
    "dormant": "A sharer whose pieces all have zero weight.",
    "over-used": "A sharer with more than three times an even share of all weight.",
    "influence": "How much the mix changes without an item, averaged over all positions.",
    "precomputed": "Computed when the pool was built and stored with it; shown without running the model.",
}

PRIVACY = (
    "Your text stays in the memory of the computer that runs this page. It is never written to disk, logs or links. "
    "It survives a reload of this tab. It is dropped when you click “Clear my data”, or at most two and a half minutes "
    "after you close the tab."
)
CLEARED = "Cleared. Your text, your file and your personal model are gone from this session."
CLAIM = "A language model of your own, assembled from pieces that other people chose to share."
_COMPUTED = {
    "newton": "A few forward passes and one backward pass over a newcomer’s text produce",
    "gate": "One forward pass over a newcomer’s text produces",
    "fit": "A few forward and backward passes over a newcomer’s text produce",
}


def computed(router: str) -> str:
    """What is computed for a newcomer, in a sentence."""
    passes = _COMPUTED.get(router.partition("+")[0], _COMPUTED["gate"])
    return f"{passes} a small table of numbers: a weight for each sharer’s piece at each position."


NO_TEXT = "A saved model holds weights but no text, so RAG has no history to retrieve from."
NO_GROUP_TWICE = "Base users, sharers and target users never overlap; a build in which they do is rejected."
NOT_SAID = "Not stated by its maker."
WORK_SECONDS = "Seconds are model time, shared by the columns of a batch; waiting for other users is not counted."
MAP_NOTE = (
    "Points close together are histories on similar topics, according to a sentence encoder. Distance does not show "
    "how similarly people write, or whose pieces help whom. A flat map preserves neighbours and distorts long "
    "distances."
)


def term(word: str, shown: str | None = None) -> str:
    """A word as HTML whose definition appears on hover and on keyboard focus.

    Raises:
        KeyError: for a word without a definition, so that pages cannot invent a second vocabulary.
    """
    meaning = html.escape(TERMS[word], quote=True)
    text = html.escape(shown or word)
    return f'<span class="pp-term" tabindex="0" data-def="{meaning}" aria-label="{text}: {meaning}">{text}</span>'


SHARE_LEDE = (
    "Become a sharer: train pieces on your own text, see every number you would share, then decide. Your text is not "
    "shared."
)
SHARE_TRACES = (
    "They are numbers, not text. But numbers trained on a text can carry traces of it, and anyone who has them may "
    "try to find out what it was about. Share only what you would not mind others guessing."
)


# ---- the look --------------------------------------------------------------------------------------------------------


_MARK = ("#0072B2", "", "#E69F00", "", "#009E73", "", "#CC79A7", "#56B4E9", "")
MARK = "".join(f'<i style="background:{c}"></i>' if c else "<i></i>" for c in _MARK)
"""The studio's mark as HTML: a small map with a few pieces selected. icon.svg is the same."""
ICON = Path(__file__).with_name("icon.svg")


@lru_cache
def _css() -> str:
    return Path(__file__).with_name("style.css").read_text(encoding="utf-8")


def apply_theme() -> None:
    """Send the style sheet; call once in every run, before anything is drawn."""
    bar, on_primary = ("#0F151CEE", "#0B1117") if is_dark() else ("#FFFFFFEE", "#FFFFFF")
    ground, dim = ("#0F151C", "#000000C0") if is_dark() else ("#FFFFFF", "#0B1117A8")
    st.html(
        f"<style>{_css()} :root {{ --pp-bar: {bar}; --pp-on-primary: {on_primary}; --pp-ground: {ground}; "
        f"--pp-dim: {dim}; }}</style>"
    )


def is_dark() -> bool:
    """Whether the visitor's theme is dark, for figures whose colours are numbers."""
    return st.context.theme.type == "dark"


# ---- charts ----------------------------------------------------------------------------------------------------------


def chart(
    figure: go.Figure, key: str, alt: str, *, file: str = "", buttons: bool = True, vector: bool = False, **how: Any
) -> None:
    """Show a figure.

    Args:
        alt: what the figure says, for who does not see it.
        file: name of the picture that its camera saves; empty = ``perpcs-KEY``.
        buttons: whether the figure has any.
        vector: whether that picture is an SVG.
        how: of ``st.plotly_chart``, such as ``on_select``.
    """
    saved = {"filename": file or f"perpcs-{key}", **({"format": "svg"} if vector else {"scale": 2})}
    config = {**CHART_CONFIG, **({"toImageButtonOptions": saved} if buttons else {"displayModeBar": False})}
    st.plotly_chart(drawn_once(figure), key=key, alt=alt, theme=None, width="stretch", config=config, **how)


def drawn_once(figure: go.Figure) -> go.Figure:
    """The figure, such that plotly sees when it is given the same again; Streamlit's page hands it every figure twice.

    What it would take for a change: a template, whose axes are therefore written into the figure's own; long lists,
    unless ``datarevision`` is the same; and numpy arrays, which a figure of many SVG marks had better not hold.
    """
    if figure.layout.datarevision is not None:  # kept since it was shown before, by whomever
        return figure
    layout = figure.layout.to_plotly_json()
    theme = layout.pop("template", {}).get("layout", {})
    axes = {"xaxis", "yaxis", *(name for name in layout if name[1:].startswith("axis"))}
    figure.update_layout({name: _missing(theme.get(name[:5], {}), layout.get(name, {})) for name in axes})
    figure.layout.template = None
    figure.layout.datarevision = crc32(figure.to_json(validate=False).encode())
    return figure


def _missing(wanted: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """What of ``wanted`` is not in ``own``, at any depth."""
    found: dict[str, Any] = {}
    for name, value in wanted.items():
        if name not in own:
            found[name] = value
        elif isinstance(value, Mapping) and isinstance(own[name], Mapping):
            found[name] = _missing(value, own[name])
    return found


# ---- numbers ---------------------------------------------------------------------------------------------------------


def stat_row(rows: Iterable[tuple[str, str]], label: str = "") -> str:
    """``rows`` are (number, words) as HTML; ``label`` is what a screen reader says first."""
    cells = "".join(f"<li><b>{number}</b><small>{words}</small></li>" for number, words in rows)
    return f'<ul class="pp-facts" aria-label="{label}">{cells}</ul>'


# ---- order -----------------------------------------------------------------------------------------------------------


PAUSE = 0.12
"""Seconds without a message after which a browser draws what it has received."""


def flush(name: str) -> None:
    """When a visitor opens the page, let the browser draw what it has so far before the rest arrives.

    Later clicks on the page do not wait, unless they change the name: a click that redraws most of a page, charts
    included, shows its direct result first.
    """
    if st.session_state.get("painted") != name:
        st.session_state["painted"] = name
        time.sleep(PAUSE)


# ---- tables ----------------------------------------------------------------------------------------------------------


_LINE = "border:0;border-bottom:1px solid color-mix(in srgb, currentColor 14%, transparent)"
_NAME = f"{_LINE};padding:0.28rem 0;text-align:left;vertical-align:top;font-weight:400"
_CELL = f"{_LINE};padding:0.28rem 0 0.28rem 0.8rem;text-align:right;vertical-align:top"


def table_html(caption: str, head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A plain table; all cells are HTML, the first of each row is its heading."""
    first, *others = head
    top = f'<th scope="col" style="{_NAME}">{first}</th>' + "".join(
        f'<th scope="col" style="{_CELL};font-weight:400">{word}</th>' for word in others
    )
    lines = "".join(
        f'<tr><th scope="row" style="{_NAME}">{name}</th>'
        + "".join(f'<td style="{_CELL}">{cell}</td>' for cell in cells)
        + "</tr>"
        for name, *cells in body
    )
    return (
        '<table style="width:100%;border-collapse:collapse;margin:0.3rem 0 0.5rem;font-size:0.9rem;line-height:1.35;'
        'font-variant-numeric:tabular-nums"><caption style="caption-side:top;text-align:left;padding:0 0 0.2rem;'
        f'color:inherit">{caption}</caption><thead class="pp-quiet"><tr>{top}</tr></thead>'
        f"<tbody>{lines}</tbody></table>"
    )
