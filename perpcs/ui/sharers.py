"""The Sharers page: the stored map, the person on it, the colours, who is clicked or lassoed, and one sharer's card."""

from collections.abc import Sequence
from html import escape
from textwrap import shorten
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from perpcs.errors import PerpcsError
from perpcs.figures.answers import beside_html
from perpcs.figures.columns import sharer_names, short_label
from perpcs.figures.town_map import Colouring, Guest, map_title, people_csv, town_map
from perpcs.figures.town_map import People as Drawn
from perpcs.pool.manifest import STRATEGIES, Candidates, Sharer, place_among, would_share
from perpcs.pool.portraits import Portrait, Portraits
from perpcs.ui.give_history import watch
from perpcs.ui.navigation import current_example, page, task_picker
from perpcs.ui.state import Person, Studio, names_of, remember
from perpcs.ui.whatif import strategies_panel, subset_panel
from perpcs.ui.widgets import CLEARED, MAP_NOTE, chart, flush, is_dark, stat_row, term
from perpcs.ui.work import show_error

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


# ---- one sharer ------------------------------------------------------------------------------------------------------


def usage(engine: "Engine", task: str) -> dict[str, np.ndarray]:
    """For every example person with a stored assembly: each sharer's share of weight, (S,), by the person's id."""
    found = {}
    for example in engine.pool.examples(task):
        try:
            size = np.abs(engine.stored.assembly(task, example.id).weights).sum(axis=0)
        except PerpcsError:
            continue  # reported where that person is shown
        found[example.id] = size / (float(size.sum()) or 1.0)
    return found


def card_panel(engine: "Engine", record: Studio, person: Person | None) -> None:
    """The card of the selected sharer; by default the person's strongest one."""
    sharers = engine.pool.sharers(record.task)
    ids = [sharer.id for sharer in sharers]
    tag = ""
    if record.star:
        number = ids.index(record.star)
    elif person is not None and person.assembly.weights.any():
        number = int(np.abs(person.assembly.weights).sum(axis=0).argmax())
        tag = f' <span class="pp-tag">most weight for {escape(person.name)}</span>'
    else:
        number = 0
    card, shared = sharers[number], engine.pool.mask(record.task)[:, number]
    portraits = engine.stored.portraits(record.task)
    portrait = portraits.of(card.id)
    title = f"{portrait.name[:1].upper()}{portrait.name[1:]}" if portrait.name else f"Sharer {card.id}"
    st.html(f'<h2 class="pp-sharer">{escape(title)}{tag}</h2>')
    loss = f"{card.loss[0]:.2f} → {card.loss[-1]:.2f}" if card.loss else "–"
    rows = (
        (f"{card.items}", f"{term('item', 'items')} written"),
        (f"{card.cluster}", "cluster number"),
        (f"{int(shared.sum())} of {len(shared)}", f"{term('piece', 'pieces')} shared"),
        (loss, f"{term('NLL')} on their own text,<br>base model → own pieces"),
    )
    st.html(stat_row(rows, f"Facts about sharer {escape(card.id)}"))
    origin = engine.pool.manifest.task(record.task).origin
    if origin:
        st.html(f'<p class="pp-origin"><b>Who this is</b>: {escape(origin)}</p>')
    terms = ", ".join(card.terms) or "none used by at least three people"
    if not portrait.name:
        st.html(f'<p class="pp-quiet">Typical words of the cluster: {escape(terms)}.</p>')
    else:
        said = escape(portrait_said(portrait))
        st.html(f'<p class="pp-quiet" title="sharer {escape(card.id)}">This sharer {said}.</p>')
    st.html(f'<p class="pp-quiet">The sharer’s text is not stored.</p>{sample_html(portrait, portraits)}')
    labels = [position.label for position in engine.pool.manifest.positions]
    st.html(
        pieces_html(labels, shared, person, number)
        + losses_html(card)
        + recognised_html(labels, engine.stored.recognised(record.task), number)
        + users_html(engine, record, number)
    )
    if person is not None and person.assembly.weights[:, number].any():
        best = int(np.abs(person.assembly.weights[:, number]).argmax())
        if st.button("Show the largest piece on Assemble", key="to-piece", type="tertiary", icon=":material/grid_on:"):
            record.cell = (person.assembly.positions[best], card.id)
            record.source = "example" if person.kind == "example" else record.source
            st.switch_page(page("assemble"))


def portrait_said(portrait: Portrait) -> str:
    """Who this is, in a few words."""
    about = f"writes about {', '.join(portrait.words)}" if portrait.words else ""
    habits = f"stands out for {', '.join(portrait.habits)}" if portrait.habits else ""
    return "; ".join(filter(None, (about, habits)))


def sample_html(portrait: Portrait, portraits: Portraits) -> str:
    """What all of a sharer's pieces do: one input answered without and with them; empty where that is not stored."""
    if not portrait.answer:
        return ""
    cards = beside_html(("Base model", portraits.base), ("With this sharer’s pieces", portrait.answer))
    return (
        '<p class="pp-cap"><b>What this sharer’s pieces do</b>: the same invented input, answered without and with all '
        f'of them at weight 1</p><div class="pp-quote">{escape(shorten(portraits.input, 200, placeholder=" …"))}</div>'
        + cards
    )


def pieces_html(labels: list[str], shared: np.ndarray, person: Person | None, number: int) -> str:
    """A box per position: filled if the person uses the piece, open if it is shared, crossed out if it is not."""
    boxes = []
    for p, label in enumerate(labels):
        weight = 0.0 if person is None else float(person.assembly.weights[p, number])
        state = "used" if weight else "shared" if shared[p] else "kept"
        said = {"used": f"weight {weight:.3f}", "shared": "shared, not used here", "kept": "not shared"}[state]
        boxes.append(f'<i class="pp-box pp-{state}" title="{escape(label)}: {said}">{escape(short_label(label))}</i>')
    who = "the person on the map" if person is None else escape(person.name)
    return (
        f'<p class="pp-cap"><b>Pieces</b>: filled = used by {who}; open = shared, not used; crossed out = not '
        "shared</p>"
        f'<div class="pp-boxes">{"".join(boxes)}</div>'
    )


def bars_html(rows: Sequence[tuple[str, float, str]]) -> str:
    """Bars below each other: (name, value, value as text); the largest has full width."""
    top = max(value for _, value, _ in rows) or 1.0
    bars = "".join(
        f'<div class="pp-bar"><code>{escape(name)}</code><i style="width:{100 * value / top:.0f}%"></i>'
        f"<span>{text}</span></div>"
        for name, value, text in rows
    )
    return f'<div class="pp-bars">{bars}</div>'


def losses_html(card: Sharer) -> str:
    """Loss per epoch as bars, the base model's first."""
    if len(card.loss) < 2:
        return ""
    names = ("base", *(f"epoch {epoch}" for epoch in range(1, len(card.loss))))
    bars = bars_html([(name, loss, f"{loss:.2f}") for name, loss in zip(names, card.loss, strict=True)])
    title = "<b>Training</b>: nats per target token on their own text"
    return f'<p class="pp-cap">{title}</p>{bars}'


def recognised_html(labels: list[str], found: np.ndarray | None, number: int) -> str:
    """The probability that the gates assign to the sharer's own pieces on their own text, and an even share."""
    if found is None:
        return ""
    own, even = found[number], 1 / len(found)
    mean, best = float(own.mean()), int(own.argmax())
    before = int((found.mean(axis=1) > mean).sum())
    shown = (("mean", mean), (short_label(labels[best]), float(own[best])), ("even", even))
    bars = bars_html([(name, value, f"{100 * value:.1f} %") for name, value in shown])
    return (
        "<p class='pp-cap'><b>Recognition</b>: probability that the gates assign to this sharer’s own piece on this "
        f"sharer’s own text (mean over layers and best layer), compared with an even share. {before} of {len(found)} "
        f"sharers are recognised better.</p>{bars}"
    )


def users_html(engine: "Engine", record: Studio, number: int) -> str:
    """This sharer's share of each example person's weight, as stored with the pool."""
    names = names_of(engine.pool.examples(record.task))
    shares = {names[id]: float(share[number]) for id, share in usage(engine, record.task).items()}
    if not shares:
        return ""
    order = sorted(shares, key=lambda name: (-shares[name], name))
    bars = bars_html([(name, shares[name], f"{100 * shares[name]:.1f} %") for name in order])
    used = sum(value > 0 for value in shares.values())
    return (
        f'<p class="pp-cap"><b>Used by {used} of {len(shares)} example people</b>: share of each person’s weight, '
        f"precomputed</p>{bars}"
    )


# ---- the page --------------------------------------------------------------------------------------------------------


COLOURS = {
    "cluster": "Cluster",
    "usage": "Usage by the examples",
    "activity": "Activity (items)",
    "contribution": "Weight for the person",
}
_TOOLS = {"press": "Click a star", "lasso": "Draw around stars"}
_PLACES = {"weights": "Weights used", "likeness": "Similar histories"}


def sharers_page(engine: "Engine", record: Studio) -> None:
    """Everything on the page; choices in a link that this pool lacks are replaced."""
    left, right = st.columns([0.27, 0.73], gap="large")
    with left:
        st.html("<h1>Sharers</h1>")
        try:
            person = _person(engine, record)
            if person is not None:
                engine.check(person.assembly)
            candidates = engine.pool.candidates(record.task)
        except PerpcsError as error:
            show_error(error)
            return
        _settle(engine, record)
        _controls(engine, record, person, candidates)
    flush("sharers")
    with right:
        if record.work is not None:
            watch(engine, record)
        if record.failure is not None:
            show_error(record.failure)
        if record.notice:
            said = CLEARED if record.notice == "cleared" else record.notice
            st.html(f'<p class="pp-note" role="status">{escape(said)}</p>')
        with st.container(key="finished"):
            _map(engine, record, person, candidates)
    with st.container(key="finished-below"):
        left, right = st.columns([0.5, 0.5], gap="large")
        with left:
            card_panel(engine, record, person)
        with right:
            subset_panel(engine, record, person)
            strategies_panel(engine, record, person, candidates)


def _person(engine: "Engine", record: Studio) -> Person | None:
    """The visitor's own model, if there is one and it is selected, else the example."""
    if record.own is not None:
        remember("sharers-own", record.compare_own)
        record.compare_own = bool(
            st.segmented_control(
                "Whose weights?",
                [True, False],
                key="sharers-own",
                required=True,
                width="stretch",
                format_func=lambda own: (record.own.name if record.own else "You") if own else "An example",
            )
        )
        if record.compare_own:
            record.task = record.own.task
            return record.own
    task_picker(engine, record, "sharers-task")
    examples = engine.pool.examples(record.task)
    if not examples:
        st.html('<p class="pp-note">This pool has no example people for this kind of text.</p>')
        return None
    names = names_of(examples)
    if record.example not in names:
        record.example = examples[0].id
    key = remember(f"sharers-example-{record.task}", record.example)
    record.example = st.selectbox("Example person", list(names), format_func=names.__getitem__, key=key)
    return current_example(engine, record)


def _settle(engine: "Engine", record: Studio) -> None:
    """Replace choices from a link or another task that do not exist here."""
    ids = [sharer.id for sharer in engine.pool.sharers(record.task)]
    record.star = record.star if record.star in ids else ""
    record.only = tuple(number for number in record.only if number < len(ids))
    record.strategy = record.strategy if record.strategy in STRATEGIES else "cluster"
    record.colour = record.colour if record.colour in COLOURS else "cluster"


def _controls(engine: "Engine", record: Studio, person: Person | None, candidates: Candidates) -> None:
    remember("colour", record.colour)
    record.colour = st.selectbox("Colour by", list(COLOURS), key="colour", format_func=COLOURS.__getitem__)
    remember("strategy", record.strategy)
    record.strategy = st.selectbox(
        "Highlight the sharers selected by",
        list(STRATEGIES),
        key="strategy",
        format_func=STRATEGIES.__getitem__,
        help="This pool’s sharers were selected by history cluster: the most active person in each.",
    )
    if would_share(candidates, record.strategy) is None:
        st.html(f'<p class="pp-note">{escape(unavailable(record.strategy, candidates))}</p>')
    sharers = engine.pool.sharers(record.task)
    st.session_state["star"] = record.star or None
    portraits = engine.stored.portraits(record.task)
    names = {sharer.id: portraits.of(sharer.id).name or sharer.id for sharer in sharers}
    words = {sharer.id: f"{names[sharer.id]} · {', '.join(sharer.terms[:3])}" for sharer in sharers}
    st.selectbox(
        "Find a sharer",
        list(words),
        key="star",
        format_func=lambda id: words.get(id, id),
        placeholder="Type a word",
        on_change=lambda: setattr(record, "star", st.session_state["star"] or ""),
    )
    if person is not None:
        remember("placed", "weights")
        offered_places = list(_PLACES) if person.history else ["weights"]
        st.segmented_control(
            "Place the person by",
            offered_places,
            key="placed",
            required=True,
            format_func=_PLACES.__getitem__,
            help="Weights used: near the five sharers with most weight. Similar histories: near the five sharers with "
            "the most similar histories, according to the encoder behind the map.",
        )
    st.html(f'<p class="pp-quiet">{escape(MAP_NOTE)}</p>')


def unavailable(strategy: str, candidates: Candidates) -> str:
    """Why a strategy cannot be shown with this pool."""
    if strategy == "profile" and candidates.whole:
        return "Not available: this pool does not store a selection by profile cluster."
    return "Not available: this pool stores no map of its candidates, only its sharers."


def _map(engine: "Engine", record: Studio, person: Person | None, candidates: Candidates) -> None:
    sharers, portraits = engine.pool.sharers(record.task), engine.stored.portraits(record.task)
    names = sharer_names([sharer.id for sharer in sharers], portraits) if portraits.sharers else []
    drawn = Drawn(candidates.xy, candidates.clusters, candidates.items, candidates.sharers, sharers, tuple(names))
    guest = _guest(engine, record, person, candidates)
    colouring = colouring_of(engine, record, drawn, guest)
    title = map_title(guest, drawn)
    how = f" <span class='pp-tag'>{escape(person.how)}</span>" if person is not None and person.how else ""
    origin = engine.pool.manifest.task(record.task).origin
    who = (
        f'<p class="pp-quiet pp-origin">Each of the {len(drawn.sharers)} sharers: {escape(origin)}</p>'
        if origin
        else ""
    )
    st.html(f"<h2>{escape(title)}{how}</h2>{who}")
    ids = [sharer.id for sharer in drawn.sharers]
    wanted = would_share(candidates, record.strategy) if record.strategy != "cluster" else None
    figure = town_map(
        drawn,
        colouring,
        guest=guest,
        wanted=() if wanted is None else wanted.tolist(),
        picked=record.only,
        star=ids.index(record.star) if record.star else None,
        lasso=st.session_state[remember("tool", "press")] == "lasso",
        dark=is_dark(),
    )
    st.segmented_control("Mouse", list(_TOOLS), key="tool", required=True, format_func=_TOOLS.__getitem__)
    with st.container(key="townbox"):
        chart(
            figure,
            "town",
            title,
            file="perpcs-sharers-map",
            on_select=lambda: take_selection(record, ids),
            selection_mode=("points", "lasso"),
        )
    st.html(
        f'<p class="pp-quiet">★ a {term("sharer")}, • a candidate who does not share, ◆ the person. The wider the '
        f"line, the more of the person’s {term('weight')} the sharer has, summed over "
        f"{len(engine.pool.manifest.positions)} positions. Click a star for its card; draw around stars to select "
        "them.</p>"
    )
    st.download_button(
        "CSV of this map",
        people_csv(drawn, colouring, guest),
        f"perpcs-sharers-{record.task}.csv",
        "text/csv",
        on_click="ignore",
        key="csv-town",
        type="tertiary",
        icon=":material/table:",
    )


def take_selection(record: Studio, ids: list[str]) -> None:
    """Clicking one star opens its card; drawing around several selects them. Dots have no pieces and are ignored."""
    points = st.session_state["town"]["selection"]["points"]
    data = [point.get("customdata") for point in points]
    found = sorted({int(one[0]) for one in data if isinstance(one, list | tuple) and one and int(one[0]) >= 0})
    drawn = bool(st.session_state["town"]["selection"].get("lasso"))
    if drawn and found:
        record.only = tuple(number for number in found if number < len(ids))
        st.session_state.pop("only", None)
    elif len(found) == 1 and found[0] < len(ids):
        record.star = ids[found[0]]


def share_of(person: Person) -> np.ndarray:
    """Each sharer's share of a person's weight, (S,)."""
    size = np.abs(person.assembly.weights).sum(axis=0)
    return size / (float(size.sum()) or 1.0)


def _guest(engine: "Engine", record: Studio, person: Person | None, candidates: Candidates) -> Guest | None:
    if person is None:
        return None
    share = share_of(person)
    closeness = share
    if st.session_state.get("placed") == "likeness" and person.history:
        try:
            with st.spinner("Comparing histories", show_time=True):
                closeness = _likeness(engine, record, person)
        except PerpcsError as error:
            show_error(error)
    return Guest(person.name, place_among(candidates, closeness), share)


def _likeness(engine: "Engine", record: Studio, person: Person) -> np.ndarray:
    """Similarity to every sharer, cached in the session because the encoder is slow."""
    key = (engine.pool.hash, person.kind, person.task, person.name, hash(person.history))
    if key not in record.alike:
        record.alike = {key: engine.likeness(person.task, person.history)}  # one person at a time is enough
    return record.alike[key]


def colouring_of(engine: "Engine", record: Studio, drawn: Drawn, guest: Guest | None) -> Colouring:
    """Numbers or words for every candidate, for the chosen colouring."""
    numbers = np.full(len(drawn.xy), np.nan)
    if record.colour == "activity":
        return Colouring("items written", drawn.items.astype(float))
    if record.colour == "usage":
        shares = list(usage(engine, record.task).values())
        numbers[drawn.candidate] = 100 * np.mean(shares, axis=0) if shares else np.nan
        return Colouring(f"share of weight, mean of {len(shares)} examples", numbers, unit="%")
    if record.colour == "contribution" and guest is not None:
        numbers[drawn.candidate] = 100 * guest.share
        return Colouring(f"share of {guest.name}’s weight", numbers, unit="%")
    return Colouring("cluster", words=tuple(str(cluster) for cluster in drawn.clusters))
