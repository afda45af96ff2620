"""The model card of the pool: data, base model, pieces, measured quality, limits. It runs no model."""

from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from perpcs.errors import PerpcsError
from perpcs.evaluate.findings import Evaluation, Measure, commands, read_evaluations
from perpcs.figures import model_card as rows
from perpcs.figures.model_card import ALL, curve_csv, curve_figure, curve_lines, curve_title, title_of
from perpcs.tasks import TASKS
from perpcs.ui.engine import DEFAULT_POOL, results_folder
from perpcs.ui.widgets import NO_GROUP_TWICE, NOT_SAID, chart, is_dark, stat_row, table_html, term

if TYPE_CHECKING:
    from perpcs.pool.manifest import Manifest
    from perpcs.serve.engine import Engine


"""Where ``perpcs evaluate`` writes; the card reads nothing else."""
_METRICS = {"accuracy": "accuracy", "mae": "MAE", "rouge-L": "ROUGE-L"}
_METHODS = {
    "base": ("base model", "Base model"),
    "rag": ("RAG", "RAG"),
    "perpcs": ("Per-Pcs", "Per-Pcs"),
    "wrong": ("wrong user", "Per-Pcs, wrong user"),
    "oppu": ("OPPU", "OPPU"),
    "majority": ("majority", "Majority answer"),
    "oracle": ("oracle", "Oracle"),
}
_GRID = "display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:1.4rem 2.6rem"


def model_card(engine: "Engine") -> None:
    """The section at the end of Overview: what the pool is, from its manifest and results/."""
    manifest = engine.pool.manifest
    st.container(key="part-card").html('<h2 id="model-card" style="margin-top:1.6rem">What this pool is</h2>')
    lines = curve_lines(rows.base_card(manifest).get("curve"))
    left, right = st.columns([0.5, 0.5], gap="large") if lines else (st.container(), None)
    left.html(_data(engine))
    left.html(_base(manifest))
    if right is not None:
        with right:
            _curve(manifest.name, lines)
    facts = ((escape(number), escape(words)) for number, words in rows.piece_facts_of(manifest, engine.pool_bytes))
    how = " ".join(rows.training_sentences(manifest))
    st.html(f"<h3>{term('piece', 'Pieces')}</h3>{stat_row(facts, 'Facts about the pieces')}{_quiet(escape(how))}")
    st.html(_hypernet(manifest) + _quality(manifest, read_evaluations(results_folder(), engine.pool.hash)))
    st.html(_limits(manifest))


def _data(engine: "Engine") -> str:
    """What it was made from, and how many people had each role."""
    manifest = engine.pool.manifest
    counts: dict[str, int] = {}
    for pool in manifest.tasks:
        try:
            counts[pool.task] = len(engine.pool.examples(pool.task))
        except PerpcsError:
            continue  # told where the examples are shown
    head = ("task", "base users", "candidates", term("sharer", "sharers"), "example people")
    table = table_html(
        "People of the pool, by task",
        head,
        ([escape(cell) for cell in row] for row in rows.people_rows(manifest, counts)),
    )
    return (
        f"<h3>Data and people</h3><p>{escape(rows.data_text(manifest) or NOT_SAID)}</p>{table}"
        f"{_quiet(f'Numbers of people. Sharers were selected from the candidates. {escape(NO_GROUP_TWICE)}')}"
    )


def _base(manifest: "Manifest") -> str:
    facts = ((escape(number), escape(words)) for number, words in rows.base_facts(manifest))
    said = " ".join(rows.base_sentences(manifest))
    return (
        f"<h3>{term('base model', 'Base model')}</h3>{stat_row(facts, 'Facts about the base model')}"
        f"{_quiet(escape(said))}"
    )


def _curve(name: str, lines: dict[str, list[tuple[int, float]]]) -> None:
    """The held-out curve of the base model's training under its takeaway, drawn when the visitor opens it.

    This way the first page that people see loads no chart library.
    """
    title = curve_title(lines)
    st.html(f"<h3>{escape(title)}</h3>")
    box = st.expander("The training curve", key="curve-box", on_change="rerun")
    if not box.open:
        return
    with box:
        chart(curve_figure(lines, dark=is_dark()), "base-curve", title, file=f"perpcs-{name}-base-curve")
        shown = "" if ALL in lines else "; the prompts contain no personal text"
        st.html(_quiet(f"The base model alone, on texts that were {term('held out')}{shown}."))
        st.download_button(
            "CSV of this curve",
            curve_csv(lines),
            f"perpcs-{name}-base-curve.csv",
            "text/csv",
            on_click="ignore",
            key="curve-csv",
            type="tertiary",
            icon=":material/table:",
        )


def _hypernet(manifest: "Manifest") -> str:
    """How P2P's network does on people it was not trained on; empty if the pool has none."""
    found = rows.hypernet_rows(manifest)
    if not found:
        return ""
    head = ("task", "tested on", *rows.PROFILES.values())
    table = table_html(
        f"{term('NLL')} in nats per target token, lower is better",
        head,
        ([escape(cell) for cell in row] for row in found),
    )
    said = _quiet(escape(rows.hypernet_sentence(manifest)))
    return f"<h3>{term('P2P', 'P2P’s network')}</h3>{table}{said}"


def _quality(manifest: "Manifest", measured: dict[str, Evaluation]) -> str:
    """A table per measured task; if there is none, the command that makes it."""
    tasks = [pool.task for pool in manifest.tasks]
    there = [measured[task] for task in tasks if task in measured]
    missing = [task for task in tasks if task not in measured]
    parts = ["<h3>Quality</h3>"]
    if there:
        metrics = list(dict.fromkeys(_METRICS[TASKS[one.task].metric] for one in there))
        parts.append(
            _quiet(
                f"Means over people, with the {term('interval', '95 % interval')} in brackets. "
                f"{', '.join(map(term, metrics))}; {term('NLL')} in nats per target token. Held-out people, greedy "
                "decoding."
            )
        )
        parts.append(f'<div style="{_GRID};margin-top:0.8rem">{"".join(map(_quality_table, there))}</div>')
    if missing:
        town = "town_seed" in manifest.users or manifest.name == DEFAULT_POOL
        typed = commands(missing[0], town=town, shipped=manifest.name == DEFAULT_POOL)
        which = f" for {', '.join(title_of(task).lower() for task in missing)}" if there else ""
        then = ", then ".join(f"<code>{escape(line)}</code>" for line in typed)
        parts.append(
            '<p class="pp-note" style="overflow-wrap:anywhere;margin-top:0.6rem"><code>results/</code> has no '
            f"evaluation of this pool{escape(which)}. Make one: {then}{', task by task' if missing[1:] else ''}.</p>"
        )
    return "".join(parts)


def _quality_table(one: Evaluation) -> str:
    metric = TASKS[one.task].metric
    body = []
    for row in one.rows:
        word, shown = _METHODS[row.kind]
        name = term(word, f"{shown} ({row.variant})" if row.variant else shown)
        body.append([name, _measure(row.metric, one.users), _measure(row.nll, one.users)])
    caption = (
        f"<b>{escape(title_of(one.task))}</b>, n = {one.users:,} people, {one.queries:,} queries "
        f'<small class="pp-quiet">from results/{escape(one.file)}</small>'
    )
    sense = "lower" if metric == "mae" else "higher"
    measure = f"{_METRICS[metric]}<br><small>{sense} is better</small>"
    head = ("method", measure, "NLL<br><small>lower is better</small>")
    return table_html(caption, head, body)


def _measure(value: Measure | None, users: int) -> str:
    """``0.503 [0.455, 0.550]``; with its own n if some people are missing."""
    if value is None:
        return '<span aria-label="not measured">–</span>'
    count = f", n = {value.people:,}" if value.people != users else ""
    return (
        f'<span style="white-space:nowrap">{value.mean:.3f}</span> <small class="pp-quiet" style="white-space:nowrap">'
        f"[{value.low:.3f}, {value.high:.3f}]{count}</small>"
    )


def _limits(manifest: "Manifest") -> str:
    said = rows.limits(manifest)
    items = "".join(f'<li style="list-style:disc;margin-left:1.2rem">{escape(limit)}</li>' for limit in said)
    limits = f'<ul class="pp-prose">{items}</ul>' if said else f"<p>{NOT_SAID}</p>"
    licence = escape(manifest.licence) or NOT_SAID
    return f'<h3>Limits</h3>{limits}<h3 style="margin-top:0.8rem">Licence</h3><p>{licence}</p>'


def _quiet(html: str) -> str:
    return f'<p class="pp-quiet">{html}</p>' if html else ""
