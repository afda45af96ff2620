"""The guided tours, as data: for each page the places to look at, in order, and one thing to do at each.

A page that wants a tour adds a line here:

    TOURS["sharers"] = (Stop(".st-key-map", "The map", "What it is.", "What to do."), ...)

A target is a CSS selector of one element on the page; widgets have one by their key, ``.st-key-KEY``. Steps are linked
to as ``?tour=assemble.2``, counted from 1.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stop:
    """One step of a tour."""

    target: str
    """CSS selector of what stays bright; where there is no such thing now, nothing is dimmed."""
    title: str
    text: str
    """What it is, in a sentence or two."""
    action: str
    """The one thing to do here, as a request."""


TOURS: dict[str, tuple[Stop, ...]] = {
    "overview": (
        Stop(
            ".pp-claim",
            "What this is",
            "Everybody gets the same model. Here a person’s past texts make it theirs, without training a network.",
            "Read the sentence; everything else on these pages spells it out.",
        ),
        Stop(
            ".pp-story",
            "One person, five steps",
            "A real run, from what somebody wrote to an answer in their manner. All numbers are from that run.",
            "Press the numbers 1 to 5 above the figure.",
        ),
        Stop(
            ".pp-size",
            "How little it is",
            "Sharers gave pieces of their own adapters to the pool: numbers, no text. A person here is less still.",
            "Compare the two squares: one person here, and an adapter of one’s own.",
        ),
        Stop(
            ".st-key-doors",
            "Three ways in",
            "Watch an example, bring your own text, or read how it works.",
            "Press “Watch an example” when you have seen enough here.",
        ),
    ),
    "assemble": (
        Stop(
            ".st-key-source",
            "Whose history?",
            "An example person, text that you paste, a file, or a person you saved before.",
            "Stay with “Example” for now.",
        ),
        Stop(
            "[class*='st-key-example-']",
            "Six made-up people",
            "None of them is among the sharers, and the model has read none of them.",
            "Choose another person and see the map change.",
        ),
        Stop(
            ".st-key-mapbox",
            "The map",
            "A row is a layer of the model, a column a sharer. A coloured square: this person uses that piece, the "
            "stronger the more. A dot: they do not.",
            "Click a square.",
        ),
        Stop(
            ".st-key-view",
            "A closer look",
            "Everything about the piece you clicked, and four other views of the same numbers.",
            "Open “What if” and take something away.",
        ),
        Stop(
            ".st-key-watch",
            "See it happen",
            "The same history is read again, now, on this computer.",
            "Press “Watch it happen”. Stop and skip are there if it takes long.",
        ),
        Stop(
            ".st-key-knobs-box",
            "Turn the knobs",
            "How pieces are scored and chosen. What changed against the run before is drawn under the map.",
            "Open the knobs, choose “As in the paper”, and watch it happen again.",
        ),
        Stop(
            ".st-key-save",
            "Take the person along",
            "A file of numbers without a word of the history.",
            "Press “Save”; load it again under “Saved”.",
        ),
    ),
    "compare": (
        Stop(
            ".st-key-methods",
            "Who answers",
            "Methods that know nothing of the person, that paste their history into the prompt, or that use the "
            "assembled model.",
            "Switch one off and on again.",
        ),
        Stop(
            ".st-key-ask",
            "The same question for all",
            "All methods answer in one batch, with the same seed and decoding.",
            "Press “Ask” and watch them write.",
        ),
        Stop(
            ".pp-truth",
            "What the person really wrote",
            "It was held out: no method has seen it.",
            "Look for the underlined words in the answers: those they share with it.",
        ),
    ),
}
