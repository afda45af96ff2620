"""The tables of docs/RESULTS.md, from the files in results/quality/: so that no number in it is typed by hand.

python -m benchmarks.tables
"""

import json
from typing import Any

from benchmarks.common import QUALITY
from perpcs.evaluate.metrics import paired
from perpcs.evaluate.protocol import person_losses
from perpcs.figures.peftu import title_of
from perpcs.figures.results import RULES
from perpcs.tasks import TASKS

_NAMES = {
    "base": "base",
    "rag": "RAG, 1 item",
    "rag:4": "RAG, 4 items",
    "pag": "PAG, a written profile",
    "pag-counted": "PAG, a counted profile",
    "random-history": "control: items of other people",
    "perpcs": "Per-Pcs + Newton weights",
    "perpcs:from_base": "Per-Pcs + Newton weights from the base model",
    "perpcs:paper": "Per-Pcs, gates as published",
    "perpcs:gate": "Per-Pcs, distilled gates",
    "perpcs:prototype": "Per-Pcs, prototype",
    "perpcs:gradient": "Per-Pcs, gradient",
    "perpcs:fit": "Per-Pcs, fit",
    "retrieval": "PEFT retrieval, 3 sharers",
    "p2p": "P2P",
    "p2p:shuffled": "control: P2P, profiles shuffled",
    "oppu": "OPPU, settings of a sharer",
    "uniform": "control: all pieces alike",
    "random": "control: random pieces",
}
_MEASURES = {"label": ("accuracy",), "rating": ("mae", "rmse"), "text": ("rouge-L", "style")}


def table(result: dict[str, Any]) -> list[str]:
    """One task's table in Markdown, a line each."""
    task = TASKS[result["task"]]
    measures = _MEASURES[task.kind]
    head = ["nats per token", "minus base", *measures, "bytes kept", "seconds to prepare"]
    lines = [f"| {task.title.lower()} | {' | '.join(head)} |", "|" + "---|" * (len(head) + 1)]
    for name, row in result["methods"].items():
        wrong, plain = name.startswith("wrong:"), name.removeprefix("wrong:")
        shown = f"control: {_NAMES.get(plain, plain)} of the next person" if wrong else _NAMES.get(name, name)
        cells = [_interval(row["nll"]), _interval(row.get("nll_minus_base")), *(_mean(row.get(m)) for m in measures)]
        cells += ["", ""] if wrong else [f"{row['bytes']:,.0f}", f"{row['prepare_seconds']:.2f}"]
        lines.append(f"| {shown} | {' | '.join(cells)} |")
    for name, row in result.get("references", {}).items():
        lines.append(f"| {name} | | | {' | '.join(_mean(row.get(m)) for m in measures)} | | |")
    return lines


def _interval(numbers: dict[str, float] | None) -> str:
    return f"{numbers['mean']:.3f} ({numbers['low']:.3f} to {numbers['high']:.3f})" if numbers else ""


def _mean(numbers: dict[str, float] | None) -> str:
    return f"{numbers['mean']:.3f}" if numbers else ""


_PAIRS = (
    *(("perpcs", "base"), ("perpcs", "oppu"), ("perpcs", "rag"), ("perpcs", "retrieval"), ("perpcs", "wrong:perpcs")),
    *(("perpcs", "uniform"), ("oppu", "base"), ("rag", "base"), ("perpcs:paper", "base"), ("retrieval", "base")),
)


def over_tasks(results: list[dict[str, Any]]) -> list[str]:
    """Differences between two methods, person by person, over the people of all tasks together."""
    lines = ["| nats per token, over all tasks | difference | better on |", "|---|---|---|"]
    for one, other in _PAIRS:
        if not all(one in result["examples"] and other in result["examples"] for result in results):
            continue
        found = [[person_losses(result["examples"][name]) for name in (one, other)] for result in results]
        all_ = paired([v for own, _ in found for v in own], [v for _, theirs in found for v in theirs])
        better = sum(sum(own) < sum(theirs) for own, theirs in found)
        said = [
            _NAMES.get(name.removeprefix("wrong:"), name) + " of the next person" * name.startswith("wrong:")
            for name in (one, other)
        ]
        what = " less ".join(said)
        lines.append(f"| {what} | {_interval(all_)} | {better} of {len(results)} tasks |")
    return lines


def summary(results: list[dict[str, Any]]) -> list[str]:
    """One table over the tasks: nats per token minus the base model's, one row a method."""
    names = list(dict.fromkeys(name for result in results for name in result["methods"] if name != "base"))
    heads = [f"{TASKS[result['task']].title.lower()} (n = {result['users']})" for result in results]
    lines = [f"| nats per token, less base | {' | '.join(heads)} |", "|" + "---|" * (len(heads) + 1)]
    for name in names:
        plain = _NAMES.get(name.removeprefix("wrong:"), name)
        shown = f"control: {plain} of the next person" if name.startswith("wrong:") else plain
        cells = [_signed(result["methods"].get(name, {}).get("nll_minus_base")) for result in results]
        lines.append(f"| {shown} | {' | '.join(cells)} |")
    return lines


def _signed(numbers: dict[str, float] | None, either: bool = False) -> str:
    """A difference with its interval, bold if the interval lies below 0, or on either side of it."""
    if not numbers:
        return ""
    text = f"{numbers['mean']:+.3f} ({numbers['low']:+.3f} to {numbers['high']:+.3f})"
    return f"**{text}**" if numbers["high"] < 0 or (either and numbers["low"] > 0) else text


def history_table(result: dict[str, Any]) -> list[str]:
    """Nats per target token of every method at every number of history items."""
    names = list(dict.fromkeys(name for task in result["tasks"].values() for name in task["methods"]))
    lines = [f"| task | history items | {' | '.join(map(_shown, names))} |", "|" + "---|" * (len(names) + 2)]
    for task, found in result["tasks"].items():
        for place, items in enumerate(found["items"]):
            cells = (_mean(found["methods"][name]["nll"][place]) for name in names)
            lines.append(f"| {TASKS[task].title.lower()} | {items} | {' | '.join(cells)} |")
    return lines


def separation_table(result: dict[str, Any]) -> list[str]:
    """Every method's own interval, and which of them lie wholly below the base model's."""
    names = list(next(iter(result["tasks"].values()))["methods"])
    lines = [f"| task | {' | '.join(map(_shown, names))} | surely below base |", "|" + "---|" * (len(names) + 2)]
    for task, found in result["tasks"].items():
        apart = ", ".join(_shown(name) for name, is_apart in found["apart"].items() if is_apart)
        cells = (_interval(found["methods"][name]["nll"]) for name in names)
        lines.append(f"| {TASKS[task].title.lower()} | {' | '.join(cells)} | {apart or 'none'} |")
    return lines


def robustness_table(result: dict[str, Any]) -> list[str]:
    """Nats per target token of every router under every condition, and of every other choice its difference."""
    lines = []
    for task, found in result["tasks"].items():
        names = list(found["sharers"]["methods"])
        lines += [
            f"| {TASKS[task].title.lower()} | {' | '.join(map(_shown, names))} |",
            "|" + "---|" * (len(names) + 1),
        ]
        lines.append(f"| base model | {' | '.join([_mean(found['base'])] * len(names))} |")
        for part, words in (("sharers", "{:g} sharers"), ("share_ratio", "{:.0%} of each one's pieces")):
            for place, size in enumerate(found[part]["x"]):
                cells = (_mean(found[part]["methods"][name]["nll"][place]) for name in names)
                lines.append(f"| {words.format(size)} | {' | '.join(cells)} |")
        for rule, cells in found["selection"]["rules"].items():
            count = "" if rule == "all" else f"{found['selection']['taken']} sharers, "
            lines.append(f"| {count}{RULES[rule]} | {' | '.join(_mean(cells[name]) for name in names)} |")
        lines += [
            "",
            f"| {TASKS[task].title.lower()}, chosen otherwise | nats per token | less default |",
            "|---|---|---|",
        ]
        for row in found["choices"]:
            choice = row["choice"] or "default"
            lines.append(
                f"| {_shown(row['method'])}: {choice} | {_mean(row['nll'])} | {_interval(row['minus_default'])} |"
            )
        lines.append("")
    return lines


def peftu_table(result: dict[str, Any]) -> list[str]:
    """Accuracy of every method of PEFT-U, its differences in accuracy to the controls, and its costs."""
    lines = []
    head = ("accuracy", "less zero-shot", "less another person's module", "less own label counts", "nats per text")
    for found in result["tasks"].values():
        lines += [f"**{found['title']}**, n = {found['people']} people", ""]
        lines += [f"| method | {' | '.join(head)} | trained numbers, bytes |", "|" + "---|" * (len(head) + 2)]
        for name, row in found["methods"].items():
            minus = (row.get(f"minus_{other}", {}).get("accuracy") for other in ("zero_shot", "wrong", "prior"))
            cells = [_interval(row["accuracy"]), *(_signed(one, either=True) for one in minus), _mean(row["nats"])]
            costs = f"{row['trained']:,}, {row['kept_bytes']:,}" if "kept_bytes" in row else ""
            lines.append(f"| {title_of(name)} | {' | '.join(cells)} | {costs} |")
        lines.append("")
    return lines


def _shown(name: str) -> str:
    """A method's name in a table's head."""
    wrong = name.startswith("wrong:")
    plain = _NAMES.get(name.removeprefix("wrong:"), name).removeprefix("Per-Pcs, ").partition(", settings")[0]
    return f"{plain} of the next person" if wrong else plain


_EXPERIMENTS = {
    "history": history_table,
    "separation": separation_table,
    "robustness": robustness_table,
    "peftu": peftu_table,
}


def main() -> None:
    results = [json.loads(path.read_text("utf-8")) for path in sorted(QUALITY.glob("evaluate_*.json"))]
    print("\n".join(summary(results)) + "\n")
    for result in results:
        print("\n".join(table(result)) + "\n")
    print("\n".join(over_tasks(results)) + "\n")
    for name, rows in _EXPERIMENTS.items():
        if (QUALITY / f"{name}.json").exists():
            print("\n".join(rows(json.loads((QUALITY / f"{name}.json").read_text("utf-8")))) + "\n")


if __name__ == "__main__":
    main()
