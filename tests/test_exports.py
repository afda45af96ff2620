"""Exports as sites and programs write them: the person's own words and nothing else, under the task that they fit."""

import contextlib
import io
import json
import time
import zipfile
from typing import Any

import openpyxl
import pytest

from perpcs.data import look, read_pasted, read_upload
from perpcs.data.clean import decode, decoded_once, html_to_text, without_markup
from perpcs.data.exports import READERS, recognise
from perpcs.data.exports.given import Given
from perpcs.data.exports.messages import own_words
from perpcs.errors import PerpcsError
from perpcs.tasks import Item, get_task

HEADLINES, TWEETS, RATING, TITLES = (get_task(name) for name in ("LaMP_4", "LaMP_7", "LaMP_3", "LaMP_5"))
PUBLIC = "https://www.w3.org/ns/activitystreams#Public"


def texts(data: Any, name: str = "file", task=TWEETS, who: str | None = None) -> list[str]:
    return [item.x for item in read(data, name, task, who).items]


def read(data: Any, name: str = "file", task=TWEETS, who: str | None = None):
    raw = data if isinstance(data, bytes) else (data if isinstance(data, str) else json.dumps(data)).encode()
    return read_upload(name, raw, task, user_id=who)


def pairs(data: Any, task, name: str = "file") -> list[tuple[str, str | None]]:
    return [(item.x, item.y) for item in read(data, name, task).items]


def refusal(data: Any, name: str = "file", task=TWEETS) -> str:
    with pytest.raises(PerpcsError) as caught:
        read(data, name, task)
    return f"{caught.value.wrong} {caught.value.do}"


# ---- posts -----------------------------------------------------------------------------------------------------------


def tweet(text: str, day: int, **more: Any) -> dict[str, Any]:
    return {
        "full_text": text,
        "created_at": f"Wed Mar {day:02d} 10:00:00 +0000 2021",
        "id_str": str(day),
        "lang": "en",
        **more,
    }


TWEETED = [tweet("tea &gt; coffee", 9), tweet("RT @bird: not mine", 8), tweet("a slow morning", 2)]


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("name", ["window.YTD.tweets.part0 = ", "window.YTD.tweet.part12=", ""])
def test_an_x_archive_gives_ones_own_posts_unescaped_and_oldest_first(wrapped: bool, name: str) -> None:
    body = json.dumps([{"tweet": each} if wrapped else each for each in TWEETED], indent=1)
    reading = read(name + body + (";\n" if name else ""), "tweets.js" if name else "tweets.json")
    assert [item.x for item in reading.items] == ["a slow morning", "tea > coffee"]
    assert "Left out: 1 repost." in reading.notes
    assert reading.lines[1] < reading.lines[0]
    assert texts(name + body, "x.txt") == texts(name + body, "tweets.js")


def test_other_parts_of_an_x_archive_are_named() -> None:
    assert "'like' of an X archive" in refusal('window.YTD.like.part0 = [{"like": {"fullText": "theirs"}}]', "like.js")
    assert "script" in refusal("const settings = {\n a: 1 };", "settings.js")


def note(content: str, to: str = PUBLIC, **more: Any) -> dict[str, Any]:
    return {"type": "Note", "published": "2022-05-01T00:00:00Z", "to": [to], "content": content, **more}


def test_json_of_no_site_is_not_looked_at_object_by_object() -> None:
    unknown = Given(json.dumps([{"words": f"line {number}"} for number in range(20)]))
    assert recognise(unknown) is None
    assert "objects" not in vars(unknown)
    tweet = {"created_at": "2020-01-01", "full_text": "a post", "lang": "en"}
    known = Given(json.dumps([{"words": "a line"}, tweet]))
    assert recognise(known) is not None
    assert "objects" in vars(known)


def test_activity_pub_leaves_out_boosts_and_what_is_not_public() -> None:
    own = note("<p>rain &amp; a <b>bus</b><br>again</p><p>home</p>")
    unlisted = note("<p>unlisted</p>", "followers", cc=[PUBLIC])
    items = [
        {"type": "Create", "actor": "me", "object": each} for each in (own, note("<p>psst</p>", "a-friend"), unlisted)
    ]
    items.append({"type": "Announce", "actor": "me", "object": "https://elsewhere.example/1"})
    outbox = {"type": "OrderedCollection", "orderedItems": items}
    reading = read(outbox, "outbox.json")
    assert [item.x for item in reading.items] == ["rain & a bus\nagain\n\nhome", "unlisted"]
    assert "Left out: 1 post that is not public, 1 boost." in reading.notes
    assert texts([own, note("<p>psst</p>", "a-friend")]) == ["rain & a bus\nagain\n\nhome"]


def test_posts_as_mastodon_and_misskey_interfaces_give_them() -> None:
    def status(content: str, day: int, **more: Any) -> dict[str, Any]:
        when = f"2023-01-{day:02d}T00:00:00Z"
        return {"content": content, "created_at": when, "visibility": "public", "spoiler_text": "", **more}

    boost = status("", 2, reblog={"content": "<p>theirs</p>"})
    posts = [status("<p>one &amp; two</p>", 3), boost, status("<p>psst</p>", 1, visibility="direct")]
    reading = read(posts, "statuses.json")
    assert [item.x for item in reading.items] == ["one & two"]
    assert "Left out: 1 boost, 1 post that is not public." in reading.notes
    notes = [
        {"text": text, "createdAt": "2023-01-01T00:00:00Z", "visibility": who, "renoteId": of}
        for text, who, of in (("mine", "home", None), (None, "public", "x"), ("to few", "followers", None))
    ]
    assert texts(notes, "notes.json") == ["mine"]


def post(text: str, day: int) -> dict[str, Any]:
    return {"$type": "app.bsky.feed.post", "text": text, "createdAt": f"2024-02-{day:02d}T00:00:00Z"}


def test_bluesky_records_in_every_wrapping() -> None:
    records = [post("second", 2), post("first", 1)]
    like = {"$type": "app.bsky.feed.like", "createdAt": "2024-02-03T00:00:00Z"}
    reposted = {"post": {"record": post("theirs", 3)}, "reason": {"$type": "app.bsky.feed.defs#reasonRepost"}}
    for data in (
        [*records, like],
        {"records": [{"uri": "at://x", "value": each} for each in (*records, like)], "cursor": "1"},
        {"feed": [*({"post": {"record": each}} for each in records), reposted]},
    ):
        assert texts(data) == ["first", "second"]


def test_reddit_leaves_out_quotes_and_what_was_removed() -> None:
    head = "id,permalink,date,ip,subreddit,gildings,link,parent,body,media\n"
    body = 'a,/a,2023-01-02 00:00:00 UTC,,bread,0,/l,,"> their words\n\nmy words",\n'
    body += "b,/b,2023-01-01,,bread,0,/l,,[deleted],\n"
    assert texts(head + body, "comments.csv") == ["my words"]
    posts = "id,permalink,date,ip,subreddit,gildings,title,url,body\np,/p,2023-01-01,,b,0,A title,/u,The body\n"
    posts += "q,/q,2023-01-02,,b,0,Only a title,/u,\n"
    assert pairs(posts, HEADLINES, "posts.csv") == [("The body", "A title")]
    assert texts(posts, "posts.csv") == ["The body", "Only a title"]
    api = [{"kind": "t1", "data": {"subreddit": "b", "body": "tea &amp; cake", "author": "me", "created_utc": 1.6e9}}]
    assert texts({"data": {"children": api}}) == ["tea & cake"]


def test_meta_archives_are_decoded_once() -> None:
    twice = "une idée ☕".encode().decode("latin-1")
    facebook = [{"timestamp": 1600000001, "data": [{"post": twice}], "title": "Ann Bo updated her status."}]
    shared = {"timestamp": 1600000000, "attachments": [], "title": "Ann Bo shared a link."}
    assert texts([*facebook, shared], "your_posts_1.json") == ["une idée ☕"]
    comment = {"timestamp": 1, "data": [{"comment": {"timestamp": 1600000000, "comment": twice, "author": "Ann Bo"}}]}
    assert texts({"comments_v2": [comment]}) == ["une idée ☕"]
    picture = {"media": [{"uri": "a.jpg", "creation_timestamp": 1600000000, "title": twice}]}
    assert texts([picture]) == ["une idée ☕"]
    said = {"string_map_data": {"Comment": {"value": twice}, "Time": {"timestamp": 1600000000}}}
    assert texts([said]) == ["une idée ☕"]


def test_linkedin_and_youtube_have_ways_of_their_own_to_write_a_text() -> None:
    share = "Date,ShareLink,ShareCommentary,SharedUrl,MediaUrl,Visibility\n"
    share += '2024-01-01 10:00:00,u,"One line""\n""another",,,\n'
    assert texts(share, "Shares.csv") == ["One line\nanother"]
    head = "Comment ID,Channel ID,Comment Create Timestamp,Price,Video ID,Comment Text\n"
    pieces = json.dumps({"text": "well said, "}) + "," + json.dumps({"text": "@bo", "mention": {}})
    quoted = pieces.replace('"', '""')
    assert texts(f'{head}a,b,2022-01-01T00:00:00Z,0,v,"{quoted}"\n', "comments.csv") == ["well said, @bo"]


# ---- reviews ---------------------------------------------------------------------------------------------------------

BOXD = "Date,Name,Year,Letterboxd URI,Rating,Rewatch,Review,Tags,Watched Date\n"


def test_half_stars_are_rounded_and_said_and_no_stars_are_no_score() -> None:
    rows = "2023-01-01,A,2001,u,3.5,,Fine rain.,,2023-01-01\n2023-01-02,B,2002,u,,,No stars.,,2023-01-02\n"
    rows += "2023-01-03,C,2003,u,0.5,,Mud.,,2023-01-03\n2023-01-04,D,2004,u,4,,,,2023-01-04\n"
    reading = read(BOXD + rows, "reviews.csv", RATING)
    assert [(item.x, item.y) for item in reading.items] == [("Fine rain.", "4"), ("Mud.", "1")]
    assert any("2 ratings between two stars rounded up" in each for each in reading.notes)
    assert [row.line for row in reading.bad] == [3]
    assert "Left out: 1 entry without a review." in reading.notes
    assert look((BOXD + rows).encode()).guess[0] == RATING


def test_a_list_of_a_review_site_without_reviews_is_named() -> None:
    assert "Letterboxd holds no reviews" in refusal(
        "Date,Name,Year,Letterboxd URI\n2023-01-01,A,2001,u\n", "watched.csv"
    )
    ratings = "Const,Your Rating,Date Rated,Title,URL\ntt1,8,2020-01-01,A,u\n"
    assert "IMDb holds no reviews" in refusal(ratings, "ratings.csv", RATING)
    reviews = "Const,Your Rating,Date Rated,Title,Review\ntt1,8,2020-01-01,A,Good ladders.\n"
    assert pairs(reviews, RATING) == [("Good ladders.", "4")]


GOODREADS = "Book Id,Title,Author,My Rating,Average Rating,Date Read,Exclusive Shelf,My Review\n"


@pytest.mark.parametrize("whole", [False, True])
def test_goodreads_also_where_each_row_is_quoted_as_a_whole(whole: bool) -> None:
    rows = ['1,Moss,"Hale, Rue",4,3.1,2021/02/01,read,"Slow.<br/><br/>And &quot;green&quot;."']
    rows += ["2,Fog,Rue Hale,0,3.0,,to-read,"]
    if whole:
        rows = ['"' + row.replace('"', '""') + '"' for row in rows]
    reading = read(GOODREADS + "\n".join(rows) + "\n", "export.csv", RATING)
    assert [(item.x, item.y) for item in reading.items] == [('Slow.\n\nAnd "green".', "4")]


def test_unrated_is_not_a_rating_of_zero() -> None:
    reading = read('[{"reviewText": "a", "overall": 0.0}, {"reviewText": "b", "overall": 4.0}]', task=RATING)
    assert [(item.x, item.y) for item in reading.items] == [("b", "4")]
    assert "0 means unrated" in reading.bad[0].reason


def test_reviews_with_a_title_are_guessed_as_ratings() -> None:
    rows = [{"rating": 5.0, "title": "Dry", "text": "It held.<br />Twice.", "timestamp": 1588687728923}]
    seen = look(json.dumps(rows))
    assert seen.guess[0] == RATING
    assert {task.name for task in seen.fits} == {"LaMP_3", "LaMP_4", "LaMP_7"}
    assert pairs(rows, RATING) == [("It held.\nTwice.", "5")]


def test_google_reviews_of_places_and_apps() -> None:
    place = {
        "properties": {"date": "2023-01-01", "five_star_rating_published": 4, "review_text_published": "Good soup."}
    }
    assert pairs({"type": "FeatureCollection", "features": [place]}, RATING) == [("Good soup.", "4")]
    app = {"review": {"creationTime": "2023-01-01T00:00:00Z", "starRating": 2, "comment": "It hums."}}
    assert pairs([app], RATING) == [("It hums.", "2")]


# ---- papers and feeds ------------------------------------------------------------------------------------------------

BIB = """@string{quay = "Quay Press"}
@article{one,
  title = {A {Small} Study of Caf{\\'e} Doors},
  abstract = "Doors open.
              Doors close.",
  year = 2020,
}
@book{two, title = {No abstract}, year = {2019}}
@article{three, title = {Older}, abstract = {Before \\emph{that}.}, year = {2018}}
"""


def test_bibtex_is_read_as_it_prints() -> None:
    reading = read(BIB, "my.bib", TITLES)
    assert [(item.x, item.y) for item in reading.items] == [
        ("Before that.", "Older"),
        ("Doors open. Doors close.", "A Small Study of Café Doors"),
    ]
    assert "Left out: 1 entry without an abstract." in reading.notes
    assert reading.lines == (9, 2)
    assert read_pasted(BIB, TITLES).items == reading.items


@pytest.mark.parametrize(
    "data",
    [
        [{"type": "article-journal", "title": "T", "abstract": "An abstract.", "issued": {"date-parts": [[2021, 3]]}}],
        {"message": {"items": [{"DOI": "1/2", "title": ["T"], "abstract": "<jats:p>An abstract.</jats:p>"}]}},
        {"total": 1, "data": [{"paperId": "a", "title": "T", "abstract": "An abstract.", "year": 2021}]},
        {"feed": {"entry": [{"published": "2021-01-01", "title": "T", "summary": " An\n  abstract."}]}},
        {"authors": "A. B.", "title": "T", "abstract": "  An\n abstract.\n", "categories": "cs.CL"},
    ],
)
def test_papers_as_json(data: Any) -> None:
    assert pairs(data, TITLES) == [("An abstract.", "T")]
    assert look(json.dumps(data)).guess[0] == TITLES


def test_zotero_csv_is_read_by_its_synonyms() -> None:
    table = '"Key","Publication Year","Author","Title","Abstract Note"\n"A","2021","B, C","T","An abstract."\n'
    assert pairs(table, TITLES, "zotero.csv") == [("An abstract.", "T")]


RSS = """<?xml version="1.0" encoding="ISO-8859-1"?>
<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/" xmlns:wp="http://wordpress.org/export/1.2/">
<channel><title>Mine</title>
<item><title>Later &amp; wetter</title><pubDate>Tue, 07 Mar 2023 09:00:00 +0000</pubDate>{more}
<description><![CDATA[<p>It rained, é.</p><p>A lot.</p>]]></description></item>
<item><title>Earlier</title><pubDate>Mon, 06 Mar 2023 09:00:00 +0000</pubDate>
<description>It was dry.</description></item></channel></rss>"""


def test_a_feed_gives_articles_with_headlines() -> None:
    reading = read(RSS.format(more=""), "feed.xml", HEADLINES)
    assert [(item.x, item.y) for item in reading.items] == [
        ("It was dry.", "Earlier"),
        ("It rained, é.\n\nA lot.", "Later & wetter"),
    ]
    assert reading.lines == (6, 4)
    draft = RSS.format(more="<wp:post_type>post</wp:post_type><wp:status>draft</wp:status>")
    assert pairs(draft, HEADLINES) == [("It was dry.", "Earlier")]
    atom = (
        '<feed xmlns="http://www.w3.org/2005/Atom"><id>a</id><entry><title>T</title><updated>2023-01-01T00:00:00Z</updated>'
        '<content type="html">&lt;p&gt;Text&lt;/p&gt;</content></entry></feed>'
    )
    assert pairs(atom, HEADLINES) == [("Text", "T")]


def test_a_feed_of_blogger_holds_comments_and_settings_too() -> None:
    kind = '<category scheme="http://schemas.google.com/g/2005#kind" term="http://schemas.google.com/blogger/2008/kind#{}"/>'
    entries = "".join(
        f"<entry><id>{what}</id>{kind.format(what)}<title>{what} title</title>"
        f'<content type="html">&lt;p&gt;{what} text&lt;/p&gt;</content></entry>'
        for what in ("post", "comment", "settings")
    )
    blog = f'<feed xmlns="http://www.w3.org/2005/Atom"><id>b</id><title>B</title>{entries}</feed>'
    reading = read(blog, "blog.xml", HEADLINES)
    assert [(item.x, item.y) for item in reading.items] == [("post text", "post title")]
    assert "Left out: 2 other entries of Blogger." in reading.notes


def test_codes_of_wordpress_are_no_text() -> None:
    rss = '<rss version="2.0"><channel><item><title>T</title><description>{}</description></item></channel></rss>'
    assert pairs(rss.format('[gallery ids="1"]It rained [sic].[/caption]'), HEADLINES) == [("It rained [sic].", "T")]


def test_entities_of_xml_are_not_expanded() -> None:
    bomb = '<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><rss><channel></channel></rss>'
    assert "entities" in refusal(bomb, "feed.xml", HEADLINES) or "XML" in refusal(bomb, "feed.xml", HEADLINES)


# ---- chats and mail --------------------------------------------------------------------------------------------------

ANDROID = """31/12/2023, 18:22 - Messages are end-to-end encrypted.
31/12/2023, 18:22 - Ann: where is the boat
31/12/2023, 18:23 - Bo Li: which one: the red one?
31/12/2023, 18:24 - Ann: that one
with the oars
31/12/2023, 18:25 - Ann: <Media omitted>
"""
IOS = "\u200e[31.12.23, 6:22:10\u202fPM] Ann: where is the boat\n[31.12.23, 6:23:01\u202fPM] Bo Li: which\n"
IOS += "\u200e[31.12.23, 6:25:01\u202fPM] Ann: \u200eimage omitted\n"


def test_a_whatsapp_chat_asks_who_one_is() -> None:
    assert look(ANDROID.encode(), "chat.txt").people == ("Ann", "Bo Li")
    assert look(ANDROID.encode(), "chat.txt").asks
    assert "The file holds 2 names: 'Ann', 'Bo Li'. Say which of them is you." in refusal(ANDROID, "chat.txt")
    assert texts(ANDROID, "chat.txt", who="Ann") == ["where is the boat", "that one\nwith the oars"]
    assert texts(ANDROID, "chat.txt", who="Bo Li") == ["which one: the red one?"]
    assert texts(IOS, who="Ann") == ["where is the boat"]
    assert [item.x for item in read_pasted(IOS, TWEETS, user_id="Bo Li").items] == ["which"]


CLOCKS = {
    "united states": ("3/12/24, 6:22\u202fPM - ", "<Media omitted>"),
    "india": ("12/03/24, 6:22 pm - ", "IMG-1.jpg (file attached)"),
    "germany": ("12.03.24, 18:22 - ", "<Medien ausgeschlossen>"),
    "brazil": ("12/03/2024 18:22 - ", "Você apagou esta mensagem"),
    "argentina": ("12/3/24, 6:22 p. m. - ", "<Multimedia omitido>"),
    "france": ("12/03/2024 à 18:22 - ", "Ce message a été supprimé"),
    "france, iOS": ("[12/03/2024 18:22:01] ", "\u200eimage absente"),
    "finland": ("12.3.2024 klo 18.22 - ", "<Media jätettiin pois>"),
    "sweden": ("2024-03-12 18:22 - ", "<Media har utelämnats>"),
    "netherlands": ("[12-03-2024 18:22:01] ", "\u200eafbeelding weggelaten"),
    "russia": ("12.03.2024, 18:22 - ", "Данное сообщение удалено"),
    "arabic": ("١٢\u200f/٣\u200f/٢٠٢٤، ٦:٢٢ م - ", "تم حذف هذه الرسالة"),
    "china": ("2024/3/12 下午6:22 - ", "<省略多媒体文件>"),
    "china, iOS": ("[2024/3/12 下午6:22:01] ", "图像已忽略"),
    "japan, iOS": ("[2024/03/12 18:22:01] ", "画像は含まれていません"),
    "korea": ("2024. 3. 12. 오후 6:22 - ", "삭제된 메시지입니다"),
    "korea, iOS": ("2024년 3월 12일 오후 6:22, ", "사진 생략됨"),
}


@pytest.mark.parametrize("country", CLOCKS)
def test_a_whatsapp_chat_of_any_country(country: str) -> None:
    clock, gone = CLOCKS[country]
    colon = " : " if clock.startswith("2024년") else ": "
    said = [("Ann", "first"), ("Bo", "not hers"), ("Ann", "second: with a colon\nand a line"), ("Ann", gone)]
    chat = "".join(f"{clock}{who}{colon}{text}\n" for who, text in said)
    assert look(chat.encode(), "chat.txt").people == ("Ann", "Bo")
    assert texts(chat, "chat.txt", who="Ann") == ["first", "second: with a colon\nand a line"]


def test_other_chats_are_refused_by_name() -> None:
    line = "[LINE] Chat history with Bo\nSaved on: 2024/03/12 18:30\n\n2024/03/12(Tue)\n18:22\tAnn\thello\n"
    assert "LINE" in refusal(line, "chat.txt")
    kakao = "Bo 님과 카카오톡 대화\n저장한 날짜 : 2024-03-12\n\n[Ann] [오후 6:22] hello\n"
    assert "KakaoTalk" in refusal(kakao, "chat.txt")
    assert texts("KakaoTalk has new stickers\nI like them\n") == ["KakaoTalk has new stickers", "I like them"]


def test_slack_and_google_chat_ask_who_one_is() -> None:
    slack = [{"type": "message", "user": f"U{n}", "text": f"by {n}", "ts": f"170000000{n}.1"} for n in (1, 2)]
    slack.append(
        {"type": "message", "subtype": "channel_join", "user": "U1", "text": "has joined", "ts": "1700000009.1"}
    )
    assert texts(slack, who="U1") == ["by 1"]
    said = [
        {"creator": {"name": n}, "created_date": "Monday, 1 January 2024", "text": f"by {n}"} for n in ("Ann", "Bo")
    ]
    assert texts({"messages": said}, who="Bo") == ["by Bo"]
    assert "Say which of them is you" in refusal({"messages": said})


def test_chats_as_json_ask_too() -> None:
    telegram = {
        "name": "Bo",
        "messages": [
            {"type": "message", "date": "2023-01-01T00:00:00", "from": "Ann", "text": ["see ", {"text": "this"}]},
            {"type": "message", "date": "2023-01-02T00:00:00", "from": "Bo", "text": "no"},
            {"type": "service", "date": "2023-01-03T00:00:00", "actor": "Bo", "text": ""},
        ],
    }
    assert texts(telegram, who="Ann") == ["see this"]
    said = [{"sender_name": name, "timestamp_ms": 1, "content": f"by {name}"} for name in ("Ann", "Bo")]
    assert texts({"participants": [{"name": "Ann"}, {"name": "Bo"}], "messages": said}, who="Bo") == ["by Bo"]


MAIL = """From ann@mail.example Mon Mar 06 09:00:00 2023
Date: Mon, 6 Mar 2023 09:00:00 +0000
From: Ann <ann@mail.example>
Subject: =?utf-8?q?The_caf=C3=A9?=
Content-Type: text/plain; charset="utf-8"
Content-Transfer-Encoding: quoted-printable

It is closed, caf=C3=A9 and all.
--=20
Ann, by the river

From ann@mail.example Tue Mar 07 09:00:00 2023
Date: Tue, 7 Mar 2023 09:00:00 +0000
From: Ann <ann@mail.example>
Subject: Re: Whose boat?
Content-Type: text/html; charset="utf-8"

<div>Mine, I think.</div><blockquote>Whose boat is it?</blockquote>

"""


def test_sent_mail_is_read_without_quotes_and_signatures() -> None:
    assert texts(MAIL, "sent.mbox") == ["It is closed, café and all.", "Mine, I think."]
    assert pairs(MAIL, HEADLINES) == [("It is closed, café and all.", "The café")]
    both = MAIL + MAIL.split("\n\nFrom")[0].replace("ann@", "bo@").replace("It is closed", "So it is") + "\n"
    assert texts(both, "all.mbox", who="bo@mail.example") == ["So it is, café and all."]
    assert "holds 2 names" in refusal(both, "all.mbox")


@pytest.mark.parametrize(
    "below",
    [
        "> their words",
        "On Mon, 6 Mar 2023 at 09:00, Bo <bo@mail.example> wrote:\n> their words",
        "On Mon, 6 Mar 2023 at 09:00, Bo Li of the River\n<bo@mail.example> wrote:\n> their words",
        "Am 6. März 2023 schrieb Bo:\n> their words",
        "-----Original Message-----\nFrom: Bo\nTheir words",
        "From: Bo\nSent: Monday\nTo: Ann\n\nTheir words",
        "-- \nAnn\nThe River",
        "Sent from my telephone",
    ],
)
def test_own_words(below: str) -> None:
    assert own_words(f"Mine.\n\nStill mine.\n\n{below}\n") == "Mine.\n\nStill mine."


# ---- tables, frames, archives ----------------------------------------------------------------------------------------

ROWS = [{"text": "one text", "title": "one"}, {"text": "two texts", "title": None}]


@pytest.mark.parametrize(
    "frame",
    [
        ROWS,
        {"text": {"0": "one text", "1": "two texts"}, "title": {"0": "one", "1": None}},
        {"text": ["one text", "two texts"], "title": ["one", None]},
        {"0": ROWS[0], "1": ROWS[1]},
        {"columns": ["text", "title"], "index": [0, 1], "data": [["one text", "one"], ["two texts", None]]},
        {"schema": {"fields": [{"name": "text"}, {"name": "title"}]}, "data": ROWS},
    ],
)
def test_a_data_frame_in_every_orientation(frame: Any) -> None:
    reading = read(frame, "frame.json", HEADLINES)
    assert reading.items == (Item("one text", "one"),)
    assert [row.reason for row in reading.bad] == ["The item has no 'title'."]


def workbook(rows: list[list[Any]]) -> bytes:
    book = openpyxl.Workbook()
    book.active.title = "Notes"
    book.active.append(["nothing here"])
    sheet = book.create_sheet("Items")
    for row in rows:
        sheet.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def test_a_workbook_is_read_by_its_sheet_with_known_columns() -> None:
    data = workbook([["My items", None], ["Review Text", "Star Rating"], ["It held,\ntwice.", 4.0], ["No.", 1]])
    reading = read(data, "book.xlsx", RATING)
    assert [(item.x, item.y) for item in reading.items] == [("It held,\ntwice.", "4"), ("No.", "1")]
    assert reading.lines == (3, 4)
    assert any("the sheet 'Items'" in each for each in reading.notes)


def zipped(**files: Any) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "/").replace("_DOT_", "."), data)
    return out.getvalue()


def test_a_zip_gives_the_exports_in_it() -> None:
    tweets = "window.YTD.tweets.part0 = " + json.dumps([{"tweet": each} for each in TWEETED])
    likes = 'window.YTD.like.part0 = [{"like": {"fullText": "theirs"}}]'
    archive = zipped(data__tweets_DOT_js=tweets, data__like_DOT_js=likes, data__a_DOT_jpg=b"\xff\xd8\xff")
    reading = read(archive, "twitter.zip")
    assert [item.x for item in reading.items] == ["a slow morning", "tea > coffee"]
    assert "Read from the archive: tweets.js." in reading.notes
    deleted = BOXD + "2023-01-01,A,2001,u,3,,Taken back.,,2023-01-01\n"
    kept = deleted.replace("Taken back.", "Kept.")
    assert texts(zipped(deleted__reviews_DOT_csv=deleted, reviews_DOT_csv=kept), task=RATING) == ["Kept."]
    assert texts(zipped(items_DOT_csv="text,title\na,b\n"), task=HEADLINES) == ["a"]
    chat = zipped(_chat_DOT_txt=ANDROID)
    assert "holds 2 names" in refusal(chat, "chat.zip")
    assert texts(chat, "chat.zip", who="Bo Li") == ["which one: the red one?"]


def test_archives_that_are_none_or_too_much_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "a Word document" in refusal(zipped(word__document_DOT_xml="<w/>"), "a.docx")
    assert "No file of the archive" in refusal(zipped(readme_DOT_md="hello"), "a.zip")
    assert "broken" in refusal(b"PK\x03\x04 and no more", "a.zip")
    monkeypatch.setattr("perpcs.data.archives.MAX_ARCHIVE_BYTES", 10_000)
    assert "unpack to more than" in refusal(zipped(a_DOT_csv="text,title\n" + "a,b\n" * 50_000), "bomb.zip")
    monkeypatch.setattr("perpcs.data.archives.MAX_MEMBERS", 1)
    assert "more than 1 files" in refusal(zipped(a_DOT_csv="a", b_DOT_csv="b"), "many.zip")


# ---- structured text of no known kind --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("<!DOCTYPE html><html><body><p>a</p></body></html>", "a web page (HTML)"),
        ('<?xml version="1.0"?>\n<notes>\n<note>a</note>\n</notes>', "XML (<notes>)"),
        ("BEGIN:VCARD\nFN:Ann\nEND:VCARD", "an address book (vCard)"),
        ("BEGIN:VCALENDAR\nSUMMARY:a\nEND:VCALENDAR", "a calendar"),
        ("TY  - JOUR\nTI  - A title\nER  - ", "references in RIS"),
        ("{\\rtf1\\ansi a}", "rich text"),
        ("\\documentclass{article}\n\\begin{document}a", "LaTeX"),
        ("WEBVTT\n\n00:01.000 --> 00:02.000\na", "subtitles"),
        ("CREATE TABLE a (b text);\nINSERT INTO a VALUES ('c');", "SQL"),
        ("---\ntitle: a\nitems:\n  - b\n", "YAML"),
        ("posts:\n  - text: a\n  - text: b\nmore: c\n", "YAML"),
        ("[section]\nkey = value\n", "a settings file"),
        ("#!/bin/sh\necho a", "a program"),
    ],
)
@pytest.mark.parametrize("task", [TWEETS, HEADLINES])
def test_structured_text_is_refused_by_its_name(text: str, kind: str, task) -> None:
    assert kind in refusal(text, "file.txt", task)
    with pytest.raises(PerpcsError):
        read_pasted(text, task)


@pytest.mark.parametrize(
    "text", ["<3 you all\nand you", "a < b\nb > c", "note: buy milk", "--- what a day\nyes", "[1] one\ntwo"]
)
def test_prose_that_opens_like_structure_is_prose(text: str) -> None:
    assert [item.x for item in read_pasted(text, TWEETS).items] == text.split("\n")


BRIDGE = [("The council closed it, at last.", "Bridge naps"), ("One loaf; nine metres.", "Baker wins")]
TABLES = {
    "sep line": 'sep=;\ntext;title\n{0};{1}\n"{2}";{3}\n',
    "sep line of a tab": "sep=\t\ntext\ttitle\n{0}\t{1}\n{2}\t{3}\n",
    "semicolons": 'text;title\n{0};{1}\n"{2}";{3}\n',
    "pipes": "text|title\n{0}|{1}\n{2}|{3}\n",
    "carets": "text^title\n{0}^{1}\n{2}^{3}\n",
    "tildes": "text~title\n{0}~{1}\n{2}~{3}\n",
    "markdown": "| text | title |\n|---|:-:|\n| {0} | {1} |\n| {2} | {3} |\n",
    "preamble": 'My headlines\nmade,2024-01-01\n\ntext,title,date\n"{0}",{1},2024-01-01\n{2},{3},2024-01-02\n',
    "other words": 'Article Text,Headline\n"{0}",{1}\n{2},{3}\n',
    "german": 'Texte;Titel\n{0};{1}\n"{2}";{3}\n',
    "chinese": '正文,标题\n"{0}",{1}\n{2},{3}\n',
    "japanese": '本文,見出し\n"{0}",{1}\n{2},{3}\n',
    "old Mac": 'text,title\r"{0}",{1}\r{2},{3}\r',
}


@pytest.mark.parametrize("form", TABLES)
def test_a_table_is_read_however_it_is_cut_and_no_header_is_an_item(form: str) -> None:
    table = TABLES[form].format(*BRIDGE[0], *BRIDGE[1])
    assert pairs(table, HEADLINES, "table.csv") == BRIDGE
    assert [(item.x, item.y) for item in read_pasted(table, HEADLINES).items] == BRIDGE


def test_cells_may_escape_quotes_by_a_backslash_and_nan_is_no_answer() -> None:
    table = 'text,title\n"She said \\"hi, you\\" to it.",Bridge\n"C:\\",Path\nA heron was elected.,nan\n'
    reading = read(table, "table.csv", HEADLINES)
    assert [(item.x, item.y) for item in reading.items] == [('She said "hi, you" to it.', "Bridge"), ("C:\\", "Path")]
    assert [row.line for row in reading.bad] == [4]


def test_a_table_of_posts_alone_has_a_header_too() -> None:
    assert texts("sep=,\ntweet\nkettle and I disagree\nthree buses at once\n", "tweets.csv") == [
        "kettle and I disagree",
        "three buses at once",
    ]


def test_a_feed_as_json() -> None:
    items = [{"id": "1", "title": "T", "content_html": "<p>Text &amp; more</p>", "date_published": "2024-01-01"}]
    assert pairs({"version": "https://jsonfeed.org/version/1.1", "items": items}, HEADLINES) == [("Text & more", "T")]


def test_a_table_of_unknown_columns_is_never_cut_into_lines() -> None:
    table = "colour;size;weight\nred;1;2\nblue;3;4\n"
    for name in ("a.csv", "a.txt"):
        assert "'colour', 'size', 'weight'" in refusal(table, name)
        assert "'colour', 'size', 'weight'" in refusal(table, name, HEADLINES)
    assert "Its fields are 'colour', 'size'." in refusal('[{"colour": "red", "size": "1"}]', "a.json")


# ---- markup, encodings, speed ----------------------------------------------------------------------------------------


def test_html_to_text() -> None:
    assert html_to_text("<ul><li>one</li><li>two</li></ul><script>no</script><!-- no -->end") == "one\n\ntwo\n\nend"
    assert (
        html_to_text('<p>mine</p><div class="gmail_quote"><div>theirs</div></div>', frozenset([".gmail_quote"]))
        == "mine"
    )
    assert without_markup("a < b and <b> is a tag") == "a < b and <b> is a tag"
    assert without_markup("fish &amp; <i>chips</i>") == "fish & chips"
    assert decoded_once("déjà".encode().decode("latin-1")) == "déjà" == decoded_once("déjà")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Мост открыт, и утки довольны. " * 4, "cp1251"),
        ("今日は橋が閉まっていて、鴨は満足していました。明日は雨です。" * 2, "shift_jis"),
        ("Brücke zu.", "cp1252"),
        ("Le café est fermé à midi. Déjà vu.", "mac_roman"),
        ("It’s “shut” – Brücke zu…", "cp1252"),
        ("今天下雨了\n明天也许晴\n", "gbk"),
        ("市议会今天关闭了步行桥，守桥人去睡觉了。明天也许再开。", "gbk"),
        ("시의회는 오늘 다리를 닫았습니다. 내일은 맑음입니다.", "euc_kr"),
        ("橋は昼寝", "utf-16"),
    ],
)
def test_encodings_that_are_not_unicode(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding))[0] == text


UNITS = [
    "<div>",
    "<!--",
    "<a href='",
    "&lt;",
    "<p>a</div>",
    "@article{a,",
    "@article{k, a={",
    "<item>",
    "<rss><channel>",
]
UNITS += [
    "From a 2020\nTo: b\n",
    "1/1/2020, 10:00 - a: b\n",
    "1/1/2020, 10:00 - ",
    "> a\n",
    "a: b\n",
    '{"a":{',
    "\\begin{",
]


@pytest.mark.parametrize("unit", UNITS)
def test_no_export_takes_longer_than_its_length(unit: str) -> None:
    start = time.monotonic()
    for head in ("", '<rss version="2.0"><channel><item><description>'):
        with contextlib.suppress(PerpcsError):
            read(head + unit * (200_000 // len(unit)))
    html_to_text(unit * (200_000 // len(unit)))
    own_words(unit * (200_000 // len(unit)))
    assert time.monotonic() - start < 20  # a quadratic reader needs minutes


def test_each_reader_passes_over_what_is_not_its_own() -> None:
    from perpcs.data.exports.given import Given

    for text in (
        "",
        "a line",
        "a => b\nc => d",
        "text,title\na,b\n",
        "[]",
        "{}",
        '[{"text": "a", "title": "b"}]',
        "[1, 2]",
    ):
        assert [reader.__name__ for reader in READERS if reader(Given(text)) is not None] == []
