"""The parts of the overview page.

The model card of the pool: data, base model, pieces, measured quality, limits. It runs no model.
"""

from html import escape
from textwrap import shorten
from typing import TYPE_CHECKING

import streamlit as st

from perpcs.assembly.explain import fit_sentence, is_checked
from perpcs.assembly.routers import PRESETS, decided_by
from perpcs.errors import PerpcsError
from perpcs.evaluate.findings import Evaluation, Measure, commands, read_evaluations
from perpcs.figures import model_card as rows
from perpcs.figures.columns import sharer_names
from perpcs.figures.model_card import ALL, curve_csv, curve_figure, curve_lines, curve_title
from perpcs.figures.model_card import title_of as task_title
from perpcs.figures.story import STEPS, Story, explanation, size_html, story_html
from perpcs.figures.style import bytes_text, method_colour, ratio_text
from perpcs.personalizers.methods import title_of
from perpcs.pool.manifest import Example
from perpcs.tasks import TASKS
from perpcs.ui.asking import stored_answers
from perpcs.ui.engine import DEFAULT_POOL, results_folder
from perpcs.ui.give_history import start_assembly
from perpcs.ui.navigation import page
from perpcs.ui.state import Studio, names_of
from perpcs.ui.widgets import CLAIM, NO_GROUP_TWICE, NOT_SAID, chart, computed, is_dark, stat_row, table_html, term
from perpcs.ui.work import show_error

if TYPE_CHECKING:
    from perpcs.pool.manifest import Manifest
    from perpcs.serve.engine import Engine


# ---- the model card --------------------------------------------------------------------------------------------------


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
        which = f" for {', '.join(task_title(task).lower() for task in missing)}" if there else ""
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
        f"<b>{escape(task_title(one.task))}</b>, n = {one.users:,} people, {one.queries:,} queries "
        f'<small class="pp-quiet">from results/quality/{escape(one.file)}</small>'
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


# ---- the page --------------------------------------------------------------------------------------------------------


def claim(engine: "Engine") -> None:
    """What this is, in one sentence, and what it costs, in another."""
    st.html(
        f'<h1 class="pp-claim">{escape(CLAIM)}</h1><p class="pp-lede">{_computed(engine)} No network is trained: a '
        f"shared {term('base model')} reads what you wrote. Your personal model is that table: it takes "
        f"{bytes_text(engine.user_bytes)} and holds no text.</p>"
    )


def _computed(engine: "Engine") -> str:
    """What is computed for a newcomer by the default router, with the size of this pool."""
    text = escape(computed(PRESETS["default"].name))
    size = f"{len(engine.pool.manifest.positions)} positions × {engine.pool.manifest.tasks[0].sharers} sharers"
    text = text.replace("each sharer’s piece", f"each {term('sharer')}’s {term('piece')}")
    return text.replace("each position.", f"each {term('position')} ({size}).")


def voices(engine: "Engine", record: Studio) -> None:
    """One input, answered by every example person's model; nothing if the pool stores no such answers."""
    shared, examples = engine.stored.shared(record.task), engine.pool.examples(record.task)
    names = names_of(examples)
    queries = {(example.id, query.id): query for example in examples for query in example.queries}
    shared = tuple(row for row in shared if (row.asker, row.query) in queries and set(row.texts) <= set(names))
    if not shared:
        return
    noun = TASKS[record.task].input_label.rstrip(":").lower()
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.html(f"<h3>One {escape(noun)}, {len(shared[0].texts)} personal models</h3>", width="content")
        which = st.segmented_control(
            noun.capitalize(),
            range(len(shared)),
            format_func=lambda i: str(i + 1),
            default=0,
            required=True,
            key="voices",
            label_visibility="collapsed",
        )
    row = shared[which or 0]
    abouts = {example.id: shorten(example.description, 70, placeholder=" …") for example in examples}
    cards = [("Base model", "The same for everyone", row.base, "base")]
    cards += [(names[id], abouts[id], text, "perpcs") for id, text in row.texts.items()]
    st.html(
        f'<div class="pp-quote">{escape(shorten(queries[row.asker, row.query].x, 300, placeholder=" …"))}</div>'
        + '<ul class="pp-voices">'
        + "".join(
            f'<li style="--m:{method_colour(method)}"><small><b>{escape(name)}</b> {escape(about)}</small>'
            f"<p>{escape(text)}</p></li>"
            for name, about, text, method in cards
        )
        + "</ul>"
    )


def story(engine: "Engine", record: Studio, example: Example) -> None:
    """The figure of one example in steps: all of them, or one highlighted."""
    name = names_of(engine.pool.examples(record.task))[example.id]
    try:
        assembly = engine.stored.assembly(record.task, example.id)
    except PerpcsError as error:
        show_error(error)
        return
    query = example.queries[0] if example.queries else None
    stored = stored_answers(engine, record.task, example.id, query, ("base", "perpcs"))
    told = Story(
        name=name,
        history=example.history,
        assembly=assembly,
        sharers=engine.pool.sharers(record.task),
        user_bytes=engine.user_bytes,
        query=query,
        names=tuple(sharer_names(assembly.sharers, engine.stored.portraits(record.task), 40)),
        answers=tuple((a.method, title_of(a.method, assembly.router), a.text) for a in stored),
        fit=fit_sentence(assembly, f"{name}’s") if is_checked(assembly) else "",
    )
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.html(
            f"<h3>How {escape(name)}’s model was assembled <span class='pp-tag'>precomputed</span></h3>",
            width="content",
        )
        step = st.segmented_control(
            "Step", range(len(STEPS)), format_func=lambda i: str(i + 1), key="story-step", label_visibility="collapsed"
        )
    task, about = TASKS[record.task].title.lower(), shorten(example.description, 90, placeholder=" …")
    who = f"{name} is a made-up person. Task: {task}. {about} Click a number to step through the figure."
    text = explanation(told, step) if step is not None else who
    st.html(f'<p class="pp-note" aria-live="polite">{escape(text)}</p>')
    st.html(story_html(told, step=step, dark=is_dark()))


def doors(engine: "Engine", record: Studio, example: Example | None) -> None:
    """Three ways in; each leads to a filled page, the first to one that fills while the visitor watches."""
    with st.container(horizontal=True, vertical_alignment="center", key="doors"):
        if st.button("Watch an example", type="primary", icon=":material/play_arrow:", key="door-watch"):
            record.source = "example"
            if example is not None:
                start_assembly(engine, record, record.task, example.history, user=example.id)
            st.switch_page(page("assemble"))
        if st.button("Use my own text", icon=":material/edit_note:", key="door-own"):
            record.source = "paste"
            st.switch_page(page("assemble"))
        st.html('<a class="pp-anchor" href="#how-it-works">Explain the method</a>', width="content")


def facts(engine: "Engine", task: str) -> None:
    """What the pool holds and how much is stored per person."""
    manifest, pool = engine.pool.manifest, engine.pool.manifest.task(task)
    positions, licence = len(manifest.positions), escape(manifest.licence.rstrip("."))
    pieces = round(pool.sharers * positions * pool.share_ratio)
    rows = (
        (f"{pool.sharers}", term("sharer", "sharers")),
        (f"{pieces:,}", term("piece", "pieces")),
        (f"{positions}", term("position", "positions")),
        (bytes_text(engine.pool_bytes), f"the whole {term('pool')} on disk"),
        (bytes_text(engine.user_bytes), "per person"),
        (ratio_text(engine.user_bytes, engine.pool.manifest.adapter_bytes), f"of a {term('full adapter')}"),
    )
    st.container(key="part-pool").html(f"<h2>The pool “{escape(manifest.title)}”</h2>")
    left, right = st.columns([0.62, 0.38], gap="large", vertical_alignment="center")
    left.html(stat_row(rows, "Pool facts"))
    left.html(
        f'<p class="pp-quiet">For {escape(TASKS[task].title.lower())}: n = {pool.sharers} sharers selected from '
        f"{pool.candidates} candidates by {escape(pool.selection)}; share ratio {pool.share_ratio:g}, "
        f"rank {manifest.rank}, stored as {escape(manifest.dtype)}. Licence: {licence}.</p>"
    )
    right.html(size_html(engine.user_bytes, engine.pool.manifest.adapter_bytes))


def method(engine: "Engine") -> None:
    """The short explanation that "Explain the method" leads to."""
    manifest = engine.pool.manifest
    st.container(key="part-method").html('<h2 id="how-it-works">How it works</h2>')
    left, right = st.columns([0.5, 0.5], gap="large")
    left.html(
        f'<div class="pp-prose"><p>Each {term("sharer")} adapted the {term("base model")} to their own text. The '
        f"adapter is split into {term('piece', 'pieces')}, one per {term('position')}. Each piece comes with a "
        f"{term('gate')} and a {term('prototype')}: vectors that say which words it suits.</p>"
        f"{_routing(PRESETS['default'].name)}"
        "</div>"
    )
    right.html(
        f'<div class="pp-prose"><div class="pp-eq">{_equation(manifest)}</div>'
        "<p>W is the base model’s matrix, the same for everyone. "
        f"{_PIECE_IS[manifest.kind]} sharer s’s piece. Only the numbers "
        f"w<sub>s</sub> are yours: {len(manifest.positions)} positions × {manifest.tasks[0].sharers} sharers. If "
        "all of them are 0, you get exactly the base model.</p>"
        f"<p>On Compare the same question goes to the {term('base model')}, to {term('RAG')} and to {term('Per-Pcs')}, "
        "in one batch, with the same seed.</p></div>"
    )


_PIECE_IS = {
    "lora": "A and B are",
    "ia3": "V is",
    "adapter": "A and B are",
    "prefix": "p, what attention reads in a few extra tokens, and λ, their share of the attention, come from",
}


def _equation(manifest: "Manifest") -> str:
    if manifest.kind == "ia3":
        return "y = W x ⊙ (1 + Σ<sub>s</sub> w<sub>s</sub> V<sub>s</sub>)"
    if manifest.kind == "adapter":
        return "y = W x + Σ<sub>s</sub> w<sub>s</sub> B<sub>s</sub> gelu(A<sub>s</sub> W x)"
    if manifest.kind == "prefix":
        return "y = W (x + Σ<sub>s</sub> w<sub>s</sub> λ<sub>s</sub> (p<sub>s</sub> − x))"
    return f"y = W x + {manifest.scale:g} · Σ<sub>s</sub> w<sub>s</sub> B<sub>s</sub> A<sub>s</sub> x"


def _routing(router: str) -> str:
    """How the default router finds a person's weights, in a paragraph."""
    history, piece, weight = term("history"), term("piece"), term("weight")
    if router == "newton":
        return (
            f"<p>The model reads your {history}. First, each {piece}’s gate scores it, and the best ones get a "
            f"{weight}; these weights count as far as the gates’ choice for your earlier items makes later ones more "
            f"likely. Then a backward pass shows, for every {term('item')}, how much its loss would fall with the "
            f"{weight} of each {piece}, and one linear system, with one equation per item, corrects all weights at "
            "once (a damped Gauss-Newton step). Parts of your history set the step length, which may be 0, and your "
            "newest items check the result. The matrices of the model and the pieces do not change.</p>"
            "<p>The paper’s own method, trained gates, is one click away on Assemble and Compare.</p>"
        )
    if decided_by(router) == "loss":
        return (
            f"<p>The model reads your {history} a few times, forwards and backwards. Each pass shows how much the loss "
            f"on your own words would fall with the {weight} of each {piece}; the weights alone take a small step in "
            "that direction. The matrices of the model and the pieces do not change.</p>"
        )
    return (
        f"<p>The model reads your {history} once. At each position your words are compared with the {term(router)} of "
        f"each {piece}; each {term('item')} selects the pieces that fit best. The mean over your items is "
        f"your {weight} for a piece. Selected pieces act at once, so later layers already use them.</p>"
    )
