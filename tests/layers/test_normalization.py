from __future__ import annotations

import numpy as np

from minidl import BatchNorm


def test_a_pass_of_no_rows_leaves_the_weight_alone_and_keeps_none_of_it() -> None:
    norm = BatchNorm(3)
    norm.forward(np.zeros((0, 3)))
    assert norm.backward(np.zeros((0, 3))).shape == (0, 3)
    assert not norm.weight.grad.any()
    assert not any(np.shares_memory(norm.weight.value, kept) for kept in vars(norm).values() if hasattr(kept, "shape"))


def test_each_batch_moves_the_running_statistics_and_an_empty_one_does_not() -> None:
    layer = BatchNorm(1, momentum=0.25)
    layer.forward(np.array([[1.0], [3.0]]))  # The mean is 2; the unbiased variance is 2.
    for _ in range(2):
        assert layer.running_mean.value.tolist() == [0.5]
        assert layer.running_var.value.tolist() == [1.25]
        assert layer.num_batches_tracked.value == 1
        assert layer.forward(np.zeros((0, 1))).shape == (0, 1)
