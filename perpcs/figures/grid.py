"""What a map shows: rows of positions or of whole layers, and the columns that are drawn."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perpcs.assembly.record import Assembly
from perpcs.figures.order import LAYERS, rows_of, short_label, split_label
from perpcs.figures.piece import selected_pieces


@dataclass(frozen=True)
class Grid:
    """The rows of a map over all S sharers."""

    groups: tuple[tuple[int, ...], ...]
    """The positions of each row, from top to bottom."""
    labels: tuple[str, ...]
    """Of each row, in full."""
    ticks: tuple[str, ...]
    """Of each row, short."""
    weights: np.ndarray
    """(rows, S), means over a row's positions."""
    scores: np.ndarray
    """(rows, S), means over a row's positions."""
    picked: np.ndarray
    """(rows, S): whether any item selected a piece there."""
    opens: np.ndarray
    """(rows, S): the position that a click on a mark opens, the one with the largest weight."""
    effective: np.ndarray
    """(rows,)"""
    top: np.ndarray
    """(rows,): share of the largest weight."""

    def row_of(self, position: int) -> int | None:
        """The row that holds a position; None where it is not drawn."""
        return next((row for row, group in enumerate(self.groups) if position in group), None)


def grid_of(assembly: Assembly, module: str | None = None) -> Grid:
    """The rows of a map.

    Args:
        module: only positions of this module; ``LAYERS`` = one row a layer; None = all positions.
    """
    if module == LAYERS:
        layers = [split_label(label)[0] for label in assembly.positions]
        groups = tuple(tuple(p for p, at in enumerate(layers) if at == layer) for layer in sorted(set(layers)))
    else:
        groups = tuple((p,) for p in rows_of(assembly.positions, module))
    of = assembly.positions
    labels = tuple(of[group[0]] if len(group) == 1 else f"layer {split_label(of[group[0]])[0]}" for group in groups)
    size, picked = np.abs(assembly.weights), selected_pieces(assembly)
    return Grid(
        groups,
        labels,
        tuple(short_label(label) if "," in label else label.removeprefix("layer ") for label in labels),
        _means(assembly.weights, groups),
        _means(assembly.scores, groups),
        np.stack([picked[list(group)].any(axis=0) for group in groups]),
        np.stack([np.array(group)[size[list(group)].argmax(axis=0)] for group in groups]),
        _means(assembly.effective_sharers(), groups),
        _means(assembly.top_share(), groups),
    )


def _means(values: np.ndarray, groups: Sequence[Sequence[int]]) -> np.ndarray:
    return np.stack([values[list(group)].mean(axis=0) for group in groups])
