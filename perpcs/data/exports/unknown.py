"""Structured text of no known export: refused by its name, since its lines are no items.

Each kind is told by how a text opens, not by its name's ending; endings count only for files of source text.
"""

import re
from pathlib import PurePath

from perpcs.data.exports.given import Given
from perpcs.errors import PerpcsError

_AS_TABLE = "Export it as CSV or JSON, or paste the texts themselves, one a line."
_OWN = "Paste your own messages, one a line."
_KINDS = (  # how it opens, what it is, what to give instead
    (r"<!doctype html|<html\b|<head\b|<body\b", "a web page (HTML)", "Choose JSON instead of HTML when you export."),
    (r"<opml\b", "a list of feeds (OPML)", "Give the feed of your own site."),
    (r"<(?:kml|gpx|svg|plist|smses)\b", "XML of another kind", _AS_TABLE),
    (r"BEGIN:VCARD", "an address book (vCard)", "Give what you wrote instead."),
    (r"BEGIN:VCALENDAR", "a calendar (iCalendar)", "Give what you wrote instead."),
    (
        r"\[LINE\] |(?=[^\n]*(?:KakaoTalk|카카오톡))[^\n]*+\n(?:Date Saved|저장한 날짜)",
        "a chat of LINE or KakaoTalk",
        _OWN,
    ),
    (r"TY  - ", "references in RIS", "Export them as BibTeX or CSL-JSON."),
    (r"%0 \w|PMID- ?\d", "references in EndNote's or PubMed's format", "Export them as BibTeX or CSL-JSON."),
    (r"\{\\rtf", "rich text (RTF)", "Save it as plain text."),
    (r"\\documentclass|\\begin\{", "LaTeX", "Give its bibliography as BibTeX, or the texts themselves."),
    (r"WEBVTT|1\n\d\d:\d\d:\d\d[,.]\d{3} -->", "subtitles", "Give what you wrote yourself."),
    (r"%PDF", "a PDF", "Save it as text."),
    (r"-----BEGIN [A-Z ]+-----", "a key, a certificate or encrypted text", "Give what you wrote instead."),
    (r"(?:--[^\n]*\n|\s++)*+(?:CREATE TABLE|INSERT INTO|DROP TABLE|BEGIN TRANSACTION|PRAGMA )", "SQL", _AS_TABLE),
    (r"diff --git |--- \S+\n\+\+\+ ", "a patch", "Give what you wrote instead."),
    (r"#!|<\?php|import \w+\n|from [\w.]+ import ", "a program", "Give what you wrote instead."),
    (r"@(?:comment|string|preamble)\s*[{(]", "BibTeX without entries", "Export entries with their abstracts."),
    (r"---[ \t]*+\n[\w\" -]++:[ \t\n]", "YAML", _AS_TABLE),
    (r"\[[\w. -]+\]\n[\w. -]++[ \t]*+=", "a settings file", "Give what you wrote instead."),
)
_OPENINGS = [(re.compile(pattern, re.IGNORECASE), kind, do) for pattern, kind, do in _KINDS]
_XML = re.compile(r"(?:<\?xml[^>]*>|<!--.*?-->|<!DOCTYPE[^>]*>|\s++)*+<([A-Za-z][\w:.-]*)(?=[\s/>])[^<>]*>", re.DOTALL)
_YAML = re.compile(r"(?:- )?[\w\"'-]+:(?: .*)?$|\s+- |\s{2,}[\w\"'-]+:(?: |$)")
_ENDINGS = {
    **dict.fromkeys((".yaml", ".yml"), "YAML"),
    **dict.fromkeys((".html", ".htm", ".xhtml", ".mhtml"), "a web page (HTML)"),
    **dict.fromkeys((".toml", ".ini", ".cfg", ".conf", ".env", ".plist"), "a settings file"),
    **dict.fromkeys((".py", ".js", ".ts", ".c", ".cpp", ".java", ".rs", ".go", ".sh", ".php", ".css"), "a program"),
    ".sql": "SQL",
    ".tex": "LaTeX",
    ".xml": "XML",
    ".rtf": "rich text (RTF)",
    ".srt": "subtitles",
    ".ics": "a calendar",
    ".vcf": "an address book (vCard)",
    ".ris": "references in RIS",
    ".log": "a log",
    ".ipynb": "a notebook",
    ".bib": "BibTeX without entries",
    ".mbox": "no mailbox that can be read",
    ".eml": "no mail that can be read",
}


def refuse_structured(given: Given) -> None:
    """Raise for a text that is structured and none of the exports that are read.

    Raises:
        PerpcsError: with the kind's name and what to export instead.
    """
    text = given.text.lstrip()
    for pattern, kind, do in _OPENINGS:
        if pattern.match(text):
            raise PerpcsError(f"This is {kind}, which is not read here.", do)
    if (root := _XML.match(text)) and _closes(text, root[1]):
        raise PerpcsError(f"This is XML (<{root[1][:40]}>) of a kind that is not read here.", _AS_TABLE)
    if given.script:
        raise PerpcsError(f"This is a script that sets {given.script[:40]!r}, not a history.", _AS_TABLE)
    if (
        given.share(_YAML) == 1.0
        and text.count("\n") > 3
        and "\n" in text
        and re.search(r"^[ \t]+\S|^- ", text, re.MULTILINE)
    ):
        raise PerpcsError("This is YAML, which is not read here.", _AS_TABLE)
    ending = PurePath(given.name).suffix.lower()
    if ending in _ENDINGS:
        raise PerpcsError(f"This is {_ENDINGS[ending]}, which is not read here.", _AS_TABLE)


def _closes(text: str, root: str) -> bool:
    """Whether the text ends as the element that opens it does: then it is markup, not a line that begins with <3."""
    return text.rstrip().endswith((f"</{root}>", "/>")) or f"</{root}>" in text
