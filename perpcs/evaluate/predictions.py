"""Answers in the format in which LaMP takes submissions: {"task": NAME, "golds": [{"id", "output"}]}."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perpcs.errors import PerpcsError
from perpcs.files import write_json


def write_predictions(folder: Path, result: Mapping[str, Any]) -> list[Path]:
    """Write one file a method from an evaluation with texts; returns their paths.

    Raises:
        PerpcsError: when a question has no id, or one id is that of two questions, so that LaMP could not score them.
    """
    paths = []
    for method, people in result["examples"].items():
        rows = [row for person in people for row in person["queries"] if "answer" in row]
        ids = [row["id"] for row in rows]
        if not all(ids) or len(set(ids)) < len(ids):
            raise PerpcsError("The questions have no ids of their own.", "Give every query an 'id' that no other has.")
        if rows:
            golds = [{"id": row["id"], "output": row["answer"]} for row in rows]
            paths.append(folder / f"{method.replace(':', '-')}.json")
            write_json(paths[-1], {"task": result["task"], "golds": golds})
    return paths


def without_texts(result: Mapping[str, Any]) -> dict[str, Any]:
    """An evaluation without answers and true answers, as it is kept where nobody asked for them."""
    examples = {
        method: [
            {
                **person,
                "queries": [
                    {name: value for name, value in row.items() if name not in ("answer", "gold")}
                    for row in person["queries"]
                ],
            }
            for person in people
        ]
        for method, people in result["examples"].items()
    }
    return {**result, "examples": examples}
