"""What the Method page says: where this program differs from the paper and its code, and notes for teachers."""

from typing import NamedTuple


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
        "Gates too, as published or distilled: fitted to tell from reading which pieces lower the loss of people who "
        "share nothing. Beside them prototypes, arrow, and routers that look at the loss. The default is newton: one "
        "forward and one backward pass over the history, and one damped Gauss-Newton step on the weights alone. A "
        "weight may fall below 0.",
        "A trained gate says where its owner’s piece helped its owner. The loss says whether it helps you.",
        ("perpcs:paper", "perpcs:gate", "perpcs:prototype", "perpcs:gradient", "perpcs:fit", "perpcs:newton", "perpcs"),
    ),
    Difference(
        "How pieces are averaged",
        "Code: A’s are averaged and B’s are averaged, each by itself.",
        "Whole pieces: the mean of B A, which is exact and needs only the mean of the weights.",
        "The mean of products is not the product of means: apart, much of the intended update cancels. Together, a "
        "person "
        "is a table of numbers, and no matrix is ever merged.",
    ),
    Difference(
        "Who selects",
        "Code: one selection for each batch of 16 items.",
        "Every item selects for itself; the person is the mean.",
        "The outcome depends neither on the batch size nor on the order of the items.",
    ),
    Difference(
        "What a score is",
        "Paper: cosines summed over tokens, over √n before the softmax. Code: layer norm, dot over √n, mean of tokens.",
        "Both are presets (paper, reference_code). The default for gates and prototypes takes off what all sharers "
        "have in "
        "common and scores the mean activation.",
        "Read to the letter, the paper’s softmax gives nearly equal weights, because √n is large. Gates share one "
        "large "
        "direction, which would decide every choice.",
        ("perpcs:paper", "perpcs:prototype"),
    ),
    Difference(
        "Whose words",
        "Everybody has their own weights.",
        "The same, and every evaluation also gives each person the weights of the next one.",
        "A method that makes a better model for everybody would pass without this control; one that personalises must "
        "get worse by it.",
        ("perpcs", "wrong:perpcs", "perpcs:newton", "wrong:perpcs:newton"),
    ),
    Difference(
        "The baseline OPPU",
        "Code: the list of training texts is never emptied between users, so user i trains on those of users 0 to i.",
        "One LoRA for each person, trained on their own history alone, with the sharers’ recipe.",
        "An honest rival: it costs training and a full adapter for each person.",
        ("oppu", "wrong:oppu"),
    ),
    Difference(
        "Which pieces are shared",
        "Code: the share ratio is drawn again for each user, without a seed.",
        "A mask for each sharer, drawn once from a stored seed; what is not shared is stored as zeros.",
        "Sharing is a decision of the sharer. The same pieces are there for everybody, and nobody else’s ever were.",
    ),
    Difference(
        "Precision of training",
        "Code: bfloat16 weights with a rate of 2e-5, and a cosine schedule that climbs again when steps exceed epochs.",
        "Master weights in float32 while training, 8 or 16 bits a number on disk; a rate that falls linearly to 0.",
        "Steps smaller than bfloat16’s spacing are lost: many entries of A would stay where they began.",
    ),
    Difference(
        "What a pass computes",
        "Code: logits and a cache that are thrown away; every sharer’s adapter read from disk for every user.",
        "The pass ends at the last adapted layer; all pieces lie on one basis in memory.",
        "A history is read at about the speed of a plain pass, whoever’s it is.",
    ),
    Difference(
        "What counts as an answer",
        "Code: the prompt is removed by text replacement; a rating that cannot be read has an error of 0; the mean "
        "absolute error is called RMSE.",
        "Only new tokens are decoded; answers that are none are counted as such; a measure has its own name.",
        "A model that answers nonsense gains nothing by it.",
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
            "One model answers everybody alike. Ask: would you want your own? What would it cost to train one for "
            "each?",
            "Press 1 and 2 of the figure: a few things one person wrote, and how much every sharer’s piece would help "
            "with them.",
            "Press 3 and 4: the weights, at every layer anew. That table is all there is of this person.",
            "Press 5: the same question with and without it.",
            "Scroll to the pool’s card: whose pieces are these, who agreed, what does it not show?",
        ),
        (
            (
                "What is trained for a newcomer?",
                "No network. One forward and one backward pass over their text give the weights.",
            ),
            ("What is stored of a newcomer?", "Positions × sharers numbers, a few KB, and no text."),
            ("What do you get with all weights at 0?", "The base model, to the bit."),
        ),
    ),
    Notes(
        "Assemble",
        (
            "Choose an example and press “Watch it happen”. Say what a row and a column are.",
            "Click the strongest mark. Read beside it: which sharer, which layer, which items gain most by it.",
            "Sort the columns by total weight: do few sharers hold most, or many a little?",
            "Read the fit check over the map. Then press “With the published gates”. What moved?",
            "Paste ten lines of somebody in the room, and save the person: look at the size of the file.",
        ),
        (
            (
                "What does a weight below 0 mean?",
                "The piece is subtracted: what its owner does often becomes less likely.",
            ),
            ("Why may layers choose different sharers?", "Early layers see words, late ones what is about to be said."),
            ("Would more items always help?", "No: old ones may speak of somebody that one no longer is."),
        ),
    ),
    Notes(
        "Compare",
        (
            "Show the question and hide the names. Let the room vote for the answer that sounds like the person.",
            "Reveal. Open “Prompt as sent” of RAG: here the person’s own words stand in the prompt.",
            "Open that of Per-Pcs: no word of theirs, and yet their manner.",
            "Look at the costs: bytes kept, seconds to prepare, whether text leaves.",
            "Ask with another seed and a temperature of 1. What stays?",
        ),
        (
            (
                "When is RAG enough?",
                "When the answer can be copied from a like item, and the text may be shown to the model.",
            ),
            (
                "What does Per-Pcs keep that RAG does not, and the other way round?",
                "Weights without text; text without weights.",
            ),
            ("Why one batch with one seed?", "So that chance is the same for all columns."),
        ),
    ),
    Notes(
        "Sharers",
        (
            "The map: a dot is a candidate, a star one who shares. Near means: wrote about like things.",
            "Point at two neighbours and read their clusters’ words.",
            "Open the current person’s links: does weight follow nearness on the map?",
            "Take the strongest sharer out and assemble again. Who steps in?",
            "Change how sharers are chosen. Who is no longer served well?",
        ),
        (
            (
                "What does distance on the map not mean?",
                "That two write alike: it is of topics, flattened to two dimensions.",
            ),
            ("Why one sharer a cluster?", "To cover many people with few pieces."),
            ("Who decides what a sharer shares?", "They do, piece by piece; the rest is zeros."),
        ),
    ),
    Notes(
        "Results",
        (
            "Find the base model’s row: everything is read against it.",
            "Find the control with somebody else’s weights. Is it worse than the base model? Then the method "
            "personalises.",
            "Look for intervals that overlap: there nobody has won.",
            "Put quality against bytes: who is best for a thousand users on one disk?",
            "Open a cell and read five answers. Do you agree with the measure?",
        ),
        (
            ("What is the interval over?", "People: they are drawn again and again, because people are what varies."),
            ("Why a wrong-user control?", "A better model for all would otherwise look like a personal one."),
            (
                "May one compare with the published numbers?",
                "No: other data, another model. They stand beside, marked.",
            ),
        ),
    ),
    Notes(
        "Share",
        (
            "Fill in the sample and train. While it runs: this is the cost that everybody else is spared.",
            "Press Stop once, to show that it stops, and train again.",
            "Choose a share of the pieces and watch the list of what leaves grow and shrink.",
            "Read the sentence over the consent box aloud. What could numbers give away?",
            "Add them, open the copy, assemble somebody with the new sharer, then take the pieces back.",
        ),
        (
            ("What leaves, and what does not?", "Tensors and one record of numbers; not a word of the text."),
            ("Is that anonymous?", "Not surely: numbers trained on a text can hold traces of it."),
            (
                "What happens to people who used a revoked piece?",
                "The others at that position take over, in proportion.",
            ),
        ),
    ),
    Notes(
        "Method",
        (
            "Point at W, then at A and B, then at w: what everybody has, what sharers gave, what is yours.",
            "In the toy, set the temperature to 0.05, then to 5. What happens to the weights?",
            "Set k to 1. Then make both gates alike.",
            "Set all B to 0: what is left? Then set scale to 0.",
            "Take one difference from the paper and let the room guess its effect before you read it.",
        ),
        (
            (
                "Why does the second position see another input than the base model’s?",
                "The pieces of the first already act.",
            ),
            (
                "Why may weights be averaged, and A’s and B’s not apart?",
                "The output is linear in w, and not in A and B together.",
            ),
            ("How large is a person with 128 positions and 100 sharers?", "12,800 weights of a byte each: 12.8 KB."),
        ),
    ),
)
