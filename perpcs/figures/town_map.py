"""The map of a pool's people: candidates as dots, sharers as stars, the current person and the weight of each link.

The layout comes from the similarity of histories and was made when the pool was built. A star carries its sharer's
number in customdata, so that clicks and lassos can be traced back; a dot carries none.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.basedatatypes import BaseTraceType

from perpcs.figures.columns import short_names
from perpcs.figures.model_card import line_colour
from perpcs.figures.style import (
    FAINT,
    INK,
    MARK,
    MUTED,
    PAPER,
    base_layout,
    colour_bar,
    csv_text,
    legend_below,
    method_colour,
    points,
    weight_scale,
)
from perpcs.pool.manifest import Sharer

MOST_WORDS = 12
"""With more different words than this, there is no legend."""
_WIDTHS = (0.8, 1.6, 2.8, 4.4, 6.5)
_SYMBOLS = ("star", "star-square", "star-diamond", "star-triangle-up", "hexagram")


@dataclass(frozen=True)
class People:
    """C candidates, S of them sharers. Plain arrays, so that drawing needs no pool."""

    xy: np.ndarray
    """(C, 2)."""
    clusters: np.ndarray
    """(C,)."""
    items: np.ndarray
    """(C,)."""
    candidate: np.ndarray
    """The candidate index of each sharer, (S,)."""
    sharers: tuple[Sharer, ...]
    names: tuple[str, ...] = ()
    """What each sharer is called; () = numbers."""


@dataclass(frozen=True)
class Colouring:
    """What the colours show: a number or a word per candidate; NaN or empty if unknown."""

    title: str
    numbers: np.ndarray | None = None
    words: tuple[str, ...] = ()
    unit: str = ""


@dataclass(frozen=True)
class Guest:
    """The person on the screen: their place, and each sharer's share of their weight, (S,)."""

    name: str
    place: tuple[float, float] | None
    share: np.ndarray


def map_title(guest: Guest | None, people: People) -> str:
    """The main finding of the map."""
    count, of = len(people.sharers), len(people.xy)
    if guest is None:
        return f"{count} sharers represent {of} candidates" if of > count else f"{count} sharers"
    used = int((guest.share > 0).sum())
    top = 100 * float(np.sort(guest.share)[::-1][:3].sum())
    verb = "use" if guest.name == "You" else "uses"
    return f"{guest.name} {verb} {used} of {count} sharers; the top three have {top:.0f} % of the weight"


def town_map(
    people: People,
    colouring: Colouring,
    *,
    guest: Guest | None = None,
    wanted: Collection[int] = (),
    picked: Collection[int] = (),
    star: int | None = None,
    lasso: bool = False,
    dark: bool = False,
) -> go.Figure:
    """Draw the map.

    Args:
        wanted: candidates that a strategy would select; they get a ring.
        picked: numbers of the lassoed sharers.
        star: number of the sharer whose card is open.
        lasso: whether dragging draws around stars. Streamlit ignores clicks in that mode.
    """
    sharing = set(people.candidate.tolist())
    dots = [c for c in range(len(people.xy)) if c not in sharing]
    of_picked = [int(people.candidate[s]) for s in sorted(picked) if s < len(people.candidate)]
    of_card = [] if star is None else [int(people.candidate[star])]
    shown = guest is not None and guest.place is not None
    traces = [
        *(_links(people, guest) if guest and shown else []),
        *_marks(people, colouring, dots, {}, dark),
        *_marks(people, colouring, list(people.candidate), dict(enumerate(people.candidate.tolist())), dark),
        *_rings(people, sorted(wanted), "would share", {"symbol": "circle-open", "size": 20}, MUTED[dark], 1.6),
        *_rings(people, of_picked, "selected", {"symbol": "square-open", "size": 21}, INK[dark], 2),
        *_rings(people, of_card, "card", {"symbol": "circle-open", "size": 26}, MARK, 3),
        *([_guest(guest, dark)] if guest and shown else []),
    ]
    # All at once: plotly checks the whole figure again for each added trace.
    return go.Figure(traces, _layout([_name(guest, dark)] if guest and shown else [], lasso, dark))


def _links(people: People, guest: Guest) -> list[BaseTraceType]:
    """A line to every sharer with weight; five widths, so that there are five traces and not a hundred."""
    largest, (x, y) = float(guest.share.max()) or 1.0, guest.place or (0.0, 0.0)
    steps = np.ceil(len(_WIDTHS) * guest.share / largest).astype(int)
    traces: list[BaseTraceType] = []
    for step, width in enumerate(_WIDTHS, start=1):
        ends = [people.xy[people.candidate[s]] for s in np.flatnonzero(steps == step)]
        if ends:
            traces.append(
                points(len(people.xy))(
                    x=[value for end in ends for value in (x, float(end[0]), None)],
                    y=[value for end in ends for value in (y, float(end[1]), None)],
                    mode="lines",
                    line={"color": method_colour("perpcs"), "width": width},
                    opacity=0.45 + 0.1 * step,
                    hoverinfo="skip",
                    showlegend=False,
                    name="weight used",
                )
            )
    return traces


def _marks(
    people: People, colouring: Colouring, who: Sequence[int], number: dict[int, int], dark: bool
) -> list[BaseTraceType]:
    """Dots, or stars if ``number`` maps sharers to candidates."""
    if not len(who):
        return []
    stars = {candidate: sharer for sharer, candidate in number.items()}
    kind = "sharer" if stars else "candidate"
    base = {"size": 13 if stars else 6, "symbol": "star" if stars else "circle", "opacity": 1}
    groups: list[tuple[str, list[int], dict[str, object]]] = []
    if colouring.numbers is not None:
        known, blank = ([c for c in who if np.isfinite(colouring.numbers[c]) == told] for told in (True, False))
        groups.append((kind, blank, {"color": FAINT[dark]}))
        groups.append((kind, known, _scale(colouring, [float(colouring.numbers[c]) for c in known], bool(stars), dark)))
    else:
        order = list(dict.fromkeys(colouring.words))
        for place, word in enumerate(order):
            members = [c for c in who if colouring.words[c] == word]
            symbol = _SYMBOLS[place // 7 % len(_SYMBOLS)] if stars else "circle"
            groups.append((word, members, {"color": line_colour(place, dark), "symbol": symbol}))
    listed = colouring.numbers is None and len(groups) <= MOST_WORDS and bool(stars)
    ids = short_names([sharer.id for sharer in people.sharers])
    names = [f"<b>sharer {id}</b>" for id in ids]
    if people.names:
        names = [f"<b>{name}</b><br>sharer {id}" for name, id in zip(people.names, ids, strict=True)]
    return [
        points(len(people.xy))(
            x=[float(people.xy[c, 0]) for c in members],
            y=[float(people.xy[c, 1]) for c in members],
            mode="markers",
            name=name,
            showlegend=listed,
            customdata=[_about(people, names, colouring, c, stars.get(c)) for c in members],
            marker={**base, "line": {"width": 0.8, "color": INK[dark] if stars else PAPER[dark]}, **marker},
            hovertemplate="%{customdata[1]}<extra></extra>",
            unselected={"marker": {"opacity": 1}},
            selected={"marker": {"opacity": 1}},
        )
        for name, members, marker in groups
        if members
    ]


def _about(
    people: People, names: Sequence[str], colouring: Colouring, candidate: int, sharer: int | None
) -> tuple[int, str]:
    """(number of the sharer or -1, hover text)."""
    lines = [names[sharer] if sharer is not None else "a candidate who does not share"]
    terms = f": {', '.join(people.sharers[sharer].terms[:3])}" if sharer is not None else ""
    lines.append(f"cluster {people.clusters[candidate]}{terms}")
    lines.append(f"{people.items[candidate]} items")
    if colouring.words:
        lines.append(f"{colouring.title}: {colouring.words[candidate]}")
    elif colouring.numbers is not None and np.isfinite(colouring.numbers[candidate]):
        lines.append(f"{colouring.title}: {colouring.numbers[candidate]:.3g} {colouring.unit}".rstrip())
    return (-1 if sharer is None else sharer), "<br>".join(lines)


def _scale(colouring: Colouring, values: list[float], bar: bool, dark: bool) -> dict[str, object]:
    """The marker for numbers, on the studio's weight scale."""
    assert colouring.numbers is not None
    known = colouring.numbers[np.isfinite(colouring.numbers)]
    marker: dict[str, object] = {
        "color": values,
        "colorscale": weight_scale(dark),
        "cmin": float(min(known.min(), 0.0)) if len(known) else 0.0,
        "cmax": float(known.max()) if len(known) else 1.0,
    }
    if bar:
        title = f"{colouring.title}, {colouring.unit}".rstrip(", ")
        marker["colorbar"] = colour_bar(title, dark, length=0.34, side="top")
    return marker


def _rings(
    people: People, who: Sequence[int], name: str, marker: dict[str, object], colour: str, width: float
) -> list[BaseTraceType]:
    """One trace of rings, or no trace if the list is empty."""
    if not who:
        return []
    return [
        points(len(people.xy))(
            x=[float(people.xy[c, 0]) for c in who],
            y=[float(people.xy[c, 1]) for c in who],
            mode="markers",
            name=name,
            showlegend=name != "card",
            hoverinfo="skip",
            marker={**marker, "color": colour, "line": {"width": width}},
            unselected={"marker": {"opacity": 1}},
            selected={"marker": {"opacity": 1}},
        )
    ]


def _guest(guest: Guest, dark: bool) -> go.Scatter:
    x, y = guest.place or (0.0, 0.0)
    return go.Scatter(
        x=[x],
        y=[y],
        mode="markers",
        name=guest.name,
        showlegend=False,
        marker={"size": 17, "symbol": "diamond", "color": MARK, "line": {"width": 2, "color": PAPER[dark]}},
        hovertemplate=f"<b>{guest.name}</b><extra></extra>",
        unselected={"marker": {"opacity": 1}},
        selected={"marker": {"opacity": 1}},
    )


def _name(guest: Guest, dark: bool) -> dict[str, object]:
    """The annotation above the guest."""
    x, y = guest.place or (0.0, 0.0)
    return {
        "x": x,
        "y": y,
        "text": f"<b>{guest.name}</b>",
        "showarrow": False,
        "yshift": 19,
        "font": {"size": 14, "color": INK[dark]},
        "bgcolor": PAPER[dark],
        "opacity": 0.92,
        "borderpad": 2,
    }


def _layout(annotations: list[dict[str, object]], lasso: bool, dark: bool) -> dict[str, object]:
    # Axes are fixed except for the lasso: otherwise a finger scrolling the page would move the map.
    hidden = {"showticklabels": False, "showgrid": False, "zeroline": False, "ticks": "", "fixedrange": not lasso}
    return base_layout(
        dark,
        height=560,
        margin={"l": 4, "r": 4, "t": 6, "b": 62},
        clickmode="event+select",
        dragmode="lasso" if lasso else "pan",  # Streamlit's mode for clickable charts
        hovermode="closest",
        newselection={"line": {"color": INK[dark], "width": 2}},
        legend=legend_below(dark, 1, "right"),
        xaxis={**hidden, "range": [-1.1, 1.1]},
        yaxis={**hidden, "range": [-1.15, 1.15]},
        annotations=annotations,
    )


def people_csv(people: People, colouring: Colouring, guest: Guest | None) -> str:
    """Everyone on the map: place, cluster, items, sharer id, the colour's value, weight used."""
    rows: list[tuple[object, ...]] = []
    number = {int(candidate): s for s, candidate in enumerate(people.candidate)}
    for c in range(len(people.xy)):
        s = number.get(c)
        value = colouring.words[c] if colouring.words else "" if colouring.numbers is None else colouring.numbers[c]
        share = "" if guest is None or s is None else f"{guest.share[s]:.6g}"
        place = (f"{people.xy[c, 0]:.4f}", f"{people.xy[c, 1]:.4f}")
        rows.append(
            (*place, people.clusters[c], people.items[c], "" if s is None else people.sharers[s].id, value, share)
        )
    return csv_text(("x", "y", "cluster", "items", "sharer", colouring.title, "share_of_weight"), rows)
