"""Which pieces are shared, and exactly what leaves then."""

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from perpcs.errors import PerpcsError
from perpcs.figures.style import bytes_text
from perpcs.pool.contribute import Leaving, chosen, id_of, leaving
from perpcs.ui.errors import show_error
from perpcs.ui.facts import facts_html
from perpcs.ui.sharing import Sharing
from perpcs.ui.strings import term

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine

_WAYS = {"all": "All pieces", "ratio": "A share of them", "named": "By layer and module"}


def choice_panel(engine: "Engine", sharing: Sharing) -> Leaving | None:
    """The choice and the preview; None where nothing can leave."""
    assert sharing.trained is not None
    base, *_, own = sharing.trained.pieces.losses[0]
    st.html(
        f"<h2>Your pieces are trained</h2><p>On your own {sharing.items} items the loss fell from {base:.2f} to "
        f"{own:.2f} nats per token. Nothing has left yet.</p>"
    )
    try:
        mask = _mask(engine, sharing)
        given = _given(engine, sharing, mask)
    except PerpcsError as error:
        show_error(error)
        return None
    _preview(engine, given, mask)
    return given


def _mask(engine: "Engine", sharing: Sharing) -> np.ndarray:
    positions, id = engine.pool.manifest.positions, id_of(sharing.code)
    way = st.segmented_control(
        "What to share", list(_WAYS), default="all", format_func=_WAYS.__getitem__, key="share-way", required=True
    )
    if way == "ratio":
        left, right = st.columns(2)
        ratio = left.slider("Share of your pieces, %", 5, 100, 50, 5, key="share-ratio")
        seed = right.number_input("Seed that draws them", 0, 10**6, 0, key="share-seed")
        return chosen(positions, id, ratio=ratio / 100, seed=int(seed))
    if way == "named":
        left, right = st.columns(2)
        layers = left.pills(
            "Layers",
            sorted({p.layer for p in positions}),
            selection_mode="multi",
            default=sorted({p.layer for p in positions}),
            key="share-layers",
        )
        named = list(dict.fromkeys(p.module for p in positions))
        modules = right.pills("Modules", named, selection_mode="multi", default=named, key="share-modules")
        return chosen(positions, id, layers=layers, modules=modules)
    return chosen(positions, id)


def _given(engine: "Engine", sharing: Sharing, mask: np.ndarray) -> Leaving:
    """What leaves with this mask; made again only when it has changed."""
    assert sharing.trained is not None
    if sharing.previewed is None or sharing.previewed[0] != mask.tobytes():
        sharing.previewed = (mask.tobytes(), leaving(sharing.trained, engine.pool, mask))
    return sharing.previewed[1]


def _preview(engine: "Engine", given: Leaving, mask: np.ndarray) -> None:
    parts, record = given.parts(), given.record().decode()
    rows = (
        (f"{int(mask.sum())} of {len(mask)}", term("piece", "pieces")),
        (f"{len(parts)}", "tensors"),
        (bytes_text(sum(part.bytes for part in parts)), "of numbers"),
        ("0", "words of yours"),
    )
    st.html(f"<h3>Exactly what leaves</h3>{facts_html(rows, 'What leaves')}")
    labels = [position.label for position in engine.pool.manifest.positions]
    body = "".join(_row(part, labels) for part in parts)
    st.html(
        '<div class="pp-items pp-tensors" tabindex="0" role="region" aria-label="Every tensor that leaves"><table>'
        "<caption>Every tensor, as stored</caption><thead><tr><th scope='col'>tensor</th><th scope='col'>of</th>"
        "<th scope='col'>shape</th><th scope='col'>bytes</th><th scope='col'>sha256</th></tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )
    with st.expander("And one record of numbers about you"):
        st.html(
            '<p class="pp-quiet">Cluster, its words and the place on the map are those of the sharers nearest to you; '
            "none of the words is yours.</p>"
        )
        st.code(record, language="json")
    st.download_button(
        "The same as a file",
        given.data,
        f"{given.sharer.id}.safetensors",
        "application/octet-stream",
        on_click="ignore",
        key="packet",
        type="tertiary",
        icon=":material/download:",
    )


def _row(part: Any, labels: list[str]) -> str:
    where = "mean of your items’ sentence embeddings" if part.position is None else labels[part.position]
    shape = " × ".join(map(str, part.shape))
    return (
        f"<tr><th scope='row'><code>{escape(part.name)}</code></th><td>{escape(where)}</td>"
        f"<td>{shape} {part.dtype}</td><td>{part.bytes:,}</td>"
        f"<td><code title='{part.sha256}'>{part.sha256[:12]}…</code></td></tr>"
    )
