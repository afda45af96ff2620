"""One answer against the truth, and what a task reports of a person's answers.

An answer that is none of a task's labels is invalid: it counts as wrong for accuracy and F1, is left out of MAE and
RMSE (never scored as zero error), and its share is reported beside them.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from perpcs.tasks import Task
from perpcs.tasks.style import style_match
from perpcs.words import words


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
    """Mean F1 over the labels that occur among the true answers."""
    scores = []
    for label in sorted(set(golds)):
        hits = sum(a == g == label for a, g in zip(answers, golds, strict=True))
        said, true = sum(a == label for a in answers), sum(g == label for g in golds)
        scores.append(2 * hits / (said + true) if said + true else 0.0)
    return _mean(scores)


def rouge(answer: str, gold: str) -> dict[str, float]:
    """ROUGE-1 and ROUGE-L F-measures, {rouge1, rougeL}, over lower-cased words of any script (perpcs/words.py)."""
    scores = _scorer().score(gold, answer)
    return {name: score.fmeasure for name, score in scores.items()}


class _Words:
    """rouge-score's own tokenizer drops every letter outside a-z, so that identical Greek would score 0."""

    def tokenize(self, text: str) -> list[str]:
        return words(text)


@lru_cache(maxsize=1)
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rouge1", "rougeL"], tokenizer=_Words())


def _mean(values: Sequence[float]) -> float:
    return float(sum(values) / len(values)) if values else 0.0
