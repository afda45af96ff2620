r"""From bytes to text that is safe to read: encodings, line breaks, control characters.

    decode    bytes -> (text, notes): byte order marks, UTF-8, UTF-16 and UTF-32, else by the letters' frequencies
    prepare   text -> (text, notes): every line break is \n, no control characters but \n and \t, no lone surrogates

Line numbers are the same before and after ``prepare``.

Text out of markup: HTML to plain text, and the repair of text that was encoded twice.

The tags are found by one regular expression and no tree is built: parsers that build one, Python's own among them, take
minutes over a megabyte of tags that nothing closes, and here everything is read in the time of its length.

What a reading may hold and what it gives back: Limits, Row, BadRow, Reading.

A file or a paste is first cut into ``Row`` records (one per thing that should become an item, with the physical line on
which it starts), and then each row becomes an item, a ``BadRow``, or is past the limit. Nothing else can happen to it:

    len(items) + len(bad) + cut == rows given
"""

import ctypes
import gc
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import wraps
from html import unescape
from typing import Any, ParamSpec, TypeVar

import ftfy
from charset_normalizer import from_bytes

from perpcs.errors import PerpcsError
from perpcs.tasks import Item

# ---- limits ----------------------------------------------------------------------------------------------------------


P = ParamSpec("P")
T = TypeVar("T")
EXCERPT_CHARS = 60
MAX_MEMBERS = 20_000
"""Files in an archive; archives with more are refused."""
MAX_ARCHIVE_BYTES = 100_000_000
"""What the readable files of an archive may unpack to, together."""
MAX_CELLS = 2_000_000
"""Cells of a workbook."""
MAX_LINES = 300_000
"""Lines of a text that are not empty, and entries of a JSON list: more are refused before they are looked at."""
MAX_SECONDS = 20.0
"""A reading that takes longer is ended: other visitors share the server."""


@dataclass(frozen=True)
class Limits:
    """How much of what a person gives is read. What is cut is said in ``Reading.notes``, never silently."""

    max_bytes: int = 20_000_000
    """Larger files and pastes are refused: half a JSON file is no JSON file."""
    max_rows: int = 2_000
    """Of more rows the last, which are the newest, are read; the others are counted."""
    max_chars_per_field: int = 4_000
    """Longer fields are cut to this length."""


@dataclass(frozen=True)
class Row:
    """One thing that should become an item, not yet looked at."""

    line: int
    """1-based physical line on which it starts."""
    raw: str
    """The beginning of what was written there, for the excerpt."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """The named fields; ``x`` and ``y`` where they had no names."""
    problem: tuple[str, str] | None = None
    """What is wrong and what to do, where the row cannot even be cut into fields."""
    person: str = ""
    """Whose text it is, where rows of several people may lie in one file."""


@dataclass(frozen=True)
class BadRow:
    """One row that was kept out."""

    line: int
    """1-based line number in what the person gave."""
    reason: str
    do: str
    excerpt: str
    """At most 60 characters of the row."""


@dataclass(frozen=True)
class Reading:
    """What was read: the good items, the rows kept out, and sentences on all that was cut or guessed."""

    items: tuple[Item, ...]
    bad: tuple[BadRow, ...] = ()
    notes: tuple[str, ...] = ()
    lines: tuple[int, ...] = ()
    """The line number of each item, in the order of ``items``."""
    cut: int = 0
    """Rows past ``Limits.max_rows``, which were not looked at."""
    fits: tuple[str, ...] = ()
    """The names of all tasks for which most of the rows can be read."""

    def summary(self) -> str:
        """One sentence: how many items, how many rows kept out, how many cut."""
        parts = [f"{count(len(self.items), 'item')} read"]
        if self.bad:
            parts.append(f"{count(len(self.bad), 'row')} kept out")
        if self.cut:
            parts.append(f"{count(self.cut, 'row')} past the limit")
        return ", ".join(parts) + "."


class _TooLong(BaseException):
    """Not an Exception, so that no parser mistakes it for something wrong in the file."""


def _let_happen(thread: ctypes.c_ulong) -> None:
    """End with nothing raised in this thread that has not happened yet.

    To withdraw it (with None) would leave Python's note that there is something to raise: every later call in the
    process then looks for it, and a call under a profiler or debugger looks for ever.
    """
    with suppress(_TooLong):
        ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(_TooLong))
        for _ in range(1_000_000):  # it happens in the first rounds
            pass


_reading = 0
_reading_lock = threading.Lock()


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Pause garbage collection: what readers make has no circular references, and each collection over half a million
    rows holds all threads for up to a tenth of a second.
    """
    global _reading
    with _reading_lock:
        _reading += 1
        gc.disable()
    try:
        yield
    finally:
        with _reading_lock:
            _reading -= 1
            if not _reading:
                gc.enable()


def in_time(read: Callable[P, T]) -> Callable[P, T]:
    """Have a function that reads what a person gave end after ``MAX_SECONDS``, whichever parser it is in then.

    A second thread raises an exception in the reading one, which Python lets happen between any two instructions, again
    and again until the function is left. One call into C must be short by itself.

    Raises:
        PerpcsError: when the time is over.
    """

    @wraps(read)
    def timed(*args: P.args, **kwargs: P.kwargs) -> T:
        reading, done, raised = ctypes.c_ulong(threading.get_ident()), threading.Event(), threading.Event()

        def watch() -> None:
            wait = MAX_SECONDS
            while not done.wait(wait):
                raised.set()
                ctypes.pythonapi.PyThreadState_SetAsyncExc(reading, ctypes.py_object(_TooLong))
                wait = 0.5

        watcher = threading.Thread(target=watch, name="reading-clock", daemon=True)
        watcher.start()

        def stop() -> None:
            done.set()
            watcher.join()
            if raised.is_set():
                _let_happen(reading)

        with _no_garbage():  # outside of what may be interrupted
            try:
                try:
                    return read(*args, **kwargs)
                finally:
                    stop()
            except _TooLong:
                stop()
                raise PerpcsError("It takes too long to read.", "Give the part with your newest items.") from None

    return timed


def check_lines(text: str) -> None:
    """Refuse a text of too many lines before anything looks at each.

    Raises:
        PerpcsError: for more than ``MAX_LINES`` lines that are not empty.
    """
    if text.count("\n") - text.count("\n\n") > MAX_LINES:
        raise PerpcsError(f"It has more than {MAX_LINES:,} lines.", "Give the part with your newest items.")


def count(n: int, noun: str) -> str:
    """``1 row``, ``2,000 rows``."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def excerpt(text: str, chars: int = EXCERPT_CHARS) -> str:
    """The text on one line, at most ``chars`` long."""
    flat = " ".join(text[: 4 * chars].split())
    whole = len(text) <= 4 * chars and len(flat) <= chars
    return flat if whole else flat[: chars - 1] + "…"


# ---- bytes to text ---------------------------------------------------------------------------------------------------


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_MARKS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
)
_MAGIC = (
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"SQLite format 3", "a database"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\x80\x04\x95", "a pickle of Python, which can run code,"),
)
_MAC_LETTERS = frozenset(b"\x87\x88\x8a\x8d\x8e\x8f\x90\x9a\x9d\x9f")
"""á à ä ç é è ê ö ù ü in old files of a Mac; in Windows-1252 they are rare signs, or nothing."""
_PART = 500_000
"""Characters that are searched at once."""
_SAVE_AS = "Save it as text (UTF-8), CSV or JSON and upload that."


def decode(data: bytes) -> tuple[str, tuple[str, ...]]:
    """The text of a file and a note on any guess made about its encoding.

    Raises:
        PerpcsError: for an empty file, a file that is not text, or one that breaks the encoding it declares.
    """
    if not data.strip():
        raise PerpcsError("The file is empty.", "Choose a file with at least one item in it.")
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            do = "Unpack it, and give the file in it." if kind.endswith("archive") else _SAVE_AS
            raise PerpcsError(f"The file is {kind}, not text.", do)
    if b"eroots" in data[:64] and b"gversion" in data[:128]:
        raise PerpcsError("The file is a Bluesky repository (CAR).", "Give its records as JSON instead.")
    text, notes = _decode_known(data) or _decode_guess(data)
    if is_binary(text):
        raise PerpcsError("The file is not text: it is full of control characters.", _SAVE_AS)
    return text, notes


def prepare(text: str) -> tuple[str, tuple[str, ...]]:
    """The text with one kind of line break, without control characters and lone surrogates; notes say what was lost."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    text, dropped = _replaced(_CONTROL, "", text)
    text, halves = _replaced(_SURROGATE, "\ufffd", text)
    notes = []
    if dropped:
        notes.append(f"Left out {count(dropped, 'control character')}.")
    if halves:
        notes.append(f"Replaced {count(halves, 'broken character')} by \ufffd.")
    return text, tuple(notes)


def _replaced(pattern: re.Pattern[str], new: str, text: str) -> tuple[str, int]:
    """The text with new for each match of one character, and how many there were. In parts, between which other threads
    have their turn: one search through a whole file would hold them all.
    """
    parts = [pattern.subn(new, text[start : start + _PART]) for start in range(0, len(text), _PART)]
    return "".join(part for part, _ in parts), sum(found for _, found in parts)


def clean_field(text: str) -> str:
    """One field, cleaned as ``prepare`` cleans a file: JSON escapes can bring back what was taken out."""
    return prepare(text)[0].strip()


def is_binary(text: str) -> bool:
    """Whether more than a twentieth of the text is control characters; a stray NUL or two is not enough."""
    controls = _replaced(_CONTROL, "", text)[1] - text.count("\r")
    return controls > 4 and controls * 20 > len(text)


def _decode_known(data: bytes) -> tuple[str, tuple[str, ...]] | None:
    """The text where a byte order mark or the pattern of zero bytes names the encoding."""
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None) or _zero_pattern(data)
    if encoding is None or (encoding == "utf-8-sig" and not _is_utf8(data)):
        return None
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise PerpcsError(
            f"The file says it is {encoding.upper()[:6]} but breaks off at byte {error.start + 1:,}.", _SAVE_AS
        ) from None
    return text, () if encoding == "utf-8-sig" else (f"Read as {encoding.upper()[:6]}.",)


def _zero_pattern(data: bytes) -> str | None:
    """UTF-16 without a mark: in Latin scripts every second byte is zero, always on the same side."""
    head = data[:4096]
    if len(data) % 2 or len(head) < 4:
        return None
    even, odd = head[0::2].count(0), head[1::2].count(0)
    half = len(head) // 2
    if odd * 10 > half * 4 and even * 10 < half:
        return "utf-16-le"
    if even * 10 > half * 4 and odd * 10 < half:
        return "utf-16-be"
    return None


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _decode_guess(data: bytes) -> tuple[str, tuple[str, ...]]:
    """UTF-8; UTF-8 with a few broken characters; or Windows-1252, in which nearly any bytes are text."""
    if _is_utf8(data):
        return data.decode("utf-8"), ()
    repaired = data.decode("utf-8", errors="replace")
    broken = repaired.count("\ufffd")
    beyond_ascii = sum(1 for char in repaired if char > "\x7f") - broken
    cut_at_end = broken == 1 and repaired.endswith("\ufffd")
    # A file in another encoding has hardly any valid UTF-8 sequence; a damaged UTF-8 file has mostly valid ones.
    if beyond_ascii > 4 * broken or (cut_at_end and beyond_ascii):
        return repaired, (f"{count(broken, 'character')} could not be decoded and shown as \ufffd.",)
    high = [byte for byte in data[:4096] if byte > 0x7F]
    if len(high) * (4 if len(data) >= 40 else 2) > len(data[:4096]):
        guess = from_bytes(data[:100_000]).best()  # right where most letters are beyond ASCII; of Latin text it errs
        if guess is not None and not guess.encoding.startswith("utf"):
            note = f"The file is not UTF-8, so it was read as {guess.encoding.upper()}: check it in the preview."
            return data.decode(guess.encoding, errors="replace"), (note,)
    if sum(byte in _MAC_LETTERS for byte in high) * 2 > len(high):
        return data.decode("mac_roman"), ("The file is not UTF-8, so it was read as Mac Roman: check the accents.",)
    note = "The file is not UTF-8, so it was read as Windows-1252: check the accents in the preview."
    try:
        return data.decode("cp1252"), (note,)
    except UnicodeDecodeError:
        return data.decode("latin-1"), (note.replace("Windows-1252", "Latin-1"),)


# ---- markup ----------------------------------------------------------------------------------------------------------


_ELEMENT = re.compile(
    r"<(?:/?(?:p|div|span|blockquote|[uo]l|li|h[1-6]|a|[bius]|em|strong|table|t[rdh]|code|pre|sup|sub|jats:\w+)\b[^<>]*"
    r"|(?:br|hr|img)\b[^<>]*)>",
    re.IGNORECASE,
)
_CLOSED = re.compile(r"</\w[\w:]*>|<(?:br|hr|p|img)\b[^<>]*>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|apos|nbsp|#\d{1,6}|#x[0-9a-fA-F]{1,5});")
_BREAKS = re.compile(r"<(?:br|p|div|li)\b", re.IGNORECASE)
_BLOCKS = frozenset(
    (
        *("div", "blockquote", "ul", "ol", "li", "table", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "article"),
        *("section", "header", "footer", "figure", "jats:p", "jats:title"),
    )
)
_PARAGRAPHS = frozenset(("p", "jats:p"))
_SILENT = frozenset(["script", "style", "head", "title", "template", "noscript", "svg", "iframe"])
_TAG = re.compile(
    r"<!--(?:.*?-->|.*)|<[!?][^>]*+>?|"
    r"<(?P<end>/?)(?P<name>[a-zA-Z][\w:.-]*)(?P<attributes>(?:[^<>\"']|\"[^\"<]*\"|'[^'<]*')*+|[^<>]*+)>",
    re.DOTALL,
)
_CLASS = re.compile(r"(?:class|id)\s*=\s*[\"']?([^\"'>]*)", re.IGNORECASE)
_VOID = frozenset(("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"))


_HUGE = re.compile(r"&#\d{8,};?")
"""Beyond every character; Python refuses to read thousands of digits as a number."""


def decoded(text: str) -> str:
    """The text with HTML's entities as the characters they stand for."""
    return unescape(_HUGE.sub("\ufffd", text))


def holds_markup(text: str) -> bool:
    """Whether a text is HTML rather than prose that speaks of a tag: some element is closed, or is a line break."""
    return "<" in text and _ELEMENT.search(text) is not None and _CLOSED.search(text) is not None


def html_to_text(html: str, skip: frozenset[str] = frozenset()) -> str:
    """The text that a reader of the page sees: a line break for <br>, a blank line between paragraphs.

    Args:
        skip: elements that are left out with all that they hold, by name or as ``.class``: the mail that is quoted.
    """
    if "<" not in html:
        return decoded(html).replace("\xa0", " ").strip()
    if _BREAKS.search(html):  # where elements break the lines, line breaks in the source are spaces
        html = re.sub(r"\s+", " ", html)
    text = "".join(_parts(html, skip)).replace("\xa0", " ")
    text = "\n".join(line.strip(" \t") for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def without_markup(text: str) -> str:
    """A text as it reads, if it is HTML or holds HTML's entities; any other as it is."""
    if holds_markup(text):
        return html_to_text(text)
    return decoded(text).replace("\xa0", " ") if _ENTITY.search(text) else text


def decoded_once(text: str) -> str:
    """Text whose UTF-8 was written as if each byte were a character, as Meta's archives do, read as it was meant."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return ftfy.fix_encoding(text)


def _parts(html: str, skip: frozenset[str]) -> Iterator[str]:
    """The text between the tags, with line breaks where elements make them. One pass, whatever is open or nested."""
    skip = skip | _SILENT
    inside, depth, pos = "", 0, 0  # what is being left out, and how many elements of that name are open in it
    for tag in _TAG.finditer(html):
        if tag.start() > pos and not depth:
            yield decoded(html[pos : tag.start()])
        pos = tag.end()
        name = (tag["name"] or "").lower()
        if not name:  # a comment or a declaration; one that never ends takes all that follows
            continue
        if depth:
            depth += 0 if name != inside else -1 if tag["end"] else 1
        elif name in ("br", "hr"):
            yield "\n"
        elif not tag["end"] and name not in _VOID and (name in skip or _has_class(tag["attributes"], skip)):
            inside, depth = name, int(not tag["attributes"].endswith("/"))
        elif name in _PARAGRAPHS or name in _BLOCKS:
            yield "\n\n" if name in _PARAGRAPHS else "\n"
    if not depth:
        yield decoded(html[pos:])


def _has_class(attributes: str, skip: frozenset[str]) -> bool:
    return any(f".{word}" in skip for found in _CLASS.finditer(attributes) for word in found[1].split())
