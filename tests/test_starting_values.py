"""The comparison of first values: its losses against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from tests.campaigns.starting_values import PRESENT, SCHEMES, Job, is_worse, jobs

pytest.importorskip("sklearn")
JOBS = {job.name: job for job in jobs()}


def test_zeros_start_at_the_loss_of_the_output_zero() -> None:
    """½ (mean² + deviation²) over ½ deviation²; ln 10 over the entropy of nearly equal classes."""
    first, later, final = JOBS["Friedman, mean 100"].run(SCHEMES["zeros"], 0)
    assert first == pytest.approx((100**2 + 50**2) / 50**2, rel=0.1)
    assert later < 0.3
    assert final < 0.3
    assert JOBS["digits"].constant(np.repeat(np.arange(10), 7)) == pytest.approx(np.log(10))


@pytest.mark.parametrize("job", [JOBS["tumours"], JOBS["sine, LM"]], ids=lambda job: job.name)
def test_a_job_learns(job: Job) -> None:
    first, later, final = job.run(SCHEMES[PRESENT], 0)
    assert later < 0.8 * first
    assert 0.0 <= final < 0.5


def test_a_scheme_is_refused_where_most_seeds_are_worse() -> None:
    present = np.linspace(0.1, 0.2, 10)
    assert is_worse(1.3 * present, present)
    assert not is_worse(1.05 * present, present)
    assert np.median(1.15 * present) > 1.1 * np.median(present)
    assert not is_worse(1.15 * present[::-1], present)
