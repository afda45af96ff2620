"""The Method page: the equation with live numbers, the toy, where this program differs from the paper and its code with
the effects, and notes for teachers.
"""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import streamlit as st

from perpcs.assembly.record import Assembly
from perpcs.errors import PerpcsError
from perpcs.evaluate.findings import Effect, effects
from perpcs.figures.columns import called, largest_piece, piece_facts, weight_equation
from perpcs.figures.story import Layer, Toy, layer_html, run_toy, toy_html, toy_numbers, with_toy_number
from perpcs.figures.style import scrolling
from perpcs.pool.manifest import Example
from perpcs.tasks import TASKS
from perpcs.ui.engine import results_folder
from perpcs.ui.navigation import example_picker, task_picker
from perpcs.ui.state import Studio, names_of
from perpcs.ui.widgets import table_html, term
from perpcs.ui.work import show_error

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


# ---- what it says ----------------------------------------------------------------------------------------------------


class Difference(NamedTuple):
    """One choice that was made otherwise."""

    what: str
    before: str
    """What the paper writes, or its released code does."""
    here: str
    does: str
    """What the difference does."""
    methods: tuple[str, ...] = ()
    """Methods of stored evaluations that show its effect; empty where none does."""


DIFFERENCES = (
    Difference(
        "Who decides the weights",
        "Paper and code: trained gates compared with what the model reads.",
        "The default is newton: one damped Gauss-Newton step on the weights alone, starting from the distilled gates’ "
        "weights as far as these help. Weights may be negative. Also available: gates, as published or distilled "
        "(fitted, on people who share nothing, to predict which pieces lower their loss), prototypes, arrow, and "
        "other routers that use the loss.",
        "A trained gate predicts where a piece helped its owner. The loss shows whether it helps you.",
        ("perpcs:paper", "perpcs:gate", "perpcs:prototype", "perpcs:gradient", "perpcs:fit", "perpcs:newton", "perpcs"),
    ),
    Difference(
        "How pieces are averaged",
        "Code: the A’s and the B’s are averaged separately.",
        "Whole pieces are averaged: the mean of B A. This is exact and needs only the mean of the weights.",
        "The mean of products is not the product of means: averaged separately, much of the intended update "
        "cancels. Averaged together, a person is a table of numbers, and no matrix has to be merged.",
    ),
    Difference(
        "Who selects",
        "Code: one selection for each batch of 16 items.",
        "Every item selects its own pieces; a person’s weights are the mean over items.",
        "The result depends neither on the batch size nor on the order of the items.",
    ),
    Difference(
        "What a score is",
        "Paper: cosines summed over tokens, over √n before the softmax. Code: layer norm, dot over √n, mean of tokens.",
        "Both are presets (paper, reference_code). By default, gates and prototypes first subtract what all "
        "sharers have in common and then score the mean activation.",
        "Taken literally, the paper’s softmax gives nearly equal weights, because √n is large. Gates have one "
        "large direction in common, which would otherwise decide every choice.",
        ("perpcs:paper", "perpcs:prototype"),
    ),
    Difference(
        "Wrong-user control",
        "Everybody has their own weights.",
        "The same, and every evaluation also gives each person the weights of the next one.",
        "Without this control, a method that improves the model for everybody would look personal. A method that "
        "personalises must get worse with another person’s weights.",
        ("perpcs", "wrong:perpcs", "perpcs:newton", "wrong:perpcs:newton"),
    ),
    Difference(
        "The baseline OPPU",
        "Code: the list of training texts is not cleared between users, so user i trains on the texts of users 0 to i.",
        "One LoRA for each person, trained on their own history alone, with the sharers’ recipe.",
        "A fair baseline: it costs training and a full adapter for each person.",
        ("oppu", "wrong:oppu"),
    ),
    Difference(
        "Which pieces are shared",
        "Code: the share ratio is drawn again for each user, without a seed.",
        "A mask for each sharer, drawn once from a stored seed; what is not shared is stored as zeros.",
        "The sharer decides what to share. Everybody gets the same pieces, and pieces that are not shared are "
        "never used.",
    ),
    Difference(
        "Precision of training",
        "Code: bfloat16 weights with a learning rate of 2e-5, and a cosine schedule that rises again when there "
        "are more steps than epochs.",
        "Master weights in float32 during training, 8 or 16 bits per number on disk; a learning rate that falls "
        "linearly to 0.",
        "Steps smaller than the spacing of bfloat16 are lost, so many entries of A would never change.",
    ),
    Difference(
        "What a pass computes",
        "Code: logits and a cache are computed and discarded; every sharer’s adapter is read from disk for every user.",
        "The pass ends at the last adapted layer; all pieces lie on one basis in memory.",
        "Reading a history takes about as long as a plain forward pass.",
    ),
    Difference(
        "What counts as an answer",
        "Code: the prompt is removed by text replacement; a rating that cannot be read has an error of 0; the mean "
        "absolute error is called RMSE.",
        "Only new tokens are decoded; invalid answers are counted as invalid; the metric has its correct name.",
        "A model does not profit from invalid answers.",
    ),
)


class Notes(NamedTuple):
    """A page in class."""

    page: str
    minutes: tuple[str, ...]
    """What to say and do, minute by minute."""
    questions: tuple[tuple[str, str], ...]
    """Three questions with their answers."""


NOTES = (
    Notes(
        "Overview",
        (
            "One model gives everybody the same answers. Ask: would you want your own? What would it cost to train "
            "one for each person?",
            "Click 1 and 2 in the figure: a few texts by one person, and how much each sharer’s piece would help "
            "with them.",
            "Click 3 and 4: the weights, separate at every layer. This table is all that is stored about this person.",
            "Click 5: the same question answered with and without it.",
            "Scroll to the model card: whose pieces are these, who agreed to share them, and what does the card "
            "not show?",
        ),
        (
            (
                "What is trained for a newcomer?",
                "No network. A few forward passes and one backward pass over their text give the weights.",
            ),
            (
                "What is stored about a newcomer?",
                "One byte per position and sharer: about 1 KB in the shipped pool, and no text.",
            ),
            ("What do you get with all weights at 0?", "Exactly the base model."),
        ),
    ),
    Notes(
        "Assemble",
        (
            "Choose an example and click “Watch it happen”. Explain what a row and a column are.",
            "Click the strongest mark and read its panel: which sharer, which layer, and which items gain most "
            "from it.",
            "Sort the columns by weight: do a few sharers have most of it, or many a little?",
            "Read the fit check above the map. Then click “With the published gates”. What changed?",
            "Paste ten lines by somebody in the room and save their model. How large is the file?",
        ),
        (
            (
                "What does a weight below 0 mean?",
                "The piece is subtracted: what its owner does often becomes less likely.",
            ),
            (
                "Why may layers choose different sharers?",
                "Early layers represent the words read, late layers the words that come next.",
            ),
            ("Would more items always help?", "No: old items may show how a person used to write."),
        ),
    ),
    Notes(
        "Compare",
        (
            "Show the question and hide the names. Let the room vote for the answer that sounds like the person.",
            "Show the names. Open “Prompt as sent” for RAG: it contains the person’s own words.",
            "Open the prompt of Per-Pcs: it has none of their words, and the answer still has their style.",
            "Compare the costs: bytes stored, seconds to prepare, and whether text is exposed.",
            "Ask again with another seed and a temperature of 1. What stays the same?",
        ),
        (
            (
                "When is RAG enough?",
                "When the answer can be copied from a similar item, and the text may be shown to the model.",
            ),
            (
                "What does Per-Pcs store that RAG does not, and vice versa?",
                "Per-Pcs stores weights and no text; RAG stores text and no weights.",
            ),
            ("Why one batch with one seed?", "So that randomness affects all columns in the same way."),
        ),
    ),
    Notes(
        "Sharers",
        (
            "The map: a dot is a candidate, a star is a sharer. Points that are close together have similar topics.",
            "Hover over two neighbours and read the words of their clusters.",
            "Follow the lines from the current person: do near sharers have more weight?",
            "Leave out the strongest sharer and assemble again. Who replaces them?",
            "Change how sharers are selected. Which people lose by it?",
        ),
        (
            (
                "What does distance on the map not mean?",
                "That two people write alike. The map shows topics, reduced to two dimensions.",
            ),
            ("Why one sharer per cluster?", "To cover many people with few pieces."),
            ("Who decides what a sharer shares?", "They do, piece by piece; all other pieces are stored as zeros."),
        ),
    ),
    Notes(
        "Results",
        (
            "Find the row of the base model: everything is compared with it.",
            "Find the control with another person’s weights. If it is worse than the base model, the method "
            "personalises.",
            "Look for differences whose interval includes 0: there, no method wins.",
            "Compare quality with bytes: which method is best for a thousand users on one disk?",
            "Open a cell and read five answers. Do you agree with the metric?",
        ),
        (
            (
                "What does the interval describe?",
                "Variation over people: the people are resampled, because results differ most between people.",
            ),
            ("Why a wrong-user control?", "Otherwise a better model for everybody would look like a personal one."),
            (
                "Can you compare with the published numbers?",
                "No: other data and another model. They are shown next to ours and marked.",
            ),
        ),
    ),
    Notes(
        "Share",
        (
            "Fill in the sample and train. Meanwhile explain: only sharers pay this cost, newcomers do not.",
            "Click Stop once to show that it stops, then train again.",
            "Choose a share of the pieces, and see how the list of what would leave changes.",
            "Read the sentence above the consent box aloud. What could the numbers reveal?",
            "Add the pieces, open the copy, assemble a person with the new sharer, then take the pieces back.",
        ),
        (
            ("What leaves, and what does not?", "Tensors and one record of numbers leave; the text does not."),
            ("Is that anonymous?", "Not guaranteed: numbers trained on a text can contain traces of it."),
            (
                "What happens to people who used a revoked piece?",
                "Its weight goes to the other sharers at that position, in proportion.",
            ),
        ),
    ),
    Notes(
        "Method",
        (
            "Point at W, then at A and B, then at w: what everybody shares, what the sharers contributed, and your "
            "own weights.",
            "In the toy, set the temperature to 0.05, then to 5. What happens to the weights?",
            "Set k to 1. Then make both gates the same.",
            "Set all B to 0: what remains? Then set scale to 0.",
            "Choose one difference from the paper and let the class guess its effect before you read it.",
        ),
        (
            (
                "Why is the second position’s input different from the base model’s?",
                "The pieces at the first position already change it.",
            ),
            (
                "Why may weights be averaged, but not the A’s and B’s separately?",
                "The output is linear in w, but not in A and B jointly.",
            ),
            (
                "How large is a personal model with 128 positions and 100 sharers?",
                "12,800 weights of one byte each: 12.8 KB.",
            ),
        ),
    ),
)


# ---- the page --------------------------------------------------------------------------------------------------------


_SHOWN = 3
_TOP = {"x.0": "x 1", "x.1": "x 2", "scale": "scale", "temperature": "temperature", "k": "k"}
_NAMES = {
    "perpcs": "Newton weights",
    "wrong:perpcs": "Newton weights, of the next person",
    "perpcs:newton": "Newton weights",
    "wrong:perpcs:newton": "Newton weights, of the next person",
    "perpcs:paper": "gates, as published",
    "perpcs:gate": "distilled gates",
    "perpcs:prototype": "prototypes",
    "perpcs:gradient": "gradient",
    "perpcs:fit": "fit",
    "oppu": "OPPU",
    "wrong:oppu": "OPPU, of the next person",
}


# ---- the equation --------------------------------------------------------------------------------------------------


def equation_panel(engine: "Engine", record: Studio, example: Example | None) -> None:
    """The one equation with the numbers of the current example; no model is run."""
    st.html("<h2>One equation</h2>")
    if example is None:
        st.html('<p class="pp-note">This pool has no example people for this kind of text.</p>')
        return
    name = names_of(engine.pool.examples(record.task))[example.id]
    with st.expander(f"Whose numbers: {name}, {TASKS[record.task].title.lower()}"):
        task_picker(engine, record, "method-task")
        example_picker(engine, record, "method-example")
    try:
        assembly = engine.stored.assembly(record.task, example.id)
    except PerpcsError as error:
        show_error(error)
        return
    st.html(layer_html(layer_of(engine, assembly, name)))
    position, sharer = largest_piece(assembly)
    st.html(
        f'<h3>Where that {term("weight")} comes from</h3><p class="pp-quiet">This assembly uses the router “'
        f"{escape(str(assembly.router.get('router', 'gate')))}”. "
        f"The numbers are those of {escape(name)}, precomputed.</p>"
    )
    st.latex(weight_equation(piece_facts(assembly, position, sharer)))


def layer_of(engine: "Engine", assembly: Assembly, name: str) -> Layer:
    """The position of the largest weight, in numbers."""
    manifest, (p, _) = engine.pool.manifest, largest_piece(assembly)
    size = np.abs(assembly.weights[p])
    order, portraits = np.argsort(-size, kind="stable")[:_SHOWN].tolist(), engine.stored.portraits(assembly.task)
    top = tuple((called(assembly.sharers, s, portraits), float(assembly.weights[p, s])) for s in order if size[s] > 0)
    return Layer(
        label=assembly.positions[p],
        n=manifest.positions[p].n,
        d=manifest.positions[p].d,
        rank=manifest.rank,
        scale=manifest.scale,
        top=top,
        others=int((size > 0).sum()) - len(top),
        sharers=len(assembly.sharers),
        positions=len(assembly.positions),
        name=name,
        scaling=manifest.kind == "ia3",
    )


# ---- the toy -------------------------------------------------------------------------------------------------------


def toy_panel() -> None:
    """All numbers of the toy as fields, and what comes out of them at once."""
    st.html(
        '<h2 class="pp-part">The same in numbers you can change</h2><p class="pp-quiet">2 sharers, 2 positions, '
        "rank 1, vectors of length 2, one token. The arithmetic is that of the real layer. Change any number and "
        "everything below is recomputed.</p>"
    )
    toy = Toy()
    for name, usual in toy_numbers(toy).items():
        toy = with_toy_number(toy, name, st.session_state.get(f"toy-{name}", usual))
    with st.container(horizontal=True, vertical_alignment="bottom", key="toy-numbers"):
        for name, label in _TOP.items():
            _number(name, label)
        st.button("Reset", on_click=_reset, key="toy-reset", type="tertiary", icon=":material/restart_alt:")
    for position, column in enumerate(st.columns(2, gap="large")):
        with column, st.expander(f"Position {position + 1}: W, A, B, g", expanded=True):
            for what, title in (("W", "W, the base model"), *((f"s{s}", f"Sharer {s + 1}") for s in (0, 1))):
                st.html(f"<b>{title}</b>")
                with st.container(horizontal=True, gap="small"):
                    for name, label in _fields(what, position):
                        _number(name, label)
    st.html(toy_html(run_toy(toy), toy.scale, toy.temperature))


def _fields(what: str, position: int) -> list[tuple[str, str]]:
    if what == "W":
        return [(f"W.{position}.{r}.{c}", f"W {r + 1},{c + 1}") for r in (0, 1) for c in (0, 1)]
    sharer = int(what[1:])
    return [(f"{letter}.{position}.{sharer}.{i}", f"{letter} {i + 1}") for letter in "ABg" for i in (0, 1)]


def _number(name: str, label: str) -> None:
    usual, key = toy_numbers(Toy())[name], f"toy-{name}"
    if key not in st.session_state:
        st.session_state[key] = int(usual) if name == "k" else usual
    spoken = label if name.count(".") < 2 else f"{label}, position {int(name.split('.')[1]) + 1}"
    if name == "k":
        st.number_input(spoken, 1, 2, key=key, width=96)
    elif name == "temperature":
        st.number_input(spoken, 0.01, 100.0, step=0.1, format="%g", key=key, width=110)
    else:
        st.number_input(spoken, -100.0, 100.0, step=0.1, format="%g", key=key, width=96)


def _reset() -> None:
    for name in toy_numbers(Toy()):
        st.session_state.pop(f"toy-{name}", None)


# ---- differences and notes -----------------------------------------------------------------------------------------


def differences_panel(engine: "Engine") -> None:
    """Where this program differs from the paper and its code, with measured effects where there are any."""
    st.html(
        '<h2 class="pp-part">Where this differs from the paper and its code</h2><p class="pp-quiet">Per-Pcs (Tan et '
        "al., EMNLP 2024, arXiv 2406.10471) and the code released with it. An effect is given only where an evaluation "
        f"under results/ has it: nats per target token minus the {term('base model')}’s, lower is better, with the "
        f"{term('interval', '95 % interval')} over people.</p>"
    )
    measured = effects(results_folder())
    with st.container(key="differences"):
        for difference in DIFFERENCES:
            with st.expander(difference.what):
                st.html(
                    '<div class="pp-prose"><p><b>Original.</b> '
                    f"{escape(difference.before)}</p><p><b>This program.</b> {escape(difference.here)}</p><p><b>"
                    f"Effect.</b> {escape(difference.does)}</p></div>"
                    f"{effect_html(difference, measured, engine.pool.hash)}"
                )


def effect_html(difference: Difference, measured: Sequence[Effect], pool_hash: str) -> str:
    """The measured effect of a difference as a table: a row a task, a column a method."""
    there = [effect for effect in measured if effect.method in difference.methods]
    if not there:
        return '<p class="pp-quiet">Not measured: no evaluation in results/ isolates this difference.</p>'
    cells = {(effect.file, effect.method): effect for effect in there}
    files = list(dict.fromkeys(effect.file for effect in there))
    shown = [method for method in difference.methods if any((file, method) in cells for file in files)]
    body = []
    for file in files:
        one = next(effect for effect in there if effect.file == file)
        which = "this pool" if one.pool_hash == pool_hash else f"the pool {escape(one.pool_hash[:8])}"
        head = f"{escape(TASKS[one.task].title)}<br><small>n = {one.people} people, {which}, {escape(file)}</small>"
        body.append([head, *(_cell(cells.get((file, method))) for method in shown)])
    caption = "Measured: nats per token minus the base model’s"
    return scrolling(table_html(caption, ("task", *(_NAMES[m] for m in shown)), body), "Measured effect")


def _cell(effect: Effect | None) -> str:
    if effect is None:
        return "–"
    return f"{effect.mean:+.3f}<br><small>[{effect.low:+.3f}, {effect.high:+.3f}]</small>".replace("-", "−")


@st.fragment
def notes_panel() -> None:
    """Five minutes and three questions for every page; another page's run nothing else of this one."""
    st.html(
        '<h2 class="pp-part">Teacher’s notes</h2><p class="pp-quiet">Five minutes with each page, and three questions '
        "to end with.</p>"
    )
    names = [notes.page for notes in NOTES]
    chosen = st.segmented_control("Page", names, default=names[0], key="notes-page", required=True)
    notes = next(notes for notes in NOTES if notes.page == chosen)
    left, right = st.columns(2, gap="large")
    minutes = "".join(f"<li><b>Minute {i}.</b> {escape(text)}</li>" for i, text in enumerate(notes.minutes, start=1))
    left.html(f'<h3>A script for {escape(notes.page)}</h3><ol class="pp-script">{minutes}</ol>')
    with right:
        st.html("<h3>Three questions</h3>")
        for question, answer in notes.questions:
            with st.expander(question):
                st.html(f"<p>{escape(answer)}</p>")
