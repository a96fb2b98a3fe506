from __future__ import annotations

import numpy as np
import pytest

from minidl import Add, Concat, Mean, Merge, Multiply, ShapeError
from tests.refusal import refused


@pytest.mark.parametrize("merge", [Concat(), Add(), Mean(), Multiply()], ids=repr)
@pytest.mark.parametrize("rows", [(3, 1), (1, 3), (3, 2), (0, 3)])
def test_inputs_of_different_rows_are_refused(merge: Merge, rows: tuple[int, int]) -> None:
    inputs = [np.ones((count, 2)) for count in rows]
    with refused(ShapeError, repr(merge), f"got ({rows[0]}, 2), ({rows[1]}, 2)"):
        merge.forward(*inputs)
