"""Reading people's text: pasted, uploaded, or in LaMP and Per-Pcs files. Nothing read here is logged or written.

read.py           read_pasted, read_upload, guess_task, user_ids: choose the parser by the content
clean.py          Limits, BadRow, Reading: how much is read and what comes back; bytes and markup to clean text
parse_tables.py   CSV, TSV and plain lines to rows
parse_json.py     JSON and JSONL to rows, with line numbers, one user out of several
fields.py         the names people give their fields, dates and stars as they write them
collect.py        which task rows fit; rows to a Reading
lamp_files.py     read_users, read_history_file: files of users on disk
prompts.py        what of a history goes into prompts: similar items, a counted profile
exports/          what sites and programs export
smalltown/        made-up people
"""

from perpcs.data.clean import BadRow, Limits, Reading
from perpcs.data.lamp_files import (
    BASE_USERS,
    CANDIDATES,
    TARGETS,
    labels_of,
    people_file,
    read_history_file,
    read_users,
    task_folder,
)
from perpcs.data.read import Look, Opened, guess_task, look, read_pasted, read_upload, user_ids

__all__ = [
    "BASE_USERS",
    "CANDIDATES",
    "TARGETS",
    "BadRow",
    "Limits",
    "Look",
    "Opened",
    "Reading",
    "guess_task",
    "labels_of",
    "look",
    "people_file",
    "read_history_file",
    "read_pasted",
    "read_upload",
    "read_users",
    "task_folder",
    "user_ids",
]
