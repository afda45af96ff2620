"""Sharers: who shares, where they are among the candidates, and how much weight a person gives each of them."""

from perpcs.ui import sharers
from perpcs.ui.engine import get_engine
from perpcs.ui.navigation import settle
from perpcs.ui.state import studio, write_link

engine, record = get_engine(), studio()
settle(engine, record)
sharers.sharers_page(engine, record)
write_link(record)
