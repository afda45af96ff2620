"""The losses during a training: one strip of bars per loss, as plain HTML because it is redrawn at every step."""

from collections.abc import Mapping, Sequence
from html import escape

BARS = 48


def loss_strips(curves: Mapping[str, Sequence[tuple[int, float]]], steps: int = 0) -> str:
    """The curves one below the other, each with its first and its latest value.

    Args:
        curves: (step, nats per target token) by name.
        steps: of the whole training; bars fill the width as steps are done. 0 = the steps so far.
    """
    return "".join(_strip(name, points, steps) for name, points in curves.items() if points)


def _strip(name: str, points: Sequence[tuple[int, float]], steps: int) -> str:
    last = max(points[-1][0], steps, 1)
    bins: list[list[float]] = [[] for _ in range(min(BARS, max(len(points), 2)))]
    for step, loss in points:
        bins[min(len(bins) - 1, step * len(bins) // (last + 1))].append(loss)
    top = max(loss for _, loss in points)
    bars = "".join(f'<i style="height:{_height(bin_, top):.0f}%"></i>' for bin_ in bins)
    first, newest = points[0][1], points[-1][1]
    said = f"{name} loss from {first:.3f} to {newest:.3f} nats per token, step {points[-1][0]} of {last}"
    return (
        f'<div class="pp-loss" role="img" aria-label="{escape(said)}"><small>{escape(name)}: {first:.2f} → {newest:.2f}'
        f"</small><div>{bars}</div></div>"
    )


def _height(losses: Sequence[float], top: float) -> float:
    """Height in per cent; existing bars are always visible."""
    return max(3.0, 100 * sum(losses) / len(losses) / top) if losses and top > 0 else 0.0
