"""The registry of experiments: every file here is one, under its own name, and holds an ``EXPERIMENT``.

    table1        methods x tasks, with intervals and controls
    cost          storage against users, time against history items
    history       likelihood against history items
    robustness    fewer sharers, fewer pieces, other sharers, other choices
    separation    whether what knows a person is surely ahead of the base model
    case_study    one person's weights beside PEFT retrieval's choice

A further experiment is one further file.
"""

from importlib import import_module
from pkgutil import iter_modules

from perpcs.errors import unknown
from perpcs.evaluate.experiment import Experiment

EXPERIMENTS = {module.name.replace("_", "-"): module.name for module in iter_modules(__path__)}


def get_experiment(name: str) -> Experiment:
    """The experiment of that name.

    Raises:
        PerpcsError: for an unknown name, with the nearest known one.
    """
    if name not in EXPERIMENTS:
        raise unknown("experiment", name, EXPERIMENTS)
    found: Experiment = import_module(f"{__name__}.{EXPERIMENTS[name]}").EXPERIMENT
    return found
