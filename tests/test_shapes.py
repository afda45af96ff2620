"""Shapes stated in annotations hold at every call of every test, and a wrong one is found."""

from importlib import import_module
from typing import Annotated

import numpy as np
import pytest
import shapes
import torch

from perpcs.assembly.explain import moved
from perpcs.model.basis import Factors


def test_the_shapes_of_public_functions_are_checked():
    for name in shapes.MODULES:
        import_module(name)
        assert any(function.startswith(name) for function in shapes.CHECKED), name
    assert len(shapes.CHECKED) >= 25


def test_a_wrong_shape_is_found():
    with pytest.raises(shapes.WrongShape, match="after"):
        moved(np.ones((2, 3)), np.ones((2, 4)))
    factors = Factors(torch.ones(2, 4), torch.ones(2, 5), torch.ones(1, 1, 2))
    x = torch.ones(3, 6, 4)
    assert factors.added(x, torch.ones(3, 6, 5), torch.nn.Identity()).shape == (3, 6, 5)
    with pytest.raises(shapes.WrongShape, match="returns"):
        factors.added(x, torch.ones(3, 6, 7), torch.nn.Identity())


def test_names_are_sizes_of_one_call_and_dots_are_any():
    sizes: dict[str, int] = {}
    shapes.fit(np.ones((4, 2, 3)), Annotated[np.ndarray, "... n"], sizes, "a")
    shapes.fit((np.ones(3), None), tuple[Annotated[np.ndarray, "n"], Annotated[np.ndarray, "k"]], sizes, "b")
    assert sizes == {"n": 3}
    for wrong in (np.ones(4), np.ones((3, 3)), np.ones(())):
        with pytest.raises(shapes.WrongShape):
            shapes.fit(wrong, Annotated[np.ndarray, "n"], sizes, "c")
