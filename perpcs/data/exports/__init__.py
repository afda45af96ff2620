"""Exports of sites and programs, each recognised by its content and read as the person's own words.

A new export is one function from ``Given`` to ``History`` (or None where the text is not of its kind) and one line in
``READERS``; ``of_json``, ``of_table`` and ``of_text`` say which texts it is asked about. Its rows carry LaMP's field
names and a ``date``; with ``person``, where several people wrote.

given.py       what a person gave, opened in each form once (zip and XLSX too); History; JSON of pandas; structured text
               of no known kind
social.py      X, ActivityPub (Mastodon), Bluesky, Reddit, Facebook and Instagram, LinkedIn, YouTube
articles.py    papers (BibTeX, CSL-JSON, Crossref, Semantic Scholar, arXiv), reviews (Letterboxd, Goodreads,
               The StoryGraph, IMDb, Google), posts (RSS, Atom, WordPress)
messages.py    chats (WhatsApp, Telegram, Messenger, Discord, Slack, Google Chat), mail (mbox, eml)
"""

from perpcs.data.exports.articles import (
    bibtex,
    feed,
    goodreads,
    google_reviews,
    imdb,
    letterboxd,
    papers_json,
    storygraph,
)
from perpcs.data.exports.given import Given, History, Reader, data_frame
from perpcs.data.exports.messages import chat_json, mailbox, whatsapp
from perpcs.data.exports.social import (
    activity_pub,
    bluesky,
    linkedin,
    meta,
    reddit_api,
    reddit_request,
    x_archive,
    youtube,
)

READERS: tuple[Reader, ...] = (
    x_archive,
    activity_pub,
    bluesky,
    meta,
    reddit_request,
    reddit_api,
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
