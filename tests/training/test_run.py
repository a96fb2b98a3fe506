"""What is random in a run depends on its seed and on a number, not on what was drawn before."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from minidl import SGD, HalfSquaredError, Trainer, mlp
from minidl._training.run import Run

X = np.random.default_rng(0).normal(size=(23, 2))


def numbers(run: Run, number: int, count: int = 5) -> list[int]:
    drawn: list[int] = run.generator(number).integers(2**63, size=count).tolist()
    return drawn


def make(rng: np.random.Generator | int) -> Trainer:
    model = mlp([2, 6, 1], rng=1)
    return Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.1), rng=rng)


def test_a_generator_depends_on_the_seed_and_its_number_alone() -> None:
    run, same = make(3)._run, make(3)._run
    first = [numbers(run, number) for number in (0, 1, 2, 10**6)]
    assert len(set(map(tuple, first))) == 4
    run.generator(1).random(7, dtype=np.float32)  # leaves half a number behind
    assert [numbers(run, number) for number in (10**6, 2, 1, 0)] == first[::-1]
    assert [numbers(same, number) for number in (0, 1, 2, 10**6)] == first
    assert [numbers(copy.deepcopy(run), number) for number in (0, 1, 2, 10**6)] == first
    assert numbers(make(4)._run, 0) != first[0]


def test_the_generators_of_two_numbers_are_not_correlated() -> None:
    count = 500_000
    for pair in ((0, 1), (1, 2), (1, 3)):
        one, other = (make(0)._run.generator(number).integers(2**64, size=count, dtype=np.uint64) for number in pair)
        differing = np.bitwise_count(one ^ other).sum()  # of 64 bits, each with the chance 1/2
        assert abs(float(differing) - 32 * count) < 5 * 4 * count**0.5


@pytest.mark.parametrize("kind", [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_one_number_is_drawn_from_a_users_generator(kind: type[np.random.BitGenerator]) -> None:
    def generator() -> np.random.Generator:
        return np.random.Generator(kind(5))

    mine, plain = generator(), generator()
    trainer = make(mine)
    plain.integers(2**63)
    state = repr(mine.bit_generator.state)
    assert state == repr(plain.bit_generator.state)
    trainer.fit(X, X[:, :1], epochs=3, validation=0.2)
    assert repr(mine.bit_generator.state) == state
    again, later = make(generator()), make(mine)
    for other in (again, later):
        other.fit(X, X[:, :1], epochs=3, validation=0.2)
    assert again.history.loss == trainer.history.loss
    assert later.history.loss != trainer.history.loss


def test_the_order_of_an_epoch_does_not_depend_on_what_ran_before() -> None:
    whole, parts = make(3), make(3)
    whole.fit(X, X[:, :1], epochs=3, batch_size=4)
    parts.fit(X, X[:, :1], epochs=1, batch_size=4)
    parts.evaluate(X, X[:, :1])
    parts.fit(X, X[:, :1], epochs=2, batch_size=4)
    assert parts.history.loss == whole.history.loss


def test_the_split_has_number_0_and_each_epoch_the_one_after_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    generator = Run.generator

    def noted(run: Run, number: int) -> np.random.Generator:
        drawn.append(number)
        return generator(run, number)

    monkeypatch.setattr(Run, "generator", noted)
    trainer = make(0)
    trainer.fit(X, X[:, :1], epochs=3, validation=0.2)
    assert drawn == [0, 1, 2, 3]
    trainer.fit(X, X[:, :1], epochs=2, validation=0.2)
    assert drawn[4:] == [0, 4, 5]
