"""Scores of answers against the truth, by task, and means over people with intervals.

An answer that is none of a task's labels is invalid: it counts as wrong for accuracy and F1, is left out of MAE and
RMSE (never scored as zero error), and its share is reported beside them.

``write_predictions`` writes answers in the format in which LaMP takes submissions: {"task": NAME, "golds": [{"id",
"output"}]}.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from perpcs.errors import PerpcsError
from perpcs.files import write_json
from perpcs.tasks import Task
from perpcs.tasks.task import style_match
from perpcs.words import words

# ---- one answer and many ---------------------------------------------------------------------------------------------


DRAWS = 2000
"""Bootstrap resamples for an interval."""


def score_person(task: Task, answers: Sequence[str], golds: Sequence[str]) -> dict[str, float]:
    """The measures of one person's answers: accuracy and F1, MAE and RMSE, or ROUGE-1, ROUGE-L and style."""
    if task.kind == "text":
        pairs = [rouge(answer, gold) for answer, gold in zip(answers, golds, strict=True)]
        exact = [answer == gold for answer, gold in zip(answers, golds, strict=True)]
        return {
            "rouge-1": _mean([pair["rouge1"] for pair in pairs]),
            "rouge-L": _mean([pair["rougeL"] for pair in pairs]),
            "exact": _mean(exact),
            "style": _mean([style_match(answer, gold) for answer, gold in zip(answers, golds, strict=True)]),
        }
    invalid = _mean([answer not in task.labels for answer in answers])
    right = _mean([answer == gold for answer, gold in zip(answers, golds, strict=True)])
    if task.kind == "rating":
        errors = [
            abs(int(answer) - int(gold)) for answer, gold in zip(answers, golds, strict=True) if answer in task.labels
        ]
        scores = {"accuracy": right, "invalid": invalid}
        if errors:
            scores |= {"mae": _mean(errors), "rmse": _mean([error**2 for error in errors]) ** 0.5}
        return scores
    return {"accuracy": right, "f1": macro_f1(answers, golds), "invalid": invalid}


def macro_f1(answers: Sequence[str], golds: Sequence[str]) -> float:
    """Mean F1 over the labels among the true answers."""
    from sklearn.metrics import f1_score

    return float(f1_score(golds, answers, labels=sorted(set(golds)), average="macro", zero_division=0))


def rouge(answer: str, gold: str) -> dict[str, float]:
    """ROUGE-1 and ROUGE-L F-measures, {rouge1, rougeL}, over lower-cased words of any script (perpcs/words.py).

    The numbers of the package rouge-score, to the bit; its own tokenizer would drop every letter outside a-z.
    """
    said, true = words(answer), words(gold)
    shared = (Counter(said) & Counter(true)).total()
    longest = [0] * (len(true) + 1)  # common subsequence of the words so far and the first 0, 1, 2 ... true ones
    for word in said:
        before, longest = longest, [0]
        for place, other in enumerate(true):
            longest.append(before[place] + 1 if word == other else max(before[place + 1], longest[-1]))
    return {"rouge1": _f_measure(shared, said, true), "rougeL": _f_measure(longest[-1], said, true)}


def _f_measure(common: int, said: Sequence[str], true: Sequence[str]) -> float:
    if not common:
        return 0.0
    precision, recall = common / len(said), common / len(true)
    return 2 * precision * recall / (precision + recall)


def _mean(values: Sequence[float]) -> float:
    return float(sum(values) / len(values)) if values else 0.0


# ---- over people -----------------------------------------------------------------------------------------------------


def summary(values: Sequence[float] | np.ndarray, seed: int = 0) -> dict[str, float | int]:
    """Mean over people with a 95 % percentile bootstrap over people, because people are what varies; {mean, low, high,
    n_users}.
    """
    from scipy.stats import bootstrap

    array = np.asarray(values, dtype=np.float64)
    low = high = array.mean()
    if len(array) > 1:
        random = np.random.default_rng(seed)
        low, high = bootstrap((array,), np.mean, n_resamples=DRAWS, method="percentile", rng=random).confidence_interval
    ends = {"mean": array.mean(), "low": low, "high": high}
    return {**{name: round(float(value), 5) for name, value in ends.items()}, "n_users": len(array)}


def paired(values: Sequence[float], others: Sequence[float], seed: int = 0) -> dict[str, float | int]:
    """The mean difference of two methods on the same people, with its interval."""
    return summary(np.asarray(values) - np.asarray(others), seed)


# ---- submissions -----------------------------------------------------------------------------------------------------


def write_predictions(folder: Path, result: Mapping[str, Any]) -> list[Path]:
    """Write one file per method from an evaluation with texts; returns the paths.

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
    """An evaluation without answers and true answers."""
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
