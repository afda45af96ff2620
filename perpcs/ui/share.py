"""The parts of the Share page: the text, the training, which pieces leave and exactly what that is, consent, and taking
it back.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from perpcs.errors import PerpcsError
from perpcs.figures.story import SHARING_STEPS, steps_html
from perpcs.figures.style import bytes_text, seconds_text
from perpcs.pool.contribute import (
    GUEST,
    MIN_ITEMS,
    Leaving,
    chosen,
    id_of,
    is_copy,
    leaving,
    new_code,
    new_name,
    recover_all,
)
from perpcs.pool.contribute import STEPS as TRAINING
from perpcs.pool.manifest import contributed
from perpcs.pool.store import Pool
from perpcs.serve.stored import migrated_to, revoke, share
from perpcs.tasks import TASKS, get_task
from perpcs.ui import give_history
from perpcs.ui.engine import open_pool, people_ahead, shared_root
from perpcs.ui.navigation import pool_tasks
from perpcs.ui.state import Draft, Studio, remember, to_link
from perpcs.ui.widgets import SHARE_LEDE, SHARE_TRACES, stat_row, term
from perpcs.ui.work import Sharing, Work, find_sharing, register_sharing, show_error

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


# ---- steps and how far they are --------------------------------------------------------------------------------------


TICK = 0.25


def watch_steps(
    engine: "Engine", work: Work[Any], names: Mapping[str, str], order: Sequence[str], *, stoppable: bool = False
) -> None:
    """Draw (step, done, of) reports of running work until it ends or is stopped.

    Args:
        names: the title of each step.
        order: the steps in their order.
        stoppable: whether to show a Stop button.
    """
    place = st.empty()
    if stoppable:
        st.button("Stop", on_click=work.stop, icon=":material/stop:", key="stop-steps")
    while not work.ended and not work.stopped:
        work.beat()
        place.html(_drawn(engine, work, names, order))
        time.sleep(TICK)


def _drawn(engine: "Engine", work: Work[Any], names: Mapping[str, str], order: Sequence[str]) -> str:
    reports = list(work.reports)
    last: dict[str, tuple[int, int]] = {what: (done, of) for what, done, of in reports}
    now = reports[-1][0] if reports else order[0]
    rows = []
    for step in order[: order.index(now) + 1]:
        done, of = last.get(step, (0, 1))
        ended = step != now
        share = 1.0 if ended else done / max(of, 1)
        count = f"{of if ended else done} of {of} steps" if of > 1 else "done" if ended else "…"
        rows.append(
            f'<div class="pp-wait"><div>{escape(names[step])}</div><span>{count}</span></div>'
            f'<div class="pp-progress"><i style="width:{100 * share:.0f}%"></i></div>'
        )
    ahead = people_ahead(engine, work)
    queue = f"{ahead}, " if ahead else ""
    return (
        f'<div role="status"><h3>{escape(names[now])}</h3><p class="pp-quiet">{queue}{seconds_text(work.elapsed)} so '
        f"far. You can visit other pages meanwhile.</p>{''.join(rows)}</div>"
    )


# ---- what leaves -----------------------------------------------------------------------------------------------------


_WAYS = {"all": "All pieces", "ratio": "A share of them", "named": "By layer and module"}


def choice_panel(engine: "Engine", sharing: Sharing) -> Leaving | None:
    """The choice and the preview; None where nothing can leave."""
    assert sharing.trained is not None
    base, *_, own = sharing.trained.pieces.losses[0]
    st.html(
        f"<h2>Your pieces are trained</h2><p>On your own {sharing.items} items the loss fell from {base:.2f} to "
        f"{own:.2f} nats per token. Nothing has been shared yet.</p>"
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
        seed = right.number_input("Seed of the random choice", 0, 10**6, 0, key="share-seed")
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
        ("0", "words of your text"),
    )
    st.html(f"<h3>Everything that will be shared</h3>{stat_row(rows, 'What will be shared')}")
    labels = [position.label for position in engine.pool.manifest.positions]
    body = "".join(_row(part, labels) for part in parts)
    st.html(
        '<div class="pp-items pp-tensors" tabindex="0" role="region" aria-label="Every tensor that will be shared">'
        "<table><caption>Every tensor, as stored</caption><thead><tr><th scope='col'>tensor</th><th scope='col'>of</th>"
        "<th scope='col'>shape</th><th scope='col'>bytes</th><th scope='col'>sha256</th></tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )
    with st.expander("One record of numbers about you"):
        st.html(
            '<p class="pp-quiet">The cluster and its words are those of the sharer most similar to you; the place on '
            "the map is the mean of the three most similar. None of the words come from your text.</p>"
        )
        st.code(record, language="json")
    st.download_button(
        "Download as a file",
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


# ---- the page --------------------------------------------------------------------------------------------------------


_TOKEN = "job"
_NAMES = {
    "pieces": "Training your pieces",
    "gates": "Training your gates",
    "prototypes": "Collecting prototypes",
    "place": "Finding your place on the map",
}
_SOURCES = {"paste": "Paste", "upload": "Upload"}


def heading(record: Studio) -> None:
    """What the page is for, and how far the visitor has come."""
    if record.sharing is None:
        record.sharing = find_sharing(st.query_params.get(_TOKEN, ""))
    if record.sharing is not None:
        record.sharing.settle()
        if record.sharing.stopped:
            _forget(record)
            record.notice = "Stopped. Nothing was kept."
    st.html(f'<h1>Share</h1><p class="pp-lede">{escape(SHARE_LEDE)}</p>{steps_html(_step(record.sharing))}')


def _step(sharing: Sharing | None) -> int:
    """Index in ``STEPS`` of what the visitor is to do next; past the end when all is done."""
    if sharing is None:
        return 0
    if sharing.added is not None:
        return len(SHARING_STEPS)
    if sharing.trained is not None:
        return 3
    gates = sharing.work is not None and any(report[0] == "gates" for report in sharing.work.reports)
    return 2 if gates else 1


def write_address(record: Studio) -> None:
    """The link's choices, and the token by which this page finds its work after a reload."""
    link = to_link(record) | ({_TOKEN: record.sharing.token} if record.sharing else {})
    if st.query_params.to_dict() != link:
        st.query_params.from_dict(link)


# ---- the text ------------------------------------------------------------------------------------------------------


def text_panel(engine: "Engine", record: Studio) -> None:
    """The text by paste or upload, what was read of it, whether it is enough, and the button that trains; once it has
    been pressed, only what was given.
    """
    if record.sharing is not None:
        kind = escape(TASKS[record.sharing.task].title.lower())
        st.html(f"<h2>Your text</h2><p>{record.sharing.items} items, read as {kind}.</p>")
        give_history.privacy()
        return
    source = "upload" if record.source == "upload" else "paste"
    remember("share-source", source)
    shown = st.segmented_control(
        "Where it comes from", list(_SOURCES), format_func=_SOURCES.__getitem__, key="share-source", required=True
    )
    give_history.kind_picker(record, pool_tasks(engine))
    draft = _uploaded(engine, record) if shown == "upload" else _pasted(engine, record)
    give_history.counts(draft)
    give_history.other_tasks(record, draft)
    if draft is not None and draft.error is not None:
        show_error(draft.error)
    read = len(draft.reading.items) if draft and draft.reading else 0
    if draft and draft.ready and read < MIN_ITEMS:
        st.html(
            f'<p class="pp-note" role="status">Sharing needs at least {MIN_ITEMS} items; you have {read}. Pieces '
            "trained on fewer would reproduce them.</p>"
        )
    if (
        st.button(
            "Train my pieces",
            type="primary",
            key="train",
            width="stretch",
            disabled=read < MIN_ITEMS,
        )
        and draft
    ):
        _train(engine, record, draft)
        st.rerun()
    if draft is not None and draft.reading is not None:
        give_history.preview(draft)
    give_history.privacy()


def _pasted(engine: "Engine", record: Studio) -> Draft | None:
    key = remember(f"paste-{record.generation}", record.text)
    record.text = st.text_area("Your past items, one per line", key=key, height=120, placeholder="input => your answer")
    if not record.text:
        st.button(
            "Fill in a sample",
            on_click=give_history.fill_sample,
            args=(engine, record, key),
            key="sample",
            type="tertiary",
        )
        return None
    return give_history.read_given(record, "paste", record.text, pool_tasks(engine))


def _uploaded(engine: "Engine", record: Studio) -> Draft | None:
    file = st.file_uploader("A file with your past items", give_history.UPLOADS, key=f"upload-{record.generation}")
    if file is None:
        return None
    return give_history.read_given(record, "upload", (file.name, file.getvalue()), pool_tasks(engine))


def _train(engine: "Engine", record: Studio, draft: Draft) -> None:
    """Begin to train; the text goes to the work alone."""
    assert draft.reading is not None
    items, task, code = draft.reading.items, get_task(draft.task), new_code()

    def do(report: Any) -> Any:
        return engine.train_sharer(task, items, id_of(code), lambda what, done, of: report((what, done, of)))

    record.sharing = register_sharing(Sharing(draft.task, len(items), engine.pool.hash, code))
    record.sharing.start(do)


# ---- the rest of the way -------------------------------------------------------------------------------------------


def progress_panel(engine: "Engine", record: Studio) -> None:
    """What the current step shows."""
    sharing = record.sharing
    if record.notice:
        st.html(f'<p class="pp-note" role="status">{escape(record.notice)}</p>')
        record.notice = ""
    if sharing is None:
        _before(engine)
        return
    if sharing.work is not None:
        if sharing.trained is None:
            watch_steps(engine, sharing.work, _NAMES, TRAINING, stoppable=True)
        else:  # a write is whole or not at all, so there is nothing to stop
            watch_steps(engine, sharing.work, {"write": "Writing and checking the copy"}, ("write",))
        st.rerun()
    if sharing.error is not None:
        show_error(sharing.error)
    if sharing.added is not None:
        _done(engine, record, sharing)
    elif sharing.trained is None:
        _discard(record, "Try again")
    elif sharing.pool_hash != engine.pool.hash:
        show_error(
            PerpcsError("These pieces were trained for a different pool.", "Open that pool, or discard the pieces.")
        )
        _discard(record)
    else:
        given = choice_panel(engine, sharing)
        if given is not None:
            _consent(engine, sharing, given)
        _discard(record)


def _before(engine: "Engine") -> None:
    positions = len(engine.pool.manifest.positions)
    where = "this copy of a pool" if is_copy(engine.pool.folder) else "a new copy of this pool"
    st.html(
        '<div class="pp-empty pp-left"><h2>What will happen</h2><ol>'
        f"<li>Your text is read and checked: at least {MIN_ITEMS} items of one kind.</li>"
        f"<li>A {term('piece')} and a {term('gate')} are trained at each of {positions} "
        f"{term('position', 'positions')}, exactly as for the pool’s own sharers. You can stop the training.</li>"
        "<li>You choose which pieces to share, and see every tensor that would be shared, before anything is.</li>"
        f"<li>With your consent they go into {where}, on this server’s disk. The pool itself stays as it is.</li>"
        "<li>With a code you can remove them at any time.</li></ol></div>"
    )


def _consent(engine: "Engine", sharing: Sharing, given: Any) -> None:
    st.html(
        f'<p class="pp-note">{escape(SHARE_TRACES)}</p><p>Keep this code. You need it to take your pieces back on this '
        "page.</p>"
    )
    st.code(sharing.code, language=None)
    agreed = st.checkbox(
        "I have seen what would be shared and agree to add it to a copy of the pool on this server.", key="consent"
    )
    if st.button("Add to a copy of the pool", type="primary", disabled=not agreed, key="add"):
        source, root = engine.pool.folder, shared_root()
        target = source if is_copy(source) else root / new_name(engine.pool.manifest.name)

        def do(report: Any) -> Any:
            report(("write", 0, 1))
            return share(source, given, target, last=lambda: report(("write", 0, 1))).folder

        sharing.start(do)
        st.rerun()


def _done(engine: "Engine", record: Studio, sharing: Sharing) -> None:
    assert sharing.added is not None
    id, name = escape(id_of(sharing.code)), escape(sharing.added.name)
    st.html(
        f"<h2>You are a sharer: {id}</h2><p>Your pieces for {escape(TASKS[sharing.task].title.lower())} are in the "
        f"copy <b>{name}</b>. Keep this code. You need it to take them back on this page.</p>"
    )
    st.code(sharing.code, language=None)
    with st.container(horizontal=True):
        if engine.pool.folder.resolve() != sharing.added.resolve():
            st.button(
                "Open this copy",
                on_click=open_pool,
                args=(record, sharing.added.name),
                key="open-copy",
                icon=":material/database:",
            )
        st.button(
            "Take my pieces back",
            on_click=_take_back,
            args=(engine, record, sharing.code),
            key="take-back",
            icon=":material/undo:",
        )
        _discard(record, "Share another text")


def _discard(record: Studio, label: str = "Discard") -> None:
    st.button(label, on_click=_forget, args=(record,), key="discard", type="tertiary")


def _forget(record: Studio) -> None:
    if record.sharing is not None:
        record.sharing.drop()
    record.sharing = None


# ---- taking it back ------------------------------------------------------------------------------------------------


def take_back_panel(engine: "Engine", record: Studio) -> None:
    """For who has a code of an earlier visit."""
    with st.container(key="take-back-box"), st.expander("Take pieces back"):
        st.html(
            '<p class="pp-quiet">They are removed from the copy’s files. Where somebody used them, the weight goes to '
            "the other sharers at that position, in proportion; a position without others falls back to the base "
            "model.</p>"
        )
        with st.form("take-back-form", border=False, clear_on_submit=True):
            code = st.text_input("Revocation code", key="code", max_chars=40, autocomplete="off")
            if st.form_submit_button("Take back"):
                _take_back(engine, record, code)
                st.rerun()


def _take_back(engine: "Engine", record: Studio, code: str) -> None:
    """Remove a contribution wherever it lies; the visitor's own person goes on without it."""
    try:
        if code.strip().startswith(GUEST):
            raise PerpcsError("This is a public sharer id, not a code.", "Enter the code that was shown with it.")
        copy = _copy_with(engine, id_of(code))
        before = copy.hash
        pool = revoke(copy.folder, code)
        if record.own is not None and record.own.assembly.pool_hash == before:
            record.own = replace(record.own, assembly=migrated_to(pool, record.own.assembly))
        record.live.clear()
        if record.sharing is not None and record.sharing.code == code:
            _forget(record)
        record.notice = f"{id_of(code)} is no longer in {copy.folder.name}."
    except PerpcsError as error:
        record.notice = f"{error.wrong} {error.do}"


def _copy_with(engine: "Engine", id: str) -> Pool:
    """The copy that a sharer was added to: the open one, or one of this server's.

    Raises:
        PerpcsError: when it is in none of them.
    """
    root = shared_root()
    recover_all(root)
    there = [folder for folder in sorted(root.glob("*")) if not folder.name.startswith(".")]
    for folder in (engine.pool.folder, *there):
        if is_copy(folder) and any(id in ids for ids in contributed(Pool(folder).manifest).values()):
            return Pool(folder)
    raise PerpcsError("No copy on this server has pieces with this code.", "Check the code.")
