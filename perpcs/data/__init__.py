"""Reading people's text: pasted, uploaded, or in LaMP and Per-Pcs files. Nothing read here is logged or written.

limits.py         Limits, BadRow, Reading: how much is read and what comes back
read.py           read_pasted, read_upload, guess_task, user_ids: choose the parser by the content
lamp_files.py     read_users, read_history_file: files of users on disk
clean.py          encodings, line breaks, control characters
parse_text.py     lines to rows
parse_tables.py   CSV and TSV to rows
parse_json.py     JSON and JSONL to rows, one user out of several
json_scan.py      JSON with line numbers
fields.py         the names people give their fields
task_fit.py       which task rows fit
collect.py        rows to a Reading
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
from perpcs.data.read import Look, guess_task, look, read_pasted, read_upload, user_ids

__all__ = [
    "BASE_USERS",
    "CANDIDATES",
    "TARGETS",
    "BadRow",
    "Limits",
    "Look",
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
