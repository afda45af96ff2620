"""Shared by all parts of the Results page: reading a result, naming its source, its CSV."""

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import streamlit as st

from perpcs.evaluate.findings import Finding, read_finding
from perpcs.pool.manifest import mapping
from perpcs.ui import card

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


def finding_of(engine: "Engine", name: str) -> Finding | None:
    """A result; if there is none, or it belongs to another pool, the page says so."""
    finding = read_finding(card.RESULTS, name)
    if finding is None:
        st.html(
            f'<p class="pp-note">There is no results/{name}.json yet. Make it with '
            f"<code>perpcs experiment {name} --pool {escape(engine.pool.manifest.name)}</code>.</p>"
        )
    elif finding.pool_hash != engine.pool.hash:
        st.html(
            f'<p class="pp-note">Measured with the pool {escape(finding.pool)} '
            f"<code>{escape(finding.pool_hash[:8])}</code>, not with the open one, "
            f"{escape(engine.pool.manifest.name)} <code>{engine.pool.hash[:8]}</code>.</p>"
        )
    return finding


def part_of(finding: Finding, wanted: str) -> tuple[str, Mapping[str, Any]]:
    """The part of a result about the wanted task, else about its first one: the task and its data."""
    tasks = mapping(finding.data.get("tasks"))
    task = wanted if wanted in tasks else next(iter(tasks), "")
    return task, mapping(tasks.get(task))


def made_by(finding: Finding) -> None:
    where = f"results/{finding.experiment}.json, {finding.date}, commit {finding.commit[:13] or 'unknown'}"
    st.html(f'<p class="pp-quiet pp-made">{escape(where)}. Reproduce with: <code>{escape(finding.command)}</code></p>')


def csv_button(name: str, text: str, label: str) -> None:
    st.download_button(
        label,
        text,
        f"perpcs-{name}.csv",
        "text/csv",
        on_click="ignore",
        key=f"csv-{name}",
        type="tertiary",
        icon=":material/table:",
    )
