"""The record of one method's answer to one query, and warnings about its text: that it loops, is empty, or contains a
non-word.

Such an answer gets a small mark; the answer itself is always shown. Words are looked up in the English list of the
package pyspellchecker. These also count as words: words of the question or of a shown item, names and abbreviations
(anything with a capital, a digit or a mark such as # or @), single letters, British spellings, possessives, and
compounds of known words. In title case, capitals carry no information: there unknown words count only if there are
several. In a text all in capitals they carry none either, and unknown words count as in lower case.

While an answer is decoded, ``word_check`` refuses words that would earn it a mark (``perpcs.model.decode``).
"""

import gzip
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files

from perpcs.schema import Record
from perpcs.tasks import Item

# ---- the record ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer(Record):
    """One method's answer so far. Rows of one call decode together, so their seconds are the batch's; seconds spent
    waiting for other people's work are not counted.
    """

    method: str
    title: str
    prompt: str
    text: str = ""
    done: bool = False
    valid: bool = True
    """For tasks with labels: whether the finished text is one of them."""
    tokens: int = 0
    first_token_seconds: float | None = None
    seconds: float = 0.0
    prepare_seconds: float = 0.0
    retrieved: tuple[Item, ...] = ()
    bytes_stored: int = 0
    text_leaves: bool = False
    labels: dict[str, float] = field(default_factory=dict)
    """Probability of each label, for tasks with labels, once done."""
    profile: str = ""
    """The profile that stands in the prompt, where there is one."""
    says: str = ""
    """What was found while preparing, in a sentence."""


# ---- warnings --------------------------------------------------------------------------------------------------------


REPEATS = 3
"""This many repetitions in a row make a loop."""
LONG = 6
"""From this many words on, no word may make up more than half."""
ENGLISH = 0.7
"""A question is English if the list has at least this share of its words."""
_WORD = re.compile(r"[#@]?\w[\w'’./&+-]*", re.UNICODE)
_ENDS = ("'s", "’s", "'ll", "’ll", "'re", "’re", "'ve", "’ve", "'d", "’d", "n't", "n’t", "in'", "in’")
_BRITISH = (
    (r"our", "or"),
    (r"is(e|ed|es|er|ers|ing|ation|ations|able)$", r"iz\1"),
    (r"ys(e|ed|es|er|ers|ing)$", r"yz\1"),
    (r"re(s?)$", r"er\1"),
    (r"ll(ed|er|ers|ing|ous|ery)$", r"l\1"),
    (r"ogue(s?)$", r"og\1"),
    (r"mme(s?)$", r"m\1"),
    (r"ence(s?)$", r"ense\1"),
    (r"ae", "e"),
    (r"mould", "mold"),
    (r"cheque", "check"),
)
"""Spellings that the list, which is American, has in another form: (pattern, what it has there)."""
_BEFORE: tuple[str, ...] = (
    "anti",
    "co",
    "de",
    "hyper",
    "inter",
    "meta",
    "micro",
    "mid",
    "multi",
    "non",
    "over",
    "post",
    "pre",
    "pseudo",
)
_BEFORE += ("re", "self", "semi", "sub", "super", "trans", "un", "under")
_AFTER = ("s", "es", "ed", "d", "ing", "er", "ers", "ly", "ness", "able", "less", "ish", "like")
_NEWER = (
    "ai app apps blog blogs cafe cafes covid crypto emoji emojis google hashtag hashtags lol matcha meme memes "
    "omg podcast podcasts selfie selfies softmax subword subwords tweet tweets vlog wifi wiki ok bro vegan "
    "streaming coreference tokenizer tokenizers treebank treebanks corpora embeddings dataset datasets benchmark "
    "benchmarks multimodal multilingual monolingual crosslingual unsupervised parsers parser neural convolutional "
    "transformer transformers bigram trigram pyjamas kerb tyre tyres "
)
"""Words that the list lacks and that headlines, tweets and titles of papers often use."""


@dataclass(frozen=True)
class Marks:
    """The warnings; all empty if there are none."""

    empty: bool = False
    loop: str = ""
    """The repeated words."""
    unknown: tuple[str, ...] = ()
    """The non-words, each once, as written in the answer."""

    def __bool__(self) -> bool:
        return self.empty or bool(self.loop) or bool(self.unknown)

    @property
    def label(self) -> str:
        """The mark in a word or two."""
        return "empty" if self.empty else "loops" if self.loop else "contains a non-word" if self.unknown else ""

    @property
    def says(self) -> str:
        """The mark in a sentence."""
        if self.empty:
            return "The answer is empty: the model stopped before writing a word."
        said = [f"The answer repeats “{self.loop}”."] if self.loop else []
        if self.unknown:
            named = ", ".join(f"“{word}”" for word in self.unknown[:3])
            verb = "is not" if len(self.unknown) == 1 else "are not"
            said.append(f"{named} {verb} in the English word list, the question or the history.")
        return " ".join(said)


def marks_of(text: str, seen: Sequence[str] = ()) -> Marks:
    """The warnings about an answer.

    Args:
        seen: texts whose words count as words: the question, the items that were shown.
    """
    words = _WORD.findall(text)
    if not words:
        return Marks(empty=True)
    return Marks(loop=looping(words), unknown=unknown_words(words, words_of(seen)))


def word_check(question: str, seen: Sequence[str] = ()) -> Callable[[str], bool] | None:
    """Whether the last word of an answer so far would earn it a mark. None for a question that is not in English: the
    list of words says nothing about its answer.

    Args:
        seen: other texts whose words count as words.
    """
    asked = [word for word in _WORD.findall(question) if word[0].isalpha()]
    if sum(word.isascii() and _is_word(word, ()) for word in asked) < ENGLISH * len(asked):
        return None
    known = words_of([question, *seen])

    def refused(text: str) -> bool:
        words = _WORD.findall(text)
        return bool(words) and (bool(looping(words)) or words[-1] in unknown_words(words, known))

    return refused


def words_of(texts: Sequence[str]) -> set[str]:
    """The words of some texts, in lower case, compounds in their parts."""
    return {part for text in texts for word in _WORD.findall(text) for part in _parts(word.lower())}


def looping(words: Sequence[str]) -> str:
    """The words that are written ``REPEATS`` times in a row or more, else the one that fills a longer answer."""
    low = [word.lower().rstrip(".") for word in words]
    for length in range(1, len(low) // REPEATS + 1):
        same = 0  # how many words in a row stand as they did ``length`` words before
        for at in range(length, len(low)):
            same = same + 1 if low[at] == low[at - length] else 0
            if same >= length * (REPEATS - 1):
                return " ".join(low[at - length + 1 : at + 1])
    word, count = Counter(low).most_common(1)[0]
    return word if len(low) >= LONG and count > len(low) / 2 else ""


def unknown_words(words: Sequence[str], known: Collection[str] = ()) -> tuple[str, ...]:
    """The unknown words, each once, in order."""
    strange = [word for word in dict.fromkeys(words) if not _is_word(word, known)]
    plain = [word for word in strange if word.islower()]
    longer = [word for word in words if len(word) > 3 and word[0].isalpha()]
    if longer and sum(word.isupper() for word in longer) > 0.7 * len(longer):
        return tuple(word for word in strange if word.isupper() and len(word) > 3)
    titled = longer and sum(word[0].isupper() for word in longer) > 0.7 * len(longer)
    names = [word for word in strange if word.istitle()]
    if titled and len(names) >= 2 and 3 * len(names) >= len(words):
        return tuple(word for word in strange if word in plain or word in names)
    return tuple(plain)


def _is_word(word: str, known: Collection[str]) -> bool:
    """Whether a word is known, regardless of capitals."""
    if word[0] in "#@" or any(ch.isdigit() for ch in word) or not word.isascii() or len(word.strip(".'’-")) < 2:
        return True
    return all(part in known or _in_list(part) for part in _parts(word.lower()))


def _parts(word: str) -> list[str]:
    """The parts of a compound, without the ends that any word may have: ``editor's-choice`` is editor and choice."""
    parts = []
    for part in re.split(r"[-/&+.]", word):
        for end in _ENDS:
            if part.endswith(end) and len(part) > len(end):
                part = part.removesuffix(end) + ("ing" if end[0] == "i" else "")
                break
        part = part.strip("'’")
        if len(part) > 1:
            parts.append(part)
    return parts


def _in_list(word: str) -> bool:
    """Whether the list has a word in any of its forms."""
    listed = word_list()
    if word in listed or any(re.sub(old, new, word) in listed for old, new in _BRITISH):
        return True
    stems = [word.removesuffix(end) for end in _AFTER if word.endswith(end) and len(word) > len(end) + 2]
    if any(stem in listed or f"{stem}e" in listed for stem in stems):
        return True
    heads = [word.removeprefix(start) for start in _BEFORE if word.startswith(start) and len(word) > len(start) + 2]
    return any(rest in listed for rest in heads)


@lru_cache(maxsize=1)
def word_list() -> frozenset[str]:
    """English words, lower case (a sixth of a second when it is first asked for; the package itself takes longer)."""
    packed = files("spellchecker").joinpath("resources", "en.json.gz").read_bytes()
    return frozenset(json.loads(gzip.decompress(packed))) | frozenset(_NEWER.split())
