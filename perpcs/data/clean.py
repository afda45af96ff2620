"""From bytes to text that is safe to read: encodings, line breaks, control characters.

    decode    bytes -> (text, notes): byte order marks, UTF-8, UTF-16 and UTF-32, else by the letters' frequencies
    prepare   text -> (text, notes): every line break is \\n, no control characters but \\n and \\t, no lone surrogates

Line numbers are the same before and after ``prepare``.
"""

import re

from charset_normalizer import from_bytes

from perpcs.data.limits import count
from perpcs.errors import PerpcsError

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
