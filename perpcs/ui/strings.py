"""Every word with a meaning of its own, defined once; every longer sentence that more than one screen uses."""

import html

TERMS = {
    "base model": "A language model that is the same for everybody and never changes here.",
    "position": "One adapted layer of the base model: a layer number and a module, such as layer 3, v_proj.",
    "sharer": "A person who chose to share pieces of their own adapter. Their text is not in the pool, only numbers.",
    "piece": "One sharer's small update at one position: two thin matrices, A and B.",
    "gate": "A vector that says for which words a piece helps: trained on its owner's, or fitted to many people's.",
    "prototype": "A sharer's mean activation at a position: what their own words look like there. Needs no training.",
    "pool": "All pieces and gates that sharers share, with the base model they belong to.",
    "history": "What a person wrote before: past items, oldest first.",
    "item": "One entry of a history: what was given, and what the person made of it.",
    "router": "The rule that scores pieces for a history.",
    "score": "How well a piece fits the words of the history, before anything is chosen.",
    "weight": "How much of a piece is added for this person; 0 adds nothing, and below 0 it is taken away.",
    "assembly": "The result: one weight for each piece, and the record of how it came about. Numbers only, no text.",
    "effective sharers": "exp of the entropy of a position's weights: 1 = one sharer holds all, 40 = forty alike.",
    "top-1 share": "The largest weight at a position over the sum of its weights.",
    "full adapter": "What training a separate adapter for each person stores (the method OPPU), at the same rank.",
    "RAG": "Retrieval: similar items of the history are pasted into the prompt; the model itself is not personal.",
    "Per-Pcs": "The assembled model: pieces of sharers, weighted for this person. The prompt holds no history.",
    "Newton weights": "The weights after one damped Gauss-Newton step, solved from one backward pass over the history.",
    "OPPU": "One full adapter trained for this person on their history alone: what can be had at the cost of training.",
    "P2P": "A network writes a whole adapter for a person from their profile, in one pass and without training.",
    "wrong user": "A control: everybody gets the weights of the next person. What personalises must get worse by it.",
    "majority": "Needs no model: what the person answered most often before. There is one for tasks with labels only.",
    "oracle": "Knows how each made-up person was made; what it misses are the slips that they were given.",
    "accuracy": "Share of answers that are the person's own label; higher is better.",
    "MAE": "Mean absolute error between the answered and the true rating, in stars; lower is better.",
    "ROUGE-L": "F-measure of the longest common run of words of an answer and the true one, 0 to 1; higher is better.",
    "NLL": "Negative log-likelihood of the true answer, in nats per target token; lower is better.",
    "interval": "The people were drawn again many times, with replacement; 95 of 100 means of such draws lie in it.",
    "held out": "Kept out of training, to see whether what was learned holds for what was never seen.",
    "mix": "The shares that a position's weights have of their sum; twice as much of everything is the same mix.",
    "PEFT retrieval": "Takes whole sharers whose history is like this one, the same pieces at every position.",
    "agreement": "What two mixes have in common at a position: 100 % = the same mix, 0 % = no piece in common.",
    "update norm": "Size of what is added to a layer's matrix over the size of that matrix, both as Frobenius norms.",
    "dormant": "A sharer none of whose pieces holds any weight.",
    "over-used": "A sharer who holds more than three times an even share of all weight.",
    "influence": "How much of the mix would differ without an item, the mean over all positions.",
    "precomputed": "Computed when the pool was built and stored with it; shown without running the model.",
}

PRIVACY = (
    "Your text goes to the memory of the computer that runs this page, and nowhere else: not to disk, logs or links. "
    "It is forgotten when you press “Clear my data”, or two minutes after you close the tab."
)
CLEARED = "Cleared. Nothing of your text, your file or your assembled person is left in this session."
CLAIM = "A language model of your own, assembled from pieces that other people chose to share."
_COMPUTED = {
    "newton": "One forward and one backward pass over a newcomer’s text give",
    "gate": "One forward pass over a newcomer’s text gives",
    "fit": "A few forward and backward passes over a newcomer’s text give",
}


def computed(router: str) -> str:
    """What is computed for a newcomer, in a sentence."""
    passes = _COMPUTED.get(router.partition("+")[0], _COMPUTED["gate"])
    return f"{passes} a small table of numbers: a weight for each sharer’s piece at each position."


NO_TEXT = "A saved person holds weights and no text, so RAG has no history to retrieve from."
TOKEN_SECONDS = "Time from pressing Ask to the first token; all methods share one batch."
NO_GROUP_TWICE = "Base users, sharers and target users have nobody in common; a build in which they do is refused."
NOT_SAID = "Its maker does not say."
WORK_SECONDS = (
    "Seconds are work at the model, shared by the columns of a batch; waiting for other people is not counted."
)
BYTES_STORED = "What has to be kept for this person so that the method can answer."
MAP_NOTE = (
    "Near each other: histories about alike things, by a sentence encoder. What distance does not mean: how alike "
    "people write, whose pieces help whom, or how far apart two far corners are; a flat map keeps neighbours and bends "
    "the rest."
)


def term(word: str, shown: str | None = None) -> str:
    """A word as HTML whose definition appears on hover and on keyboard focus.

    Raises:
        KeyError: for a word without a definition, so that a page cannot make up a second vocabulary.
    """
    meaning = html.escape(TERMS[word], quote=True)
    text = html.escape(shown or word)
    return f'<span class="pp-term" tabindex="0" data-def="{meaning}" aria-label="{text}: {meaning}">{text}</span>'


SHARE_LEDE = (
    "Become a sharer: train pieces on your own text, see every number that would leave, and decide. The text stays."
)
SHARE_TRACES = (
    "They are numbers and no text. But numbers that were trained on a text can hold traces of it: whoever has them may "
    "try to learn what it was about. Share only what you would not mind being guessed."
)
