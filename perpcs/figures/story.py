"""The figure of the overview: from one example's history to an answer, in five steps.

    1 history  ->  2 scores  ->  3 pieces  ->  4 assembled model  ->  5 answer

Steps 2 to 4 are drawn from the stored assembly: one position's scores, the pieces chosen there, all P x S weights.

With it two smaller ones: how small a personal model is, as areas to scale, and the steps of becoming a sharer.
"""

import html
from dataclasses import dataclass

import numpy as np

from perpcs.assembly.record import Assembly
from perpcs.figures.assembly_map import live_map
from perpcs.figures.columns import column_order, largest_piece, short_names
from perpcs.figures.style import MARK, bytes_text, method_colour, ratio_text
from perpcs.pool.manifest import Sharer
from perpcs.tasks import Item, Query

# ---- the story -------------------------------------------------------------------------------------------------------


SLIPS = 2
"""Items of the history that the figure shows."""
STEPS = ("History", "Scores", "Pieces", "Assembled model", "Answer")


@dataclass(frozen=True)
class Story:
    """What the five steps are drawn from."""

    name: str
    history: tuple[Item, ...]
    assembly: Assembly
    sharers: tuple[Sharer, ...]
    user_bytes: int
    query: Query | None = None
    names: tuple[str, ...] = ()
    """What each sharer is called, in the order of ``sharers``; () = short ids."""
    fit: str = ""
    """The fit check in a sentence; empty if there is none."""
    answers: tuple[tuple[str, str, str], ...] = ()
    """(method, title, text) of answers to the query that are stored with the pool, the personal model's last; may
    be empty.
    """

    @property
    def position(self) -> int:
        """The position that steps 2 and 3 show: the one with the largest weight."""
        return largest_piece(self.assembly)[0]


def story_html(story: Story, *, step: int | None = None, dark: bool = False) -> str:
    """The figure as HTML. ``step`` (0 to 4) highlights one step; None shows all of them equally."""
    drawn = (_history(story), _scores(story), _pieces(story), _assembled(story, dark), _answer(story))
    cards = []
    for index, (title, (body, caption)) in enumerate(zip(STEPS, drawn, strict=True)):
        state = "" if step is None else " pp-on" if index == step else " pp-off"
        cards.append(
            f'<li class="pp-step{state}"><div class="pp-step-head"><span class="pp-num">{index + 1}</span>'
            f"{title}</div><div class='pp-step-body'>{body}</div><p class='pp-cap'>{caption}</p></li>"
        )
    return f'<ol class="pp-story" aria-label="How {html.escape(story.name)} is assembled">{"".join(cards)}</ol>'


def explanation(story: Story, step: int) -> str:
    """One or two sentences on a step, with this example's numbers."""
    a = story.assembly
    router = str(a.router.get("router", "gate"))
    compared = f"the {router}"
    k, position = a.choices.shape[2], a.positions[story.position]
    gated = a.router.get("start") == "gates"
    backwards = " twice: for the gates, then forwards and backwards." if gated else " once, forwards and backwards."
    read = "No network is trained on them; the base model reads them" + (
        " once." if a.additive else backwards if router in ("newton", "gradient") else "."
    )
    by_activation = (
        f"At {position}, the activations of {story.name}'s words are compared with {compared} of each of "
        f"{len(a.sharers)} sharers. A higher bar means that this sharer's piece fits these words better.",
        f"Each item selects its best {k} pieces and weights them; the weight shown is the mean over {a.n_items} items. "
        "Selected pieces act at once, so later layers already read personalised activations.",
    )
    fitted = (
        f"The weights alone follow that slope in {a.router.get('steps', 1)} small steps, at all positions together. "
        "Shown: the final weights at this position."
    )
    solved = (
        "From these numbers for every item and piece, one linear system "
        + ("corrects the gates' weights" if gated else "gives the weights")
        + " at all positions together (a damped Gauss-Newton step), so that every item's loss should fall equally. "
        "Shown: the largest weights here."
    )
    below = " A negative weight subtracts a sharer's piece." if (a.weights < 0).any() else ""
    by_loss = (
        f"At {position}, one backward pass shows, for the piece of each of {len(a.sharers)} sharers, how much the loss "
        f"on {story.name}'s own words falls with its weight. A higher bar means that this sharer's piece helps more.",
        solved + below
        if router == "newton"
        else fitted + below
        if router.startswith("fit")
        else f"The {k} pieces that help most share this position.",
    )
    blind = (
        f"The router “{a.router.get('router')}” scores the {len(a.sharers)} sharers without running the model.",
        f"The weights at {position}.",
    )
    return (
        f"{a.n_items} past items of {story.name}. {read}",
        *{"votes": by_activation, "loss": by_loss}.get(a.decided_by, blind),
        f"All {len(a.positions)} positions together give {len(a.positions)} × {len(a.sharers)} weights. That table is "
        f"{story.name}'s whole personal model: {bytes_text(story.user_bytes)}. {story.fit}".rstrip(),
        f"The base model does not change; the weights say how much of each piece to add when writing as {story.name}.",
    )[step]


def _clip(text: str, chars: int) -> str:
    flat = " ".join(text.split())
    return html.escape(flat if len(flat) <= chars else flat[: chars - 1].rstrip() + "…")


def _history(story: Story) -> tuple[str, str]:
    slips = []
    for item in story.history[-SLIPS:]:
        given = f"<small>{_clip(item.x, 54)}</small>" if item.y is not None else ""
        slips.append(f'<div class="pp-slip">{given}<b>{_clip(item.y or item.x, 58)}</b></div>')
    return "".join(slips), f"the last {len(slips)} of {story.assembly.n_items} items"


def _scores(story: Story) -> tuple[str, str]:
    a, p = story.assembly, story.position
    columns = column_order(a.weights, story.sharers, "cluster")
    scores = a.scores[p]
    low, span = float(scores.min()), float(np.ptp(scores)) or 1.0
    chosen = set(np.argsort(-np.abs(a.weights[p]), kind="stable")[: a.choices.shape[2]].tolist())
    heights = {s: 5 + 95 * (float(scores[s]) - low) / span for s in columns}
    bars = "".join(
        f'<i class="{"pp-top" if s in chosen else ""}" style="height:{heights[s]:.0f}%"></i>' for s in columns
    )
    figure = f'<div class="pp-scores" role="img" aria-label="Scores of all sharers at one position">{bars}</div>'
    return figure, f"{len(columns)} sharers at {html.escape(a.positions[p])}"


def _pieces(story: Story) -> tuple[str, str]:
    a, p = story.assembly, story.position
    order = np.argsort(-np.abs(a.weights[p]), kind="stable")[:5]
    largest, names = abs(float(a.weights[p, order[0]])) or 1.0, story.names or short_names(a.sharers)
    rows = "".join(
        f'<div class="pp-bar"><span class="pp-who" title="sharer {html.escape(a.sharers[s])}">'
        f"{html.escape(names[s])}</span>"
        f"<i{' class=pp-below' if a.weights[p, s] < 0 else ''} "
        f'style="width:{100 * abs(a.weights[p, s]) / largest:.0f}%"></i><span>{a.weights[p, s]:.2f}</span></div>'
        for s in order.tolist()
        if a.weights[p, s] != 0
    )
    return rows, "weights of the pieces selected there" if a.additive else "the largest weights there"


def _assembled(story: Story, dark: bool) -> tuple[str, str]:
    a = story.assembly
    columns = column_order(a.weights, story.sharers, "cluster")
    svg = live_map(a.weights, columns, done=len(a.positions), dark=dark, label="All weights of the assembled model")
    return svg, f"{len(a.positions)} × {len(a.sharers)} weights = {bytes_text(story.user_bytes)}"


def _answer(story: Story) -> tuple[str, str]:
    if story.query is None:
        return "", "no held-out item"
    body = f'<div class="pp-slip pp-ask"><small>{_clip(story.query.x, 28)}</small></div>'
    said = [(method_colour(method), title, text) for method, title, text in story.answers[:3]]
    if not said and story.query.gold:
        said = [(MARK, f"what {story.name} wrote", story.query.gold)]
    for at, (colour, title, text) in enumerate(said, start=1):
        room = 76 if at == len(said) else 50  # the personal model's answer should be complete
        body += (
            f'<div class="pp-slip pp-said" style="border-color:{colour}"><small>{html.escape(title)}</small>'
            f"<b>{_clip(text, room)}</b></div>"
        )
    return body, "a held-out item" if story.answers else "a held-out item; ask it on Compare"


# ---- size ------------------------------------------------------------------------------------------------------------


SIDE = 104
"""Pixels of the larger square's side."""


def size_html(user_bytes: int, adapter_bytes: int) -> str:
    """Two squares whose areas are the two sizes, to scale."""
    small = SIDE * (user_bytes / adapter_bytes) ** 0.5
    label = f"Areas to scale: {bytes_text(adapter_bytes)} against {bytes_text(user_bytes)}"
    return (
        f'<div class="pp-size" role="img" aria-label="{label}">{_square(SIDE, "oppu")}'
        f"<p><b>{bytes_text(adapter_bytes)}</b><br>an adapter trained<br>for one person</p>"
        f"{_square(small, 'perpcs')}<p><b>{bytes_text(user_bytes)}</b>, {ratio_text(user_bytes, adapter_bytes)}<br>"
        "one person’s weights<br>(areas to scale)</p></div>"
    )


def _square(side: float, method: str) -> str:
    return f'<i style="width:{side:.1f}px;height:{side:.1f}px;background:{method_colour(method)}"></i>'


# ---- steps of sharing ------------------------------------------------------------------------------------------------


SHARING_STEPS = ("Check the text", "Train pieces", "Train gates", "Choose", "See what leaves", "In the copy")


def steps_html(now: int) -> str:
    """The line with one step marked as the present one; ``now`` = number of steps when all are done."""
    cells = []
    for index, title in enumerate(SHARING_STEPS):
        state, said = (
            ("pp-done", "done") if index < now else ("pp-now", "now") if index == now else ("pp-later", "later")
        )
        current = ' aria-current="step"' if index == now else ""
        cells.append(
            f'<li class="{state}"{current}><span class="pp-num" aria-hidden="true">{"✓" if index < now else index + 1}'
            f'</span>{title}<span class="pp-hidden">, {said}</span></li>'
        )
    return f'<ol class="pp-steps" aria-label="Steps of sharing">{"".join(cells)}</ol>'
