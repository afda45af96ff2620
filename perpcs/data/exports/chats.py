"""Chats of several people: WhatsApp, Telegram, Messenger and Instagram, Discord. The person says who they are."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from perpcs.data.exports.given import Given, History, row_of, text_at
from perpcs.data.limits import Row
from perpcs.data.markup import decoded_once

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


def whatsapp(given: Given) -> History | None:
    """A chat that WhatsApp exported without media, from Android or iOS."""
    first = given.text.lstrip().split("\n", 1)[0]
    if given.sheets or not _MESSAGE.match(first) or given.share(_MESSAGE) < 0.1:
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
