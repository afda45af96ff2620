"""Data frames as JSON, in each orientation that pandas writes.

records, table   a list of objects, alone or under "data"     (read as any list of objects)
columns          {"text": {"0": ..., "1": ...}, "title": {...}}
list             {"text": [..., ...], "title": [...]}
index            {"0": {"text": ..., "title": ...}, "1": {...}}
split, tight     {"columns": ["text", "title"], "index": [...], "data": [[..., ...], ...]}
"""

from collections.abc import Iterator
from typing import Any

from perpcs.data.exports.given import Given, History, row_of
from perpcs.data.fields import is_header, plain
from perpcs.data.json_scan import Found
from perpcs.data.limits import Row
from perpcs.data.markup import without_markup


def data_frame(given: Given) -> History | None:
    """The rows of a frame whose columns name fields that we know."""
    document = given.document
    if document is None or not isinstance(document.value, dict):
        return None
    for rows in (_split(document), _columns(document), _index(document)):
        if rows is not None:
            return History("a data frame", rows)
    return None


def _split(document: Found) -> Iterator[Row] | None:
    names, data = document.value.get("columns"), document.member("data")
    if not isinstance(names, list) or data is None or not isinstance(data.value, list):
        return None
    return (
        _row(each, dict(zip(map(str, names), each.value, strict=False)))
        for each in data.elements()
        if isinstance(each.value, list)
    )


def _columns(document: Found) -> Iterator[Row] | None:
    columns = {name: value for name, value in document.value.items() if isinstance(value, dict | list) and value}
    if not columns or not is_header(columns) or len({type(value) for value in columns.values()}) > 1:
        return None
    by_place = {
        name: value if isinstance(value, dict) else {str(n): each for n, each in enumerate(value)}
        for name, value in columns.items()
    }
    if any(isinstance(cell, dict | list) for cell in next(iter(by_place.values())).values()):
        return None
    first = next(found for name, found in document.members() if name in columns)
    places = (
        list(first.members())
        if isinstance(first.value, dict)
        else [(str(number), found) for number, found in enumerate(first.elements())]
    )
    return (_row(found, {name: column.get(place) for name, column in by_place.items()}) for place, found in places)


def _index(document: Found) -> Iterator[Row] | None:
    values = list(document.value.values())
    if not values or not all(isinstance(value, dict) and value for value in values) or not is_header(values[0]):
        return None
    if any(plain(name) in ("text", "title", "data", "items") for name in document.value):
        return None
    return (_row(found, found.value) for _, found in document.members())


def _row(found: Found, fields: dict[str, Any]) -> Row:
    return row_of(
        found, {name: without_markup(value) if isinstance(value, str) else value for name, value in fields.items()}
    )
