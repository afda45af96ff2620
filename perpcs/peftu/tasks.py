"""The thirteen tasks of PEFT-U (arXiv 2407.18078) and one of the small town, as data.

A task is a question about a text to which different people rightly give different answers: its labels, the words that
stand for them in a prompt, what is asked, and whether several labels may hold at once. Names and labels are those of
the benchmark's public files; the questions and words are ours.

The first token of each label's word must differ from that of every other. Then the likelihood of a label among the
labels is a softmax over these first tokens, and one forward pass scores them all.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from perpcs.errors import unknown


@dataclass(frozen=True)
class PeftTask:
    """One task."""

    name: str
    """The name of its file, without ``.json``."""
    title: str
    asks: str
    """What is said before the text."""
    ends: str
    """What stands between the text and the answer."""
    words: Mapping[str, str]
    """Each label, and the word that stands for it."""
    several: bool = False
    """Whether several labels may hold."""
    version: int = 1

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.words)

    @property
    def metric(self) -> str:
        """What accuracy means."""
        return (
            "mean over texts of the labels both named over the labels either named"
            if self.several
            else "share of texts with the right label"
        )

    def before(self) -> str:
        """The prompt up to the text."""
        said = ", ".join(self.words.values())
        return f"{self.asks} Possible answers: {said}.\n\nText: "

    def after(self) -> str:
        """The prompt from the end of the text to the answer, which follows with a space."""
        return f"\n\n{self.ends}"


def _same(*labels: str) -> dict[str, str]:
    return {label: label for label in labels}


_EMOTIONS = "Question: which emotions did the reader feel?\nAnswer:"
_HATE = {"Hateful": "hateful", "Non-hateful": "fine"}
_FEELING = {
    "veryNegative": "terrible",
    "negative": "negative",
    "somewhatNegative": "doubtful",
    "neutral": "neutral",
    "somewhatPositive": "fair",
    "positive": "positive",
    "veryPositive": "excellent",
}
TASKS: dict[str, PeftTask] = {
    task.name: task
    for task in (
        PeftTask(
            "hatexplain",
            "HateXplain",
            "How does this reader judge the post?",
            "Question: what is this post to the reader?\nAnswer:",
            {"hatespeech": "hate", "offensive": "offensive", "normal": "normal"},
        ),
        PeftTask(
            "gabhate",
            "GabHate",
            "Does this reader find the post hateful?",
            "Question: is the post hateful or fine to the reader?\nAnswer:",
            _HATE,
        ),
        PeftTask(
            "measuringhatespeech",
            "Measuring Hate Speech",
            "How much hate speech does this reader find in the post?",
            "Question: how much hate speech is in it?\nAnswer:",
            {"0": "none", "1": "some", "2": "much"},
        ),
        PeftTask(
            "tweeteval",
            "TweetEval",
            "Does this reader find the tweet hateful?",
            "Question: is the tweet hateful or fine to the reader?\nAnswer:",
            _HATE,
        ),
        PeftTask(
            "unhealthyconversations",
            "Unhealthy Conversations",
            "Does this reader find the comment healthy for a conversation?",
            "Question: is the comment healthy or harmful to the reader?\nAnswer:",
            {"healthy": "healthy", "unhealthy": "harmful"},
        ),
        PeftTask(
            "wikidetox",
            "WikiDetox",
            "Does this reader find the comment aggressive?",
            "Question: is the comment aggressive or normal to the reader?\nAnswer:",
            {"Aggressive": "aggressive", "Normal": "normal"},
        ),
        PeftTask(
            "goemotion",
            "GoEmotions",
            "Which emotions does this reader see in the comment?",
            "Question: which emotions are in the comment?\nAnswer:",
            _same("anger", "disgust", "fear", "joy", "sadness", "surprise"),
            several=True,
        ),
        PeftTask(
            "studemo",
            "StudEmo",
            "Which emotions does this reader feel when reading the text?",
            _EMOTIONS,
            _same("anger", "anticipation", "disgust", "fear", "joy", "neutral", "sadness", "surprise", "trust"),
            several=True,
        ),
        PeftTask(
            "cockamamie",
            "Cockamamie Gobbledegook",
            "Does this reader find the word funny?",
            "Question: is it funny?\nAnswer:",
            _same("no", "yes"),
        ),
        PeftTask(
            "epic",
            "EPIC",
            "Does this reader find the reply ironic?",
            "Question: is the reply ironic or literal?\nAnswer:",
            {"Ironic": "ironic", "Non-ironic": "literal"},
        ),
        PeftTask(
            "subjectivediscourse_response",
            "Subjective Discourse: response",
            "How does this reader see a witness answer a question?",
            "Question: what does the witness do?\nAnswer:",
            {
                "answer": "answer",
                "answer_overans-sway": "persuade",
                "shift-dodge": "dodge",
                "shift-correct": "correct",
                "cant-answer-sincere": "unable",
                "cant-answer-lying": "lie",
            },
        ),
        PeftTask(
            "subjectivediscourse_question_sentiment",
            "Subjective Discourse: question sentiment",
            "How does this reader feel about those who ask?",
            "Question: what does the reader feel about them?\nAnswer:",
            _FEELING,
        ),
        PeftTask(
            "subjectivediscourse_response_sentiment",
            "Subjective Discourse: response sentiment",
            "How does this reader feel about the witness?",
            "Question: what does the reader feel about the witness?\nAnswer:",
            _FEELING,
        ),
        PeftTask(
            "smalltown",
            "Small town: what a customer makes of a review",
            "How does this reader judge the thing that the review is about?",
            "Question: what does the reader think of it?\nAnswer:",
            {"bad": "bad", "fair": "fair", "good": "good"},
        ),
    )
}
PUBLISHED_TASKS = tuple(name for name in TASKS if name != "smalltown")
"""Those of the benchmark."""


def get_peft_task(name: str) -> PeftTask:
    """The task of a name.

    Raises:
        PerpcsError: for an unknown one.
    """
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    return TASKS[name]
