"""Posts and comments: X, ActivityPub, Bluesky, Reddit, Meta, LinkedIn, YouTube.

Only what the person wrote is taken: no repost, no quoted line, nothing that was sent to few.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from perpcs.data.clean import Row, decoded, decoded_once, html_to_text
from perpcs.data.exports.given import REPLY, Given, History, at, of_json, of_table, row_of, text_at
from perpcs.data.parse_json import Found, read_document
from perpcs.errors import PerpcsError

_PUBLIC = ("https://www.w3.org/ns/activitystreams#Public", "as:Public", "Public")
_REMOVED = ("[removed]", "[deleted]", "[deleted by user]")
_QUOTED_LINE = re.compile(r"^\s{0,3}(?:>|&gt;)(?!!).*\n?", re.MULTILINE)
_YTD = re.compile(r"window\.YTD\.(\w+)\.part\d+")
_YTD_POSTS = ("tweet", "tweets", "community_tweet", "note_tweet")


# ---- X -------------------------------------------------------------------------------------------------------------


@of_json('"created_at"', '"edit_history_tweet_ids"', '"conversation_id"')
def x_archive(given: Given) -> History | None:
    """``tweets.js`` of an X or Twitter archive, with or without its assignment, and tweets as the API gives them."""
    named = _YTD.fullmatch(given.script)
    if named and named[1] not in _YTD_POSTS:
        raise PerpcsError(f"This is {named[1]!r} of an X archive, which holds no posts.", "Give its data/tweets.js.")
    if named and not given.is_json:
        read_document(given.text)  # says where it breaks
    tweets = [(found, _tweet(found.value)) for found in given.objects]
    if not named and not any(_is_tweet(tweet) for _, tweet in tweets):
        return None
    left_out: Counter[str] = Counter()

    def rows() -> Iterator[Row]:
        for found, tweet in tweets:
            text = decoded(text_at(tweet, "full_text") or text_at(tweet, "core", "text") or text_at(tweet, "text"))
            if text.startswith("RT @") or tweet.get("retweeted_status"):
                left_out["repost"] += 1
            elif text:
                date = tweet.get("created_at") or tweet.get("createdAt")
                yield row_of(found, {"text": text, "date": date, "id": tweet.get("id_str"), REPLY: _answers(tweet)})

    return History("an X archive", rows(), left_out)


def _tweet(value: dict[str, Any]) -> dict[str, Any]:
    inner = next((value[name] for name in ("tweet", "noteTweet") if isinstance(value.get(name), dict)), value)
    return inner


def _is_tweet(tweet: dict[str, Any]) -> bool:
    if "edit_history_tweet_ids" in tweet or "conversation_id" in tweet:  # the second version of X's own interface
        return isinstance(tweet.get("text"), str)
    text = isinstance(tweet.get("full_text"), str) or (isinstance(tweet.get("text"), str) and "entities" in tweet)
    return text and "created_at" in tweet and bool({"id_str", "entities", "retweeted", "lang"} & set(tweet))


def _answers(tweet: dict[str, Any]) -> str:
    given = ("in_reply_to_status_id_str", "in_reply_to_status_id", "in_reply_to_user_id_str", "in_reply_to_screen_name")
    return "yes" if any(tweet.get(name) for name in given) else ""


# ---- ActivityPub ---------------------------------------------------------------------------------------------------


@of_json('"content"', '"actor"', '"visibility"')
def activity_pub(given: Given) -> History | None:
    """``outbox.json`` of Mastodon and of other ActivityPub servers, and lists of their notes."""
    posts = [found for found in given.objects if _is_activity(found.value)]
    if not posts:
        return _statuses(given)
    left_out: Counter[str] = Counter()

    def rows() -> Iterator[Row]:
        for found in posts:
            activity = found.value
            wrapped = "object" in activity
            note = activity["object"] if isinstance(activity.get("object"), dict) else {} if wrapped else activity
            if wrapped and activity.get("type") not in ("Create", "Update"):
                left_out["boost" if activity.get("type") == "Announce" else "other activity"] += 1
            elif not _is_public(note, activity):
                left_out["post that is not public"] += 1
            elif text := html_to_text(text_at(note, "content")):
                who = text_at(note, "attributedTo") or text_at(activity, "actor")
                title = text_at(note, "name") if note.get("type") in ("Article", "Page") else ""
                reply = "yes" if note.get("inReplyTo") else ""
                fields = {"text": text, "title": title, "date": note.get("published"), REPLY: reply}
                yield row_of(found, fields, who)

    return History("an ActivityPub outbox (Mastodon)", rows(), left_out)


def _statuses(given: Given) -> History | None:
    """Posts as the interfaces of Mastodon and Misskey give them: who may read them is one word."""
    posts = [found for found in given.objects if isinstance(found.value.get("visibility"), str)]
    if not any({"reblog", "spoiler_text", "renoteId"} & set(found.value) for found in posts):
        return None
    left_out: Counter[str] = Counter()

    def rows() -> Iterator[Row]:
        for found in posts:
            post = found.value
            text = html_to_text(text_at(post, "content")) or text_at(post, "text")
            if post.get("reblog") or (post.get("renoteId") and not text):
                left_out["boost"] += 1
            elif post["visibility"] not in ("public", "unlisted", "home"):
                left_out["post that is not public"] += 1
            elif text:
                who = text_at(post, "account", "acct") or text_at(post, "user", "username")
                reply = "yes" if post.get("in_reply_to_id") or post.get("replyId") else ""
                yield row_of(
                    found, {"text": text, "date": post.get("created_at") or post.get("createdAt"), REPLY: reply}, who
                )

    return History("posts of Mastodon or Misskey", rows(), left_out)


def _is_activity(value: dict[str, Any]) -> bool:
    if value.get("type") in ("Note", "Article", "Question", "Page"):
        return "content" in value and bool({"attributedTo", "published", "to"} & set(value))
    return "actor" in value and "object" in value and isinstance(value.get("type"), str)


def _is_public(note: dict[str, Any], activity: dict[str, Any]) -> bool:
    """Whether everybody is among the addressees; what names none at all was not sent to few."""
    names = [note.get("to"), note.get("cc"), activity.get("to"), activity.get("cc")]
    to = [each for name in names for each in (name if isinstance(name, list) else [name]) if each]
    return not to or any(each in _PUBLIC for each in to)


# ---- Bluesky -------------------------------------------------------------------------------------------------------


@of_json('"app.bsky.')
def bluesky(given: Given) -> History | None:
    """Records of a Bluesky repository: as listed with uri and value, alone, or within an author's feed."""
    records = [(found, _record(found.value)) for found in given.objects]
    if not any(str(at(record, "$type")).startswith("app.bsky.") for _, record in records):
        return None
    left_out: Counter[str] = Counter()

    def rows() -> Iterator[Row]:
        for found, record in records:
            if str(at(found.value, "reason", "$type")).endswith("reasonRepost"):
                left_out["repost"] += 1
            elif record.get("$type") != "app.bsky.feed.post":
                left_out["record that is no post"] += 1
            elif text := text_at(record, "text"):
                who = text_at(found.value, "post", "author", "handle") or text_at(found.value, "author", "handle")
                reply = "yes" if record.get("reply") else ""
                yield row_of(found, {"text": text, "date": record.get("createdAt"), REPLY: reply}, who)

    return History("Bluesky records", rows(), left_out)


def _record(value: dict[str, Any]) -> dict[str, Any]:
    paths = (("value",), ("post", "record"), ("record",))
    return next((inner for path in paths if isinstance(inner := at(value, *path), dict)), value)


# ---- Reddit --------------------------------------------------------------------------------------------------------


@of_table(("subreddit", "body", "permalink"), ("subreddit", "body", "date"))
def reddit_request(table: Iterator[Row]) -> History | None:
    """comments.csv and posts.csv of Reddit's data request."""
    return _reddit(table)


@of_json('"subreddit"')
def reddit_api(given: Given) -> History | None:
    """Comments and posts as Reddit's API gives them."""
    entries = [each for each in given.objects if "subreddit" in _reddit_data(each.value)]
    posts = any({"body", "selftext"} & set(_reddit_data(each.value)) for each in entries)
    return _reddit(entries) if posts else None


def _reddit(found: Iterable[Row | Found]) -> History:
    left_out: Counter[str] = Counter()

    def rows() -> Iterator[Row]:
        for each in found:
            if isinstance(each, Row) and each.problem:
                yield each
                continue
            fields: Mapping[str, Any] = each.fields if isinstance(each, Row) else _reddit_data(each.value)
            written = decoded(text_at(fields, "body") or text_at(fields, "selftext"))
            title = decoded(text_at(fields, "title"))
            body = _QUOTED_LINE.sub("", written).strip()
            if written in _REMOVED or (not written and not title):
                left_out["removed post" if written else "post without text"] += 1
                continue
            if written and not body and not title:
                left_out["comment that only quotes"] += 1
                continue
            # A post that is a title alone is the person's words, and no article under a headline.
            what = {"text": body, "title": title} if body else {"tweet": title, "title": title}
            who = text_at(fields, "author") or text_at(fields, "from")
            date = fields.get("date") or fields.get("created_utc")
            yield row_of(each, {**what, "date": date, "id": fields.get("id")}, who)

    return History("Reddit comments or posts", rows(), left_out)


def _reddit_data(value: dict[str, Any]) -> dict[str, Any]:
    inner = value.get("data")
    return inner if isinstance(inner, dict) and "subreddit" in inner else value


# ---- Facebook, Instagram, Threads ----------------------------------------------------------------------------------


@of_json('timestamp"', '"string_map_data"')
def meta(given: Given) -> History | None:
    """Posts and comments of Facebook's, Instagram's and Threads' archives, whose UTF-8 is encoded twice."""
    posts = [(found, _meta_texts(found.value)) for found in given.objects]
    if not any(texts is not None for _, texts in posts):
        return None
    left_out: Counter[str] = Counter()

    def rows() -> Iterator[Row]:
        for found, texts in posts:
            if not texts:
                left_out["post without text"] += 1
            for text, date, who in texts or ():
                yield row_of(found, {"text": decoded_once(text), "date": date}, decoded_once(who))

    return History("a Facebook or Instagram archive", rows(), left_out)


def _meta_texts(value: dict[str, Any]) -> list[tuple[str, Any, str]] | None:
    """(text, date, author) of each text of an entry; None for what is no entry of Meta's."""
    stamp = value.get("timestamp") or value.get("creation_timestamp")
    data, media, strings = value.get("data"), value.get("media"), value.get("string_map_data")
    if isinstance(strings, dict):
        if not isinstance(strings.get("Comment"), dict):
            return None
        text = text_at(strings, "Comment", "value")
        return [(text, at(strings, "Time", "timestamp"), "")] if text else []
    if isinstance(media, list) and any("creation_timestamp" in one for one in media if isinstance(one, dict)):
        captions = [text_at(value, "title"), *(text_at(one, "title") for one in media if isinstance(one, dict))]
        first = next(filter(None, captions), "")
        return [(first, stamp or at(media[0], "creation_timestamp"), "")] if first else []
    if not isinstance(stamp, str) or not (isinstance(data, list) or "attachments" in value):
        return None
    found = []
    for entry in data if isinstance(data, list) else ():
        if post := text_at(entry, "post"):
            found.append((post, stamp, ""))
        if comment := text_at(entry, "comment", "comment"):
            found.append((comment, at(entry, "comment", "timestamp") or stamp, text_at(entry, "comment", "author")))
    return found


# ---- LinkedIn and YouTube ------------------------------------------------------------------------------------------


@of_table(("share commentary",))
def linkedin(table: Iterator[Row]) -> History | None:
    """Shares.csv of LinkedIn's archive; every line but the first of a share carries quotes of its own."""
    left_out: Counter[str] = Counter()

    def rows() -> Iterator[Row]:
        for row in table:
            text = re.sub(r'"?\n"', "\n", text_at(row.fields, "share commentary")).strip('"').strip()
            if row.problem:
                yield row
            elif text:
                yield row_of(row, {"text": text, "date": row.fields.get("date")})
            else:
                left_out["share without text"] += 1

    return History("LinkedIn shares", rows(), left_out)


@of_table(("comment text", "video id"), ("comment text", "channel id"))
def youtube(table: Iterator[Row]) -> History | None:
    """comments.csv of YouTube in Google Takeout; its texts are JSON, in pieces where they name somebody."""

    def rows() -> Iterator[Row]:
        for row in table:
            date = row.fields.get("comment create timestamp") or row.fields.get("comment creation timestamp")
            text = _youtube_text(text_at(row.fields, "comment text"))
            yield row if row.problem else row_of(row, {"text": text, "date": date})

    return History("YouTube comments", rows())


def _youtube_text(text: str) -> str:
    if not text.startswith(("{", "[")):
        return text
    try:
        pieces = json.loads(f"[{text}]" if text.startswith("{") else text)
    except (ValueError, RecursionError):
        return text
    return "".join(piece["text"] for piece in pieces if isinstance(piece, dict) and isinstance(piece.get("text"), str))
