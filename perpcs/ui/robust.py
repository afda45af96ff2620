"""The Results page's part on what performance depends on: how many share, how much, who, and how pieces are chosen."""

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import streamlit as st

from perpcs.errors import PerpcsError
from perpcs.evaluate.findings import Finding
from perpcs.evaluate.results import Measure, read_measure
from perpcs.figures.curve import title_of
from perpcs.figures.results import Band, bands_csv, bands_figure, brief_name
from perpcs.figures.robust import RULES, Dot, choices_title, dots_csv, dots_figure, gain_title, rules_title
from perpcs.pool.manifest import is_number, mapping
from perpcs.ui.chart import chart
from perpcs.ui.costs import bands_of
from perpcs.ui.errors import show_error
from perpcs.ui.found import csv_button, finding_of, made_by, part_of
from perpcs.ui.state import Studio
from perpcs.ui.theme import is_dark

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


def robustness_panel(engine: "Engine", record: Studio) -> None:
    """R2: likelihood against the number of sharers and the share ratio, with other sharers and other settings."""
    st.html('<h2 class="pp-part">What does performance depend on?</h2>')
    finding = finding_of(engine, "robustness")
    if finding is None:
        return
    task, found = part_of(finding, record.result[0])
    base = read_measure(found.get("base"))
    sharers, ratios = (bands_of(mapping(found.get(part)), "x") for part in ("sharers", "share_ratio"))
    if base is None or not sharers or not ratios:
        show_error(PerpcsError("results/robustness.json has no numbers.", f"Make it again with: {finding.command}."))
        return
    left, right = st.columns(2, gap="large")
    with left:
        few, many = sharers[0].sizes[0], sharers[0].sizes[-1]
        _lines(sharers, base, gain_title(sharers, base.mean, f"With {few:.0f} of {many:.0f} sharers"), "sharers")
    with right:
        least = f"With {100 * ratios[0].sizes[0]:.0f} % of each sharer’s pieces"
        _lines(ratios, base, gain_title(ratios, base.mean, least), "share ratio", percent=True)
    left, right = st.columns(2, gap="large")
    with left:
        selection = mapping(found.get("selection"))
        taken = selection.get("taken")
        dots = rule_dots(selection)
        if dots and is_number(taken):
            _dots(dots, base, rules_title(dots, int(taken)), "rules")
    with right:
        dots = choice_dots(found.get("choices"))
        if dots:
            _dots(dots, base, choices_title(dots), "choices")
    _note(finding, task, found)


def _lines(bands: list[Band], base: Measure, title: str, what: str, *, percent: bool = False) -> None:
    name = what.replace(" ", "-")
    figure = bands_figure(tuple(bands), what, percent=percent, base=base.mean, dark=is_dark())
    _figure(title, figure, name, bands_csv(bands, name))


def _dots(dots: list[Dot], base: Measure, title: str, name: str) -> None:
    _figure(title, dots_figure(tuple(dots), base.mean, dark=is_dark()), name, dots_csv(dots))


def _figure(title: str, figure: Any, name: str, csv: str) -> None:
    """A figure under its main finding, and its numbers."""
    st.html(f"<h3>{escape(title)}</h3>")
    chart(figure, name, title)
    csv_button(name, csv, "CSV of this figure")


def _note(finding: Finding, task: str, found: Mapping[str, Any]) -> None:
    st.html(
        f'<p class="pp-quiet">{escape(title_of(task))}, n = {escape(str(found.get("users")))} people, the same queries '
        "everywhere. Whiskers: 95 % intervals over people. Dotted line: the base model. Fewer sharers are drawn at "
        "random, the few among the many. Surely: by an interval of the difference, person by person, that excludes "
        "0.</p>"
    )
    made_by(finding)


def rule_dots(selection: Mapping[str, Any]) -> list[Dot]:
    """A dot for each rule and router; malformed ones are left out."""
    dots = []
    for rule, name in RULES.items():
        for method, cell in mapping(mapping(selection.get("rules")).get(rule)).items():
            value = read_measure(cell)
            if value is not None:
                dots.append(Dot(name, str(method), value.mean, value.low, value.high))
    return dots


def choice_dots(rows: Any) -> list[Dot]:
    """A dot for each setting; malformed ones are left out."""
    dots = []
    for row in rows if isinstance(rows, list) else ():
        cell = mapping(row)
        value, differs = read_measure(cell.get("nll")), read_measure(cell.get("minus_default"))
        if value is None:
            continue
        how = "" if differs is None else "better" if differs.high < 0 else "worse" if differs.low > 0 else ""
        method, choice = str(cell.get("method")), str(cell.get("choice") or "default")
        dots.append(Dot(f"{brief_name(method)}: {choice}", method, value.mean, value.low, value.high, how))
    return dots
