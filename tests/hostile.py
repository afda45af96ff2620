"""Texts made to hold a reader up: what is repeated, never closed, nested, or looks like the start of something else."""

import json

MAIL = "From: b\nTo: c\nMessage-ID: 1\n"
ITEM = "<rss version='2.0'><channel><item><title>a</title><description>"
END = "</description></item></channel></rss>"
PAPER = "@article{a, title={b}, abstract={"
CHAT = "[01/02/2023, 10:11:12] "
REPEATED = {  # name: what comes first, what is repeated, what comes last
    **{name: ("", name, "") for name in ("a", " ", "\t", ",", '"', "=>", "[", "[]", "<", "&amp;", "@", "-", "#", "{")},
    **{repr(name): ("", name, "") for name in ("\n", "\r\n", " \n", "\t\n", "a,b\n", "a => b\n", "hello there\n")},
    **{
        repr(name): ("", name, "")
        for name in ("\ud800", "Ã©", "\x01a", "\u0301", "ﷺ ", "RT @a: x\n", "sep=,\n", "a: b\n")
    },
    "open quote": ('title,text\n"', "x\n", ""),
    "open quotes": ("title,text\n", '"x\n', ""),
    "quote pairs": ("title,text\n", '"a""b""\n', ""),
    "escaped quotes": ("title,text\n", '"a\\"b\n', ""),
    "CSV": ("title,text\n", "a,b\n", ""),
    "CSV after others": ("a,b\n" * 30 + "title,text\n", "x,y\n", ""),
    "CSV with markup": ("title,text\n", "<p>a</p>,b\n", ""),
    "CSV of markup": ("title,text\nx,", "<p>a</p>", ""),
    "CSV of entities": ("title,text\nx,&amp;", "&#1", ""),
    "an entity": ("title,text\nx,&amp;&#", "9", ";\n"),
    "ratings": ("text,score\n", "a,4.5\n", ""),
    "a rating": ("text,score\na,", "9", "\n"),
    "a rating of": ("text,score\na,4/", "9", "\n"),
    "glyphs": ("text,score\na,", "★", "\n"),
    "dates": ("date,text\n", "2024-01-02,x\n", ""),
    "no dates": ("date,text\n", "9999-99-99,x\n", ""),
    "words for dates": ("date,text\n", "x " * 200 + ",y\n", ""),
    "clocks for dates": ("date,text\n", "1:00" * 200 + ",y\n", ""),
    "a Markdown table": ("title|text\n-|-\n", "a|b\n", ""),
    "numbers": ("[", "1,", "1]"),
    "a number": ("[", "9", "]"),
    "strings": ("[", '"a",', '"a"]'),
    "a string": ('["', "a", '"]'),
    "escapes": ('["', "\\u0041", '"]'),
    "objects": ("[", '{"text":"a"},', '{"text":"a"}]'),
    "pairs": ("[", '["a","b"],', '["a","b"]]'),
    "empty objects": ("[", "{},", "{}]"),
    "deep list": ('{"a":' * 4 + "[", '{"text":"a"},', '{"text":"a"}]' + "}" * 4),
    "JSONL": ("", '{"text":"a"}\n', ""),
    "broken JSONL": ("", '{"text":"a"\n', ""),
    "nested JSONL": ("", "[" * 300 + "]" * 300 + "\n", ""),
    "a user again": ("[", '{"user_id":"u","profile":[{"text":"a"}]},', '{"user_id":"u","profile":[]}]'),
    "a user's items": ('[{"user_id":"u","profile":[', '{"text":"a"},', "{}]}]"),
    "a script": ("window.YTD.tweets.part0 = [", '{"tweet":{"full_text":"a","id":"1"}},', "{}]"),
    "tags": ("", "<a>", ""),
    "open XML": ("<?xml version='1.0'?><a>", "<b>", ""),
    "open comments": ("", "<!--", ""),
    "comments": ("", "<!-- -->", ""),
    "instructions": ("", "<?xml >", ""),
    "SQL comments": ("", "--\n", ""),
    "YAML and blank lines": ("a: b\n" * 10, "\n", ""),
    "KakaoTalk": ("", "KakaoTalk", "\nx"),
    "settings": ("[a]\n", " ", ""),
    "a feed": (
        "<rss version='2.0'><channel>",
        "<item><title>a</title><description>b</description></item>",
        "</channel></rss>",
    ),
    "open items": ("<rss version='2.0'><channel>", "<item>", ""),
    "shortcodes": (ITEM, "[gallery ", END),
    "declarations": (ITEM, "<?xml ", END),
    "CDATA": (ITEM, "<![CDATA[", ""),
    "entities": (ITEM, "&#", END),
    "ampersands": (ITEM, "&", END),
    "less than": (ITEM, "< ", END),
    "attributes": ("<rss><channel><item ", "a='b' ", ">"),
    "an attribute": ("<rss><channel><item a='", "b<", ""),
    "a date": ("<rss><channel><item><pubDate>", "1 ", "</pubDate></item></channel></rss>"),
    "doctypes": ("<rss><channel>", "<!DOCTYPE ", ""),
    "BibTeX": ("", PAPER + "c}}\n", ""),
    "open entries": ("", "@article{a, title={", ""),
    "open braces": ("@article{a, title={", "{", ""),
    "entry marks": (PAPER, "@", "}}"),
    "accents": (PAPER, "\\'e ", "}}"),
    "math": (PAPER, "$", "\\a}}"),
    "BibTeX strings": ("", "@string{a = {b}}\n", PAPER + "c}}\n"),
    "BibTeX quotes": ("@article{a, title=", '"', ""),
    "mails": ("", "From a@b Mon Jan  1 00:00:00 2024\nFrom: a@b\nSubject: x\n\nhello\n\n", ""),
    "mailbox line": ("From ", "1", ""),
    "mailbox lines": ("", "From a 2024\nA:\n\n", ""),
    "headers": ("From a@b Mon Jan  1 00:00:00 2024\n", "A: b\n", ""),
    "folded headers": ("A: b\n", " " * 30 + "x\n", ""),
    "folded mail": (MAIL, " " * 30 + "x\n", ""),
    "parts": (MAIL + "Content-Type: multipart/mixed; boundary=x\n\n", "--x\n\n", ""),
    "attributions": (MAIL + "\n", "On Mon wrote schrieb schrieb schrieb\n", ""),
    "long attributions": (MAIL + "\n", "On " + "schrieb " * 30 + "\n", ""),
    "dashes": (MAIL + "\n", "-", ""),
    "HTML mail": (MAIL + "Content-Type: text/html\n\n", "<div>", ""),
    "encoded words": (MAIL + "Subject: ", "=?utf-8?q?a?= ", "\n\nhello"),
    "addresses": ("To: c\nMessage-ID: 1\nFrom: ", "<a@b>,", "\n\nhello"),
    "nested comments": ("To: c\nMessage-ID: 1\nFrom: ", "(", "\n\nhello"),
    "nested comments of a part": (MAIL + "Content-Type: ", "(", "\n\nhello"),
    "parameters": (MAIL + "Content-Type: text/plain; ", "a=b; ", "\n\nhello"),
    "mail date": (MAIL + "Date: ", "1 ", "\n\nhello"),
    "a chat": ("", CHAT + "Ann: hello\n", ""),
    "spaces in a chat": (CHAT + "Ann: a", " ", "b\n"),
    "edits in a chat": (CHAT + "Ann: <", "edited", "\n"),
    "marks in a chat": (CHAT, "\u200e", "\n"),
}


def texts(size):
    """(name, text of about so many characters) of each kind."""
    for name, (first, again, last) in REPEATED.items():
        yield name, first + again * (size // len(again)) + last
    yield "keys", "[{" + ",".join(f'"k{i}":"x"' for i in range(size // 12)) + "}]"
    yield "users", "[" + ",".join(f'{{"user_id":"u{i}","profile":[]}}' for i in range(size // 32)) + "]"
    yield "lists", "{" + ",".join(f'"k{i}":[{{"text":"a"}}]' for i in range(size // 22)) + "}"
    yield "columns", f"{','.join(f'c{i}' for i in range(size // 14))}\n{','.join('x' for i in range(size // 14))}\n"
    yield "names in a chat", "".join(f"{CHAT}A{i}: hello\n" for i in range(size // 38))
    message = {"type": "message", "text": "x", "ts": "1700000000.1"}
    yield "Slack", json.dumps([message | {"user": f"u{i}"} for i in range(size // 70)])
    profiles = (json.dumps([{"id": str(j), "text": "a"} for j in range(i)]) for i in range(int((size / 13) ** 0.5)))
    yield "growing profiles", "[" + ",".join(f'{{"user_id":"u","profile":{one}}}' for one in profiles) + "]"
    yield "braces", PAPER + "\\textbf{" * (size // 9) + "}" * (size // 9) + "}}"
    yield "BibTeX fields", "@article{a, " + "".join(f"f{i}={{x}}," for i in range(size // 10)) + "abstract={y}}"
