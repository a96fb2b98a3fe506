from __future__ import annotations

import numpy as np

from minidl import BatchNorm


def test_a_pass_of_no_rows_leaves_the_weight_alone_and_keeps_none_of_it() -> None:
    norm = BatchNorm(3)
    norm.forward(np.zeros((0, 3)))
    assert norm.backward(np.zeros((0, 3))).shape == (0, 3)
    assert not norm.weight.grad.any()
    assert not any(np.shares_memory(norm.weight.value, kept) for kept in vars(norm).values() if hasattr(kept, "shape"))
