"""How a pool was made, as rows and sentences from its manifest, and losses during training; what the manifest lacks is
left out.

The losses of a training that is watched are plain HTML, because it is redrawn at every step.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from perpcs.figures.style import FAINT, PAPER, base_layout, bytes_text, csv_text
from perpcs.pool.manifest import Manifest, is_number, mapping
from perpcs.tasks import TASKS

# ---- the base model's training ---------------------------------------------------------------------------------------


ALL = "All held-out texts"
"""The single line of a pool whose curve is not split by task."""
UNIT = "nats per target token"
BARE = "bare"
"""The group of a task whose prompts contain no personal text."""
_ON_LIGHT = ("#332288", "#117733", "#AA4499", "#882255", "#8A7A1B", "#C4515F", "#2F7F73")
_ON_DARK = ("#88CCEE", "#DDCC77", "#CC6677", "#44AA99", "#E0A3D3", "#B5BD4C", "#A9A2E8")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "triangle-down")

Lines = Mapping[str, Sequence[tuple[int, float]]]
"""Title of a line -> (training step, nats per target token), in the order of steps."""


def curve_lines(curve: Any) -> dict[str, list[tuple[int, float]]]:
    """The lines of a card's curve: one per task if the groups are separate, else the mean over all held-out texts.

    Args:
        curve: ``card["base"]["curve"]``, a list of {step, held_out, groups}; what is missing or malformed is left out.
    """
    points = [point for point in curve if isinstance(point, Mapping)] if isinstance(curve, list | tuple) else []
    by_task: dict[str, list[tuple[int, float]]] = {}
    together: list[tuple[int, float]] = []
    for point in points:
        step, groups = point.get("step"), point.get("groups")
        if not is_number(step):
            continue
        if is_number(point.get("held_out")):
            together.append((int(step), float(point["held_out"])))
        for name, value in groups.items() if isinstance(groups, Mapping) else ():
            task, _, shows = str(name).partition(" ")
            if shows == BARE and is_number(value):
                by_task.setdefault(task, []).append((int(step), float(value)))
    found = {title_of(task): line for task, line in by_task.items()} or {ALL: together}
    return {title: sorted(line) for title, line in found.items() if line}


def curve_title(lines: Lines) -> str:
    """The takeaway: how the loss changed from the first to the last measured step; empty if there is no line."""
    if not lines:
        return ""
    first, last = min(line[0][0] for line in lines.values()), max(line[-1][0] for line in lines.values())
    ends = {title: line[-1][1] for title, line in lines.items()}
    if first == last:
        return f"At step {last:,} the held-out loss is {_span(ends)} {UNIT}"
    when = f"From step {first:,} to {last:,} the held-out loss"
    if len(lines) == 1:
        before, after = next(iter(lines.values()))[0][1], next(iter(ends.values()))
        how = "fell" if after < before else "rose" if after > before else "stayed"
        return f"{when} {how} from {before:.2f} to {after:.2f} {UNIT}"
    fell = sum(line[-1][1] < 0.95 * line[0][1] for line in lines.values())  # less is noise, not learning
    for_whom = f"all {len(lines)}" if fell == len(lines) else f"{fell} of {len(lines)}"
    return f"{when} fell for {for_whom} tasks and ended {_span(ends)} {UNIT}"


def curve_figure(lines: Lines, *, dark: bool = False) -> go.Figure:
    """The lines over training steps; lines differ in colour, dash and mark, none in the colour of a method."""
    figure = go.Figure()
    for index, (title, line) in enumerate(lines.items()):
        figure.add_trace(
            go.Scatter(
                x=[step for step, _ in line],
                y=[value for _, value in line],
                name=title,
                mode="lines+markers",
                line={"color": line_colour(index, dark), "width": 2, "dash": _DASHES[index % 7]},
                marker={"symbol": _SYMBOLS[index % 7], "size": 6, "line": {"width": 1, "color": PAPER[dark]}},
                hovertemplate=f"{title}<br>step %{{x:,}}: %{{y:.3f}} {UNIT}<extra></extra>",
            )
        )
    figure.update_layout(
        base_layout(
            dark,
            height=300 + 12 * len(lines),
            margin={"l": 8, "r": 16, "t": 36, "b": 44},
            dragmode=False,
            showlegend=True,
            legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom"},
        )
    )
    figure.update_xaxes(title_text="training step", tickformat=",", rangemode="tozero")
    figure.update_yaxes(
        title_text=UNIT, rangemode="tozero", showgrid=True, gridcolor=FAINT[dark], automargin=True, nticks=6
    )
    return figure


def curve_csv(lines: Lines) -> str:
    """The figure's numbers: line, step, nats per target token."""
    rows = [(title, step, f"{value:.6g}") for title, line in lines.items() for step, value in line]
    return csv_text(("held_out", "step", "nats_per_target_token"), rows)


def line_colour(index: int, dark: bool) -> str:
    """The colour of a line, at least 3:1 against the background."""
    return (_ON_DARK if dark else _ON_LIGHT)[index % 7]


def title_of(task: str) -> str:
    """A task's title on the screen."""
    return TASKS[task].title if task in TASKS else task


def _span(ends: Mapping[str, float]) -> str:
    """``0.51``, or the lowest and the highest value with the names of their lines."""
    low, high = min(ends, key=ends.__getitem__), max(ends, key=ends.__getitem__)
    if len(ends) == 1:
        return f"{ends[low]:.2f}"
    return f"between {ends[low]:.2f} ({low.lower()}) and {ends[high]:.2f} ({high.lower()})"


# ---- a training that is watched --------------------------------------------------------------------------------------


BARS = 48


def loss_strips(curves: Mapping[str, Sequence[tuple[int, float]]], steps: int = 0) -> str:
    """The curves one below the other, each with its first and its latest value.

    Args:
        curves: (step, nats per target token) by name.
        steps: of the whole training; bars fill the width as steps are done. 0 = the steps so far.
    """
    return "".join(_strip(name, points, steps) for name, points in curves.items() if points)


def _strip(name: str, points: Sequence[tuple[int, float]], steps: int) -> str:
    last = max(points[-1][0], steps, 1)
    bins: list[list[float]] = [[] for _ in range(min(BARS, max(len(points), 2)))]
    for step, loss in points:
        bins[min(len(bins) - 1, step * len(bins) // (last + 1))].append(loss)
    top = max(loss for _, loss in points)
    bars = "".join(f'<i style="height:{_height(bin_, top):.0f}%"></i>' for bin_ in bins)
    first, newest = points[0][1], points[-1][1]
    said = f"{name} loss from {first:.3f} to {newest:.3f} nats per token, step {points[-1][0]} of {last}"
    return (
        f'<div class="pp-loss" role="img" aria-label="{escape(said)}"><small>{escape(name)}: {first:.2f} → {newest:.2f}'
        f"</small><div>{bars}</div></div>"
    )


def _height(losses: Sequence[float], top: float) -> float:
    """Height in per cent; existing bars are always visible."""
    return max(3.0, 100 * sum(losses) / len(losses) / top) if losses and top > 0 else 0.0


# ---- the card --------------------------------------------------------------------------------------------------------


Fact = tuple[str, str]
"""A number and the words that say what it counts, both plain text."""


def base_card(manifest: Manifest) -> Mapping[str, Any]:
    """The card's part on the base model; empty if it has none."""
    return mapping(manifest.card.get("base"))


def data_text(manifest: Manifest) -> str:
    """What the pool was made from, as its maker wrote it; empty where they wrote nothing."""
    data = manifest.card.get("data")
    return data.strip() if isinstance(data, str) else ""


def limits(manifest: Manifest) -> tuple[str, ...]:
    """What the pool's maker says it cannot do."""
    found = manifest.card.get("limits")
    return tuple(str(limit) for limit in found) if isinstance(found, list | tuple) else ()


def people_rows(manifest: Manifest, examples: Mapping[str, int]) -> list[tuple[str, str, str, str, str]]:
    """Per task: its title, base users, candidates, sharers, example people; a dash where a number is not known."""
    base = mapping(manifest.users.get("base"))
    rows = []
    for pool in manifest.tasks:
        counts = (base.get(pool.task), pool.candidates, pool.sharers, examples.get(pool.task))
        first, *others = (f"{count:,}" if is_number(count) else "–" for count in counts)
        rows.append((title_of(pool.task), first, *others))
    return rows  # type: ignore[return-value]


def base_facts(manifest: Manifest) -> list[Fact]:
    """Size and training of the base model in numbers."""
    base = base_card(manifest)
    settings = mapping(base.get("settings"))
    facts = []
    if is_number(base.get("parameters")):
        facts.append((f"{base['parameters'] / 1e6:.3g} M", "parameters"))
    layers = settings.get("layers")
    if is_number(layers):
        facts.append((f"{layers:,}", "layers"))
    else:
        facts.append((f"{len({position.layer for position in manifest.positions})}", "adapted layers"))
    sizes = (("width", "width"), ("vocabulary", "tokens in the vocabulary"), ("max_tokens", "tokens at once"))
    for key, words in sizes:
        if is_number(settings.get(key)):
            facts.append((f"{settings[key]:,}", words))
    lessons = base.get("lessons", base.get("pairs"))
    if is_number(lessons) and lessons:
        facts.append((f"{lessons:,}", "texts by base users, used to adapt it"))
    if is_number(base.get("padded_tokens_seen")):
        facts.append((_short(base["padded_tokens_seen"]), "training tokens, padding included"))
    return facts


def base_sentences(manifest: Manifest) -> list[str]:
    """Where the base model comes from and how it was adapted to the tasks."""
    base = base_card(manifest)
    said = []
    if isinstance(base.get("from"), str):
        said.append(f"Based on {base['from']}.")
    losses = base.get("losses")
    adaptation = mapping(base.get("adaptation"))
    if isinstance(losses, list) and losses and all(map(is_number, losses)):
        rank, epochs = adaptation.get("rank"), adaptation.get("epochs")
        how = f" of rank {rank}" if is_number(rank) else ""
        how += f" in {epochs} epoch{'s' if epochs != 1 else ''}" if is_number(epochs) else ""
        said.append(
            f"Adapted to the tasks on base users’ texts with one LoRA{how}, merged into its weights: training loss "
            f"from {losses[0]:.2f} to {losses[-1]:.2f} nats per target token."
        )
    elif base.get("pairs") == 0:
        said.append("Used as it is: it was not adapted to the tasks.")
    return said


def piece_facts_of(manifest: Manifest, pool_bytes: int) -> list[Fact]:
    """Rank, alpha, positions, sharers per task and bytes."""
    number = {"float32": 4, "int8": 1}.get(manifest.dtype, 2)
    own = manifest.adapter_bytes // 2 * number
    modules = list(dict.fromkeys(position.module for position in manifest.positions))
    layers = len({position.layer for position in manifest.positions})
    tasks = len(manifest.tasks)
    return [
        (f"{manifest.rank}", "rank of a piece"),
        (f"{manifest.alpha:g}", f"alpha: a piece is multiplied by alpha / rank = {manifest.scale:g}"),
        (f"{len(manifest.positions)}", f"positions: {layers} layers, {', '.join(modules)}"),
        (_range(pool.sharers for pool in manifest.tasks), f"sharers per task, {tasks} task{'s' if tasks != 1 else ''}"),
        (bytes_text(own), f"all pieces of one sharer, {manifest.dtype}"),
        (bytes_text(pool_bytes), "the whole pool on disk"),
    ]


def training_sentences(manifest: Manifest) -> list[str]:
    """How pieces and gates were trained: one sentence if all tasks agree."""
    by_text: dict[str, list[str]] = {}
    for pool in manifest.tasks:
        parts = [_settings(name, mapping(pool.training.get(name))) for name in ("pieces", "gates")]
        parts.append(_distilled(mapping(pool.training.get("distil"))))
        text = ". ".join(part for part in parts if part)
        if text:
            by_text.setdefault(text, []).append(title_of(pool.task))
    if [len(tasks) for tasks in by_text.values()] == [len(manifest.tasks)]:
        return [f"Trained per sharer with the base model frozen. {next(iter(by_text))}."]
    return [f"{', '.join(tasks)}: {text}." for text, tasks in by_text.items()]


def _settings(what: str, settings: Mapping[str, Any]) -> str:
    """``pieces: 3 epochs, batches of 4, learning rate 0.002``."""
    words = (("epochs", "{:g} epochs"), ("steps", "{:g} steps"), ("batch", "batches of {:g}"))
    parts = [text.format(settings[key]) for key, text in words if is_number(settings.get(key))]
    parts = ["1 epoch" if part == "1 epochs" else part for part in parts]
    if is_number(settings.get("rate")):
        parts.append(f"learning rate {settings['rate']:g}")
    return f"{what.capitalize()}: {', '.join(parts)}" if parts else ""


def _distilled(settings: Mapping[str, Any]) -> str:
    """``Distilled gates: fitted on 8 items of each of at most 200 candidates who share nothing, ridge 0.3``."""
    items, people, ridge = (settings.get(key) for key in ("items", "people", "ridge"))
    if not (is_number(items) and is_number(people) and is_number(ridge)):
        return ""
    whom = f"each of at most {people:,} candidates who share nothing"
    return f"Distilled gates: fitted on {items:,} items of {whom}, ridge {ridge:g}"


HELD_OUT = {"people": "new people", "clusters": "from new clusters"}
"""Groups that P2P's network was not trained on, in words."""
PROFILES = {"base": "no profile", "own": "own profile", "shuffled": "someone else’s"}


def hypernet_rows(manifest: Manifest) -> list[tuple[str, ...]]:
    """Per task and group that P2P's network was not trained on: title, which group and how many, and nats per target
    token with each kind of ``PROFILES``; a dash where a number is not known.
    """
    rows = []
    learned = mapping(manifest.hypernet.get("tasks"))
    for pool in manifest.tasks:
        said = mapping(learned.get(pool.task))
        held = mapping(said.get("held_out"))
        for group, words in HELD_OUT.items():
            final = mapping(mapping(said.get("final")).get(group))
            if is_number(held.get(group)) and final:
                losses = (f"{final[kind]:.3f}" if is_number(final.get(kind)) else "–" for kind in PROFILES)
                rows.append((title_of(pool.task), f"{held[group]:,} {words}", *losses))
    return rows


def hypernet_sentence(manifest: Manifest) -> str:
    """How many people P2P's network was trained on, and what the test people were used for."""
    counts = (mapping(said).get("people") for said in mapping(manifest.hypernet.get("tasks")).values())
    learned = [int(count) for count in counts if is_number(count)]
    return (
        f"One network for all tasks, trained on {_range(learned)} other candidates per task. The people it is tested "
        "on here also set the length of training; the people in the quality tables played no part."
    )


def _range(counts: Iterable[int]) -> str:
    some: Sequence[int] = sorted(set(counts))
    return "–" if not some else f"{some[0]}" if len(some) == 1 else f"{some[0]} to {some[-1]}"


def _short(count: float) -> str:
    return f"{count / 1e9:.3g} G" if count >= 1e9 else f"{count / 1e6:.3g} M" if count >= 1e6 else f"{count:,.0f}"
