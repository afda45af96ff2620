"""Overview: the claim, three ways in, one real example from history to answer, the pool and its quality."""

from perpcs.ui import overview
from perpcs.ui.engine import get_engine
from perpcs.ui.navigation import settle
from perpcs.ui.overview import model_card
from perpcs.ui.state import studio, write_link
from perpcs.ui.widgets import flush

engine, record = get_engine(), studio()
example = settle(engine, record)

overview.claim(engine)
overview.doors(engine, record, example)
overview.voices(engine, record)
flush("overview")
if example is not None:
    overview.story(engine, record, example)
overview.facts(engine, record.task)
overview.method(engine)
model_card(engine)
write_link(record)
