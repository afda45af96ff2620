"""Exports of sites and programs, each recognised by its content and read as the person's own words.

A new export is one function from ``Given`` to ``History`` (or None where the text is not of its kind) and one line in
``READERS``. Its rows carry LaMP's field names and a ``date``; with ``person``, where several people wrote.

given.py      what a person gave, opened in each form once; History
social.py     X, ActivityPub (Mastodon), Bluesky, Reddit, Facebook and Instagram, LinkedIn, YouTube
reviews.py    Letterboxd, Goodreads, The StoryGraph, IMDb, Google
papers.py     BibTeX, CSL-JSON, Crossref, Semantic Scholar, arXiv
feeds.py      RSS, Atom, WordPress
chats.py      WhatsApp, Telegram, Messenger, Discord, Slack, Google Chat
mail.py       mbox, eml
frames.py     JSON of pandas
workbook.py   XLSX
archive.py    zip
unknown.py    structured text of no known kind
"""

from perpcs.data.exports.chats import chat_json, whatsapp
from perpcs.data.exports.feeds import feed
from perpcs.data.exports.frames import data_frame
from perpcs.data.exports.given import Given, History, Reader
from perpcs.data.exports.mail import mailbox
from perpcs.data.exports.papers import bibtex, papers_json
from perpcs.data.exports.reviews import goodreads, google_reviews, imdb, letterboxd, storygraph
from perpcs.data.exports.social import activity_pub, bluesky, linkedin, meta, reddit, x_archive, youtube

READERS: tuple[Reader, ...] = (
    x_archive,
    activity_pub,
    bluesky,
    meta,
    reddit,
    linkedin,
    youtube,
    letterboxd,
    goodreads,
    storygraph,
    imdb,
    google_reviews,
    chat_json,
    papers_json,
    data_frame,
    bibtex,
    feed,
    mailbox,
    whatsapp,
)


def recognise(given: Given) -> History | None:
    """The history of the first reader that knows the text, or None.

    Raises:
        PerpcsError: by a reader that knows the text as a file of its site without anything the person wrote.
    """
    return next((found for reader in READERS if (found := reader(given)) is not None), None)
