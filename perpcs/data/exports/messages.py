"""Chats of several people (WhatsApp, Telegram, Messenger and Instagram, Discord), of whom the person says who they are;
and sent mail (mbox, or one .eml): what the person wrote, without the mail they answered and without signatures.

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

from perpcs.data.clean import Row, decoded_once, html_to_text
from perpcs.data.exports.given import Given, History, lines_at, of_json, of_text, row_of, text_at

# ---- chats -----------------------------------------------------------------------------------------------------------


_MARKS = "\u200e\u200f\u202a\u202c\ufeff"
_SPLIT = rf"[{_MARKS}]*[./-] ?"
_DAY = rf"\d{{1,4}}{_SPLIT}\d{{1,2}}{_SPLIT}\d{{2,4}}\.?|\d{{4}}[年년] ?\d{{1,2}}[月월] ?\d{{1,2}}[日일]"
# In many languages a word stands before the clock (à, klo, 下午, 오후) or behind it (PM, p. m., م).
_CLOCK = r"[,،]?\s*(?:[^\W\d_]{1,8}\.?\s*)?\d{1,2}[:.]\d{2}(?:[:.]\d{2})?(?:\s*[^\W\d_]{1,2}\.?(?:\s?[^\W\d_]\.?)?)?"
_MESSAGE = re.compile(
    rf"[{_MARKS}]*(?:\[(?P<when>{_DAY}){_CLOCK}\]\s|(?P<at>{_DAY}){_CLOCK}(?:\s[-–]\s|,\s(?=[^:\n]{{1,60}}\s:\s)))(?P<rest>.*)",
    re.DOTALL,
)
_SAID = re.compile(rf"[{_MARKS}~\s]*+([^:\n\"“”]{{1,60}}?)[{_MARKS}]*+:(?:\s|$)(.*)", re.DOTALL)
_OMITTED = re.compile(
    r"<[^<>\n]{1,60}>|.*\((?:file attached|Datei angehängt|archivo adjunto|fichier joint|arquivo anexado|file allegato|"
    r"bestand bijgevoegd|файл добавлен|文件附件|添付ファイル)\)|null|POLL:.*|"
    r"\S{1,12}(?:は含まれていません|已忽略| 생략됨)"
)
_GONE = re.compile(
    r"(?:This message was deleted|You deleted this message|Missed (?:voice|video) call|Waiting for this message.*|"
    r"Diese Nachricht wurde gelöscht|Du hast diese Nachricht gelöscht|Se eliminó este mensaje|Eliminaste este mensaje|"
    r"Ce message a été supprimé|Vous avez supprimé ce message|Questo messaggio è stato eliminato|"
    r"Hai eliminato questo messaggio|Dit bericht is verwijderd|U heeft dit bericht verwijderd|"
    r"Je hebt dit bericht verwijderd|Mensagem apagada|(?:Esta|Essa) mensagem foi apagada|Você apagou esta mensagem|"
    r"Данное сообщение удалено|Вы удалили данное сообщение|Bu mesaj silindi|Bu mesajı sildiniz|"
    r"Ta wiadomość została usunięta|Usunięto tę wiadomość|Det här meddelandet togs bort|"
    r"Du tog bort det här meddelandet|Pesan ini (?:telah )?dihapus|Anda menghapus pesan ini|"
    r"このメッセージは削除されました|このメッセージを削除しました|此消息已删除|你删除了此消息|您已刪除此訊息|這則訊息已刪除|"
    r"삭제된 메시지입니다|이 메시지를 삭제했습니다|تم حذف هذه الرسالة|لقد حذفت هذه الرسالة|"
    r"(?:image|video|audio|sticker|GIF|document|Contact card) omitted)[.。]?",
    re.IGNORECASE,
)
_EDITED = re.compile(rf"[{_MARKS}\s]*+<(?=[^<>\n]*(?:edited|bearbeitet|edit[óò]|modifi))[^<>\n]*+>$", re.IGNORECASE)

_TAIL = 200
"""Characters at the end of a message in which ``_EDITED`` is looked for."""


@of_text(_MESSAGE.match)
def whatsapp(given: Given) -> History | None:
    """A chat that WhatsApp exported without media, from Android or iOS."""
    first = given.text.lstrip().split("\n", 1)[0]
    if not _MESSAGE.match(first) or given.share(_MESSAGE) < 0.1:
        return None
    left_out: Counter[str] = Counter()

    def rows() -> Iterator[Row]:
        for line, when, rest in _messages(given.text):
            said = _SAID.match(rest)
            if not said:
                left_out["notice of WhatsApp"] += 1
                continue
            written = said[2].rstrip()
            text = written[:-_TAIL] + _EDITED.sub("", written[-_TAIL:])
            # What iOS writes itself begins with a mark of direction.
            written = text.strip(_MARKS + " \n")
            if text.startswith(tuple(_MARKS)) or _OMITTED.fullmatch(written) or _GONE.fullmatch(written):
                left_out["message without text"] += 1
            elif written:
                yield row_of(Row(line, rest), {"text": written, "date": _day(when)}, said[1].strip())

    return History("a WhatsApp chat", rows(), left_out, asks=True)


def _day(when: str) -> str:
    """The day of a message as numbers. The clock is left out: words for noon differ, and a chat is in order."""
    numbers = re.findall(r"\d+", when)
    return ("." if "." in when and len(numbers[0]) < 3 else "/").join(str(int(number)).zfill(2) for number in numbers)


def _messages(text: str) -> Iterator[tuple[int, str, str]]:
    """(line, when, what follows) of each message with the lines that continue it."""
    line, when, lines = 0, "", list[str]()
    for number, each in enumerate(text.split("\n"), start=1):
        if found := _MESSAGE.match(each):
            if lines:
                yield line, when, "\n".join(lines)
            line, when, lines = number, found["when"] or found["at"], [found["rest"]]
        elif lines:
            lines.append(each)
    if lines:
        yield line, when, "\n".join(lines)


@of_json('"sender_name"', '"from"', '"actor"', '"ts"', '"creator"', '"author"')
def chat_json(given: Given) -> History | None:
    """JSON of Telegram, Messenger and Instagram, Discord, Slack and Google Chat."""
    said = [(found, _said(found.value)) for found in given.objects]
    if not any(each is not None for _, each in said):
        return None
    left_out: Counter[str] = Counter()

    def rows() -> Iterator[Row]:
        for found, each in said:
            who, text, date = each or ("", "", None)
            if text:
                yield row_of(found, {"text": text, "date": date}, who)
            else:
                left_out["message without text"] += 1

    return History("a chat", rows(), left_out, asks=True)


def _said(value: dict[str, Any]) -> tuple[str, str, Any] | None:
    """(who, what, when) of a message; None for what is none."""
    if "sender_name" in value and "timestamp_ms" in value:
        return (
            decoded_once(text_at(value, "sender_name")),
            decoded_once(text_at(value, "content")),
            value["timestamp_ms"],
        )
    if value.get("type") in ("message", "service") and "date" in value and ("from" in value or "actor" in value):
        if value["type"] == "service" or value.get("forwarded_from"):
            return "", "", None
        pieces = value.get("text")
        pieces = pieces if isinstance(pieces, list) else [pieces]
        text = "".join(piece if isinstance(piece, str) else text_at(piece, "text") for piece in pieces)
        return text_at(value, "from"), text.strip(), value["date"]
    if value.get("type") == "message" and "ts" in value and ("user" in value or "subtype" in value):  # Slack
        said = "" if value.get("subtype") not in (None, "me_message", "thread_broadcast", "file_share") else "text"
        profile = text_at(value, "user_profile", "display_name") or text_at(value, "user_profile", "real_name")
        return profile or text_at(value, "user"), text_at(value, said), value["ts"]
    if isinstance(value.get("creator"), dict) and "created_date" in value:  # Google Chat
        return text_at(value, "creator", "name"), text_at(value, "text"), value["created_date"]
    if isinstance(value.get("author"), dict) and "content" in value and "timestamp" in value:
        return (
            text_at(value, "author", "name") or text_at(value, "author", "username"),
            text_at(value, "content"),
            (value["timestamp"]),
        )
    return None


# ---- mail ------------------------------------------------------------------------------------------------------------


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


@of_text(re.compile(rf"From |{_HEADERS.pattern}").match)
def mailbox(given: Given) -> History | None:
    """The mails of an mbox, or one mail."""
    data = given.data or given.text.encode("utf-8", "replace")
    data = data.replace(b"\r\n", b"\n").lstrip(b"\xef\xbb\xbf\n")
    starts = [
        found
        for found in (_FROM_LINE.finditer(data) if data.startswith(b"From ") else ())
        if data[max(0, found.start() - 2) : found.start()] in (b"", b"\n\n")
    ]
    if not starts:
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
    ):  # of malformed headers
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
