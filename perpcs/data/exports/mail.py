"""Sent mail (mbox, or one .eml): what the person wrote, without the mail they answered and without signatures.

The mailbox is cut at its ``From `` lines here and each mail is read by Python's email package: mailbox.mbox would want
a file on disk, and nothing that people give is written there.
"""

import re
from collections import Counter
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import parseaddr
from typing import Any

from perpcs.data.exports.given import Given, History, lines_at, row_of
from perpcs.data.limits import Row
from perpcs.data.markup import html_to_text

_FROM_LINE = re.compile(rb"^From (?=[^\n]*\d{4})[^\n]*+\n(?=[A-Za-z][A-Za-z0-9-]*:)", re.MULTILINE)
_ESCAPED = re.compile(rb"^>(>*From )", re.MULTILINE)
_HEADERS = re.compile(r"(?:[A-Za-z][A-Za-z0-9-]*+:[^\n]*+\n(?:[ \t][^\n]*+\n)*+){3,200}+\n")
_TELLING = re.compile(r"^(?:message-id|mime-version|received|return-path|delivered-to|content-type):", re.M | re.I)
_ADDRESSED = re.compile(r"^from:", re.M | re.I)
_QUOTE_SKIP = frozenset(
    (
        *("blockquote", ".gmail_quote", ".gmail_signature", ".gmail_attr", ".moz-cite-prefix", ".moz-signature"),
        *(".yahoo_quoted", ".OutlookMessageHeader", ".divRplyFwdMsg", ".protonmail_quote"),
    )
)
_ATTRIBUTION = re.compile(
    r"(?:On|Am|Le|El|Il|Op|Em|Den|På|W dniu)\b[^\n]{4,200}(?:\n[^\n]{0,120})?"
    r"(?:wrote|schrieb[^\n:]{0,80}|a écrit|escribió|ha scritto|schreef[^\n:]{0,80}|escreveu|skrev[^\n:]{0,80}|"
    r"napisał\(?a?\)?)"
    r"\s?:[ \t]*",
    re.IGNORECASE,
)
_ORIGINAL = re.compile(
    r"-{2,}\s*(?:Original Message|Original-?Nachricht|Ursprüngliche Nachricht|Forwarded message|"
    r"Weitergeleitete Nachricht|Message d'origine|Mensaje original|Messaggio originale)\b[^\n]*|"
    r"Begin forwarded message:|"
    r"_{20,}|(?:From|Von|De|Da): [^\n]+\n(?:Sent|Date|Gesendet|Datum|Envoyé|Enviado|Inviato|To|An): [^\n]+",
    re.IGNORECASE,
)
_PHONE = re.compile(
    r"(?:Sent from my|Von meinem|Gesendet von|Envoyé de(?: mon)?|Get Outlook for|Enviado desde)\b[^\n]*", re.I
)
_ANSWER = re.compile(r"\s*(?:re|aw|fwd?|wg|sv|antw|rv|tr|ref)(?:\[\d+\])?\s*:", re.IGNORECASE)


class _Short(EmailPolicy):
    """Headers cut before the email package parses them, which takes time that grows with the square of their length."""

    def header_fetch_parse(self, name: str, value: Any) -> Any:
        return super().header_fetch_parse(name, value[:_HEADER_CHARS] if isinstance(value, str) else value)


_HEADER_CHARS = 2_000
"""Longer than any that a mail program writes into what is read here."""
_POLICY = _Short()


def mailbox(given: Given) -> History | None:
    """The mails of an mbox, or one mail."""
    data = given.data or given.text.encode("utf-8", "replace")
    data = data.replace(b"\r\n", b"\n").lstrip(b"\xef\xbb\xbf\n")
    starts = [
        found
        for found in _FROM_LINE.finditer(data)
        if data[max(0, found.start() - 2) : found.start()] in (b"", b"\n\n")
    ]
    if given.sheets or not (data.startswith(b"From ") and starts):
        headers = _HEADERS.match(given.text.lstrip())
        if not headers or not _TELLING.search(headers[0]) or not _ADDRESSED.search(headers[0]):
            return None
        mails = [(1, data)]
    else:
        ends = [found.start() for found in starts[1:]] + [len(data)]
        lines = lines_at(data, [found.start() for found in starts])
        mails = [
            (line, _ESCAPED.sub(rb"\1", data[found.end() : end]))
            for line, found, end in zip(lines, starts, ends, strict=True)
        ]
    left_out: Counter[str] = Counter()

    def rows() -> Iterator[Row]:
        labelled = b"X-Gmail-Labels:" in data
        for line, raw in mails:
            mail = _parsed(raw)
            if mail is None:
                left_out["mail that is broken"] += 1
                continue
            if labelled and "sent" not in _header(mail, "X-Gmail-Labels").lower():
                left_out["mail that was not sent"] += 1
                continue
            text = own_words(_body(mail))
            if not text:
                left_out["mail without words of its own"] += 1
                continue
            subject = _header(mail, "Subject")
            title = "" if _ANSWER.match(subject) else subject  # the subject of an answer is somebody else's
            name, address = parseaddr(_header(mail, "From"))
            fields = {"text": text, "title": title, "date": _header(mail, "Date")}
            yield row_of(Row(line, text[:300]), fields, (address or name).lower())

    return History("sent mail", rows(), left_out)


def own_words(text: str) -> str:
    """A mail's body without quoted lines, the line that introduces them, older mails below, and the signature."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\xa0", " ")
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if line in ("-- ", "--") or _PHONE.fullmatch(line.strip()):
            lines = lines[:number]
            break
        two = line if number + 1 == len(lines) else f"{line}\n{lines[number + 1]}"
        if _ORIGINAL.match(line.strip()) or _ORIGINAL.match(two.strip()):
            lines = lines[:number]
            break
    kept: list[str] = []
    skip_next = False
    for number, line in enumerate(lines):
        if skip_next:
            skip_next = False
            continue
        two = line if number + 1 == len(lines) else f"{line}\n{lines[number + 1]}"
        if _ATTRIBUTION.fullmatch(line.strip()):
            continue
        if _ATTRIBUTION.fullmatch(two.strip()):
            skip_next = True
            continue
        if not line.lstrip().startswith(">"):
            kept.append(line.rstrip())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()


def _parsed(raw: bytes) -> EmailMessage | None:
    """A mail, or None where the email package fails on it."""
    try:
        mail = message_from_bytes(raw, policy=_POLICY)
    except (ValueError, IndexError, AttributeError, LookupError, TypeError, RecursionError):
        return None
    return mail if isinstance(mail, EmailMessage) else None


def _header(mail: EmailMessage, name: str) -> str:
    try:
        return " ".join(str(mail.get(name, "")).split())
    except (
        ValueError,
        IndexError,
        AttributeError,
        RecursionError,
    ):  # the email package fails on some malformed headers
        return ""


def _body(mail: EmailMessage) -> str:
    """The plain text of a mail, or its HTML as text."""
    try:
        part = mail.get_body(preferencelist=("plain", "html"))
        if part is None:
            return ""
        content = part.get_content()
    except (LookupError, ValueError, AttributeError, RecursionError, TypeError):
        return ""
    if not isinstance(content, str):
        return ""
    return html_to_text(content, skip=_QUOTE_SKIP) if part.get_content_type() == "text/html" else content
