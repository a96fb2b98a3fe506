"""Schedules against loops, PyTorch, and what their names promise."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from typing_extensions import override

from minidl import SGD, Array, HalfSquaredError, Parameter, Trainer, mlp, schedules
from minidl._core.configuration import config_of, from_config
from minidl._training.compiled_engine import EngineName
from minidl.callbacks import Callback, Checkpoint
from minidl.errors import ArgumentError, CallOrderError, DTypeError
from minidl.schedules import (
    Constant,
    Cosine,
    CosineRestarts,
    Epochs,
    Exponential,
    MultiStep,
    OneCycle,
    Schedule,
    Step,
    Warmup,
)
from tests.campaigns.resume_points import bits, kept
from tests.support.refusal import refused

EXAMPLES = {
    "Constant(0.1)": Constant(0.1),
    "Step(0.1, factor=0.5, steps=30)": Step(0.1, 0.5, steps=30),
    "Step(0.1, epochs=3)": Step(0.1, epochs=3),
    "Exponential(0.1, 0.9, steps=10)": Exponential(0.1, 0.9, steps=10),
    "Exponential(0.1, 0.9, epochs=1)": Exponential(0.1, 0.9, epochs=1),
    "MultiStep(0.1, (3, 5), steps=20)": MultiStep(0.1, [3, 5], steps=20),
    "MultiStep(0.1, (3, 5), factor=0.5, epochs=1)": MultiStep(0.1, [3, 5], 0.5, epochs=1),
    "CosineRestarts(0.1, steps=30, growth=2, final=0.001)": CosineRestarts(0.1, steps=30, growth=2, final=0.001),
    "CosineRestarts(0.1, epochs=5)": CosineRestarts(0.1, epochs=5),
    "Cosine(0.1, steps=100, final=0.001)": Cosine(0.1, steps=100, final=0.001),
    "Cosine(0.1, epochs=50)": Cosine(0.1, epochs=50),
    "Warmup(Cosine(0.1, steps=80), steps=20)": Warmup(Cosine(0.1, steps=80), steps=20),
    "Warmup(Cosine(0.1, epochs=8), steps=20)": Warmup(Cosine(0.1, epochs=8), steps=20),
    "Warmup(Cosine(0.1, steps=80), epochs=2)": Warmup(Cosine(0.1, steps=80), epochs=2),
    "Warmup(0.1, steps=20)": Warmup(0.1, steps=20),
    "OneCycle(0.1, steps=100)": OneCycle(0.1, steps=100),
    "OneCycle(0.1, epochs=9, rise=0.25, start_divisor=10.0, end_divisor=0.5)":
        OneCycle(0.1, epochs=9, rise=0.25, start_divisor=10.0, end_divisor=0.5),
}  # fmt: skip

each = pytest.mark.parametrize(("text", "schedule"), EXAMPLES.items(), ids=EXAMPLES)


@each
def test_is_printed_as_the_call_that_makes_it(text: str, schedule: Schedule) -> None:
    assert repr(schedule) == text
    assert eval(text, vars(schedules)) == schedule


@each
def test_can_be_pickled_copied_and_compared(text: str, schedule: Schedule) -> None:
    for twin in (pickle.loads(pickle.dumps(schedule)), copy.deepcopy(schedule), schedule.in_steps(7)):
        same = twin == schedule
        assert same or "epochs=" in text
        assert not same or hash(twin) == hash(schedule)
        assert [twin(n, Epochs(0, 0, 7)) for n in range(150)] == [schedule(n, Epochs(0, 0, 7)) for n in range(150)]


@each
def test_can_be_made_again_from_plain_arguments(text: str, schedule: Schedule) -> None:
    assert from_config(type(schedule), config_of(schedule)) == schedule


@each
def test_never_below_zero_nor_above_its_highest(text: str, schedule: Schedule) -> None:
    assert all(0.0 <= schedule(n, Epochs(0, 0, 7)) <= 0.1 + 1e-15 for n in range(500))


def test_differs_from_others() -> None:
    assert len(set(EXAMPLES.values())) == len(EXAMPLES)
    assert Constant(0.1) != Constant(0.2)
    assert Constant(0.1) == Constant(0.1)
    assert Cosine(0.1, steps=20) != Cosine(0.1, epochs=20)
    assert Warmup(0.1, steps=20) != OneCycle(0.1, steps=20)


def test_constant_stays() -> None:
    assert {Constant(0.3)(n) for n in range(1000)} == {0.3}


def test_step_drops_by_multiplying() -> None:
    schedule, rate = Step(0.8, 0.5, steps=4), 0.8
    for n in range(20):
        if n and n % 4 == 0:
            rate *= 0.5
        assert schedule(n) == rate


def test_several_steps_drop_at_their_milestones() -> None:
    schedule = MultiStep(0.8, [2, 5, 5], 0.5, steps=10)
    assert [schedule(n) for n in (0, 19, 20, 49, 50, 10**9)] == [0.8, 0.8, 0.4, 0.4, 0.1, 0.1]
    for wrong, error in (([], ArgumentError), ([0], ArgumentError), ([1.5], DTypeError), (3, DTypeError)):
        with refused(error, "MultiStep(milestones)"):
            MultiStep(0.8, wrong, steps=1)  # type: ignore[arg-type]


def test_a_cosine_with_restarts_is_one_cosine_after_the_other() -> None:
    for growth in (1, 2, 3):
        schedule, length = CosineRestarts(0.5, steps=4, growth=growth, final=0.1), 4
        wanted: list[float] = []
        while len(wanted) < 100:
            period = Cosine(0.5, steps=length, final=0.1)
            wanted += [period(n) for n in range(length)]
            length *= growth
        assert [schedule(n) for n in range(len(wanted))] == wanted
    assert CosineRestarts(0.5, steps=4)(10**15) == 0.5


def test_exponential_multiplies_once_each_step() -> None:
    schedule, rate = Exponential(0.8, 0.97, steps=1), 0.8
    for n in range(50):
        assert schedule(n) == pytest.approx(rate, rel=1e-13)
        rate *= 0.97


def test_exponential_can_be_slow() -> None:
    schedule = Exponential(0.8, 0.5, steps=10)
    assert [schedule(n) for n in (0, 10, 30)] == pytest.approx([0.8, 0.4, 0.1])
    assert schedule(5) == pytest.approx(0.8 * math.sqrt(0.5))


def test_cosine_passes_through_its_ends_and_its_middle() -> None:
    schedule = Cosine(0.5, steps=40, final=0.1)
    assert [schedule(n) for n in (0, 20, 40, 41, 10**9)] == pytest.approx([0.5, 0.3, 0.1, 0.1, 0.1], rel=1e-14)
    assert schedule(10) == pytest.approx(0.3 + 0.2 * math.sqrt(0.5), rel=1e-14)


def test_warmup_rises_evenly_and_then_follows_from_the_start() -> None:
    inner = Cosine(0.6, steps=10)
    schedule = Warmup(inner, steps=5)
    assert [schedule(n) for n in range(6)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert [schedule(n + 5) for n in range(20)] == [inner(n) for n in range(20)]


def test_warmup_wraps_any_function() -> None:
    assert Warmup(lambda n: 1.0 / (n + 1), steps=1)(0) == 0.5


def test_one_cycle_starts_peaks_and_ends_where_it_says() -> None:
    schedule = OneCycle(1.0, steps=100, rise=0.25, start_divisor=10.0, end_divisor=100.0)
    assert [schedule(n) for n in (0, 25, 100, 200)] == pytest.approx([0.1, 1.0, 0.001, 0.001], rel=1e-13)
    rates = [schedule(n) for n in range(101)]
    assert rates[:26] == sorted(rates[:26])
    assert rates[25:] == sorted(rates[25:], reverse=True)


def test_one_cycle_may_end_above_its_start() -> None:
    schedule = OneCycle(1.0, steps=10, start_divisor=10.0, end_divisor=0.5)
    assert [schedule(0), schedule(10)] == pytest.approx([0.1, 0.2], rel=1e-14)


@pytest.mark.parametrize(("schedule", "peer", "arguments"), [
    (Step(0.1, 0.5, steps=30), "StepLR", {"step_size": 30, "gamma": 0.5}),
    (Exponential(0.1, 0.97, steps=1), "ExponentialLR", {"gamma": 0.97}),
    (Cosine(0.1, steps=100, final=0.001), "CosineAnnealingLR", {"T_max": 100, "eta_min": 0.001}),
    (MultiStep(0.1, [30, 60, 60], 0.5, steps=1), "MultiStepLR", {"milestones": [30, 60, 60], "gamma": 0.5}),
    (CosineRestarts(0.1, steps=9, growth=2, final=0.001), "CosineAnnealingWarmRestarts",
     {"T_0": 9, "T_mult": 2, "eta_min": 0.001}),
    (CosineRestarts(0.1, steps=9), "CosineAnnealingWarmRestarts", {"T_0": 9}),
    (Warmup(0.1, steps=20), "LinearLR", {"start_factor": 1 / 21, "total_iters": 20}),
    # PyTorch counts the steps from 1 to 101 and the top among the rising ones.
    (OneCycle(0.1, steps=100, rise=0.3), "OneCycleLR", {"max_lr": 0.1, "total_steps": 101, "pct_start": 31 / 101}),
], ids=repr)
def test_agrees_with_pytorch(schedule: Callable[[int], float], peer: str, arguments: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    theirs = getattr(torch.optim.lr_scheduler, peer)(optimizer, **arguments)
    for n in range(100):
        assert schedule(n) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-10)
        optimizer.step()
        theirs.step()


def test_an_optimizer_asks_with_the_number_of_steps_taken() -> None:
    parameter = Parameter(0.0)
    optimizer = SGD([parameter], Warmup(0.4, steps=3))
    places = []
    for _ in range(4):
        parameter.grad += 1.0
        optimizer.step()
        places.append(float(parameter.value))
    assert places == pytest.approx([-0.1, -0.3, -0.6, -1.0])
    assert optimizer.last_rate == 0.4
    assert "Warmup(0.4, steps=3)" in repr(optimizer)


def test_a_schedule_that_fails_is_named_with_its_step() -> None:
    for rate in ([-1.0], [math.inf], [math.nan]):
        with refused(ArgumentError, "SGD: learning rate at step 0: expected", "at least 0", f"got {rate[0]}"):
            SGD([Parameter(0.0)], rate.__getitem__).current_rate()
    with refused(DTypeError, "SGD: learning rate at step 0: expected a number, got 'fast'"):
        SGD([Parameter(0.0)], lambda n: "fast").current_rate()  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("schedule", [
    Exponential(0.1, 1e308, steps=1), Step(0.1, 1e308, steps=1), Step(1e200, 1e200, steps=100),
    OneCycle(1e200, steps=100, end_divisor=1e-200), Warmup(Step(0.1, 1e308, steps=1), steps=5),
], ids=repr)
def test_a_rate_beyond_the_floats_is_refused_by_name(schedule: Schedule) -> None:
    assert schedule(0) > 0.0
    named = schedule.schedule if isinstance(schedule, Warmup) else schedule
    with refused(ArgumentError, f"{named!r}: expected a finite rate at step", "use smaller numbers"):
        schedule(110)


def test_a_warmup_refuses_a_wrong_rate_of_its_function() -> None:
    with refused(ArgumentError, "Warmup(schedule): learning rate: expected", "got -1.0"):
        Warmup(lambda n: -1.0, steps=3)(0)


@pytest.mark.parametrize(("make", "error", "words"), [
    (lambda: Constant(-1.0), ArgumentError, r"Constant\(rate\)"),
    (lambda: Constant("a"), DTypeError, r"Constant\(rate\)"),  # type: ignore[arg-type]
    (lambda: Step(0.1, steps=0), ArgumentError, r"Step\(steps\): expected at least 1, got 0"),
    (lambda: Step(0.1, epochs=1.5), DTypeError, r"Step\(epochs\)"),  # type: ignore[arg-type]
    (lambda: Step(0.1, -1, steps=1), ArgumentError, r"Step\(factor\)"),
    (lambda: Exponential(0.1, 0.0, steps=1), ArgumentError, r"Exponential\(factor\).*above 0"),
    (lambda: Cosine(math.nan, steps=10), ArgumentError, r"Cosine\(initial\)"),
    (lambda: Cosine(0.1, steps=10, final=-1.0), ArgumentError, r"Cosine\(final\)"),
    (lambda: Cosine(0.1), ArgumentError,
     r"Cosine: expected steps= or epochs=, got neither; write Cosine\(..., steps=1000\) or Cosine\(..., epochs=10\)"),
    (lambda: Cosine(0.1, steps=7, epochs=3), ArgumentError,
     r"Cosine: expected steps= or epochs=, got both; write Cosine\(..., steps=7\) or Cosine\(..., epochs=3\)"),
    (lambda: Warmup(0.1, steps=0), ArgumentError, r"Warmup\(steps\)"),
    (lambda: Warmup(-0.1, steps=5), ArgumentError, r"Warmup\(schedule\)"),
    (lambda: Warmup(Cosine, steps=5), DTypeError, r"Warmup\(schedule\).*Cosine\(\.\.\.\)"),  # type: ignore[arg-type]
    (lambda: OneCycle(0.1, steps=10, rise=1.0), ArgumentError, r"OneCycle\(rise\).*below 1"),
    (lambda: OneCycle(0.1, steps=10, start_divisor=0.0), ArgumentError, r"OneCycle\(start_divisor\)"),
    (lambda: OneCycle(0.1, steps=10, end_divisor=-1.0), ArgumentError, r"OneCycle\(end_divisor\)"),
    (lambda: Cosine(0.1, epochs=2).in_steps(0), ArgumentError, r"Cosine.in_steps\(steps_per_epoch\)"),
])
def test_wrong_arguments_are_named(make: Callable[[], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()


# Epochs.


def test_in_steps_multiplies_the_epochs_and_keeps_the_rest() -> None:
    assert Cosine(0.1, epochs=2, final=0.01).in_steps(50) == Cosine(0.1, steps=100, final=0.01)
    assert Cosine(0.1, steps=9).in_steps(50) == Cosine(0.1, steps=9)
    assert Constant(0.1).in_steps(50) == Constant(0.1)
    assert Warmup(Step(0.1, epochs=3), epochs=1).in_steps(10) == Warmup(Step(0.1, steps=30), steps=10)
    assert Warmup(Step(0.1, epochs=3), steps=5).in_steps(10) == Warmup(Step(0.1, steps=30), steps=5)
    assert Warmup(0.1, epochs=1).in_steps(10) == Warmup(0.1, steps=10)
    kept = Warmup(Step(0.1, epochs=3), epochs=1)
    kept.in_steps(10)
    assert repr(kept) == "Warmup(Step(0.1, epochs=3), epochs=1)"


@pytest.mark.parametrize("schedule", [
    Cosine(0.1, epochs=3), Warmup(0.1, epochs=3), Warmup(Cosine(0.1, epochs=3), steps=4),
], ids=repr)
def test_a_schedule_in_epochs_asks_for_the_steps_of_an_epoch(schedule: Schedule) -> None:
    parameter = Parameter(0.0)
    optimizer = SGD([parameter], schedule)
    parameter.grad += 1.0
    for call in (lambda: schedule(0), optimizer.current_rate, optimizer.step):
        with refused(CallOrderError, "epochs=3", "with a Trainer, or give steps=", ".in_steps(steps_per_epoch)"):
            call()
    assert parameter.value == 0.0
    assert optimizer.steps == 0


X = np.random.default_rng(0).normal(size=(40, 2))
Y = np.sin(X[:, :1])


class Recorded(Schedule):
    """Note each rate that is asked for, by the number of the step."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule, self.rates = schedule, dict[int, float]()

    @override
    def at(self, step: int, epochs: Epochs | None) -> float:
        return self.rates.setdefault(step, self.schedule(step, epochs))


def trainer(schedule: Callable[[int], float], engine: EngineName = "numpy") -> Trainer:
    model = mlp([2, 4, 1], rng=1)
    return Trainer(model, HalfSquaredError(), SGD(model.parameters(), schedule), rng=0, engine=engine)


def times(*fits: tuple[int, int]) -> Iterator[tuple[int, Fraction, int]]:
    """Yield for each step of fits of (epochs, steps of an epoch) its number, its time in epochs, and those steps."""
    step = first = 0
    for epochs, steps in fits:
        for epoch in range(first, first + epochs):
            for j in range(steps):
                yield step, epoch + Fraction(j, steps), steps
                step += 1
        first += epochs


IN_EPOCHS: dict[str, tuple[Schedule, Callable[[int, Fraction, int], float]]] = {
    "Step": (Step(0.1, 0.5, epochs=2), lambda n, time, s: 0.1 * 0.5 ** (time // 2)),
    "Exponential": (Exponential(0.1, 0.5, epochs=2), lambda n, time, s: 0.1 * 0.5 ** float(time / 2)),
    "Cosine": (Cosine(0.1, epochs=4), lambda n, time, s: 0.05 * (1 + math.cos(math.pi * min(float(time / 4), 1)))),
    "OneCycle": (OneCycle(0.1, epochs=8, rise=0.5), lambda n, time, s:
                 0.004 + 0.096 * 0.5 * (1 - math.cos(math.pi * time / 4)) if time <= 4 else
                 4e-7 + (0.1 - 4e-7) * 0.5 * (1 + math.cos(math.pi * min(float(time / 4 - 1), 1)))),
    "warm-up in epochs": (Warmup(Exponential(0.1, 0.5, epochs=3), epochs=2), lambda n, time, s:
                          0.1 * (time * s + 1) / (2 * s + 1) if time < 2 else 0.1 * 0.5 ** float((time - 2) / 3)),
    "warm-up in steps": (Warmup(Exponential(0.1, 0.5, epochs=3), steps=7), lambda n, time, s:
                         0.1 * (n + 1) / 8 if n < 7 else 0.1 * 0.5 ** (max(float(time - Fraction(7, s)), 0) / 3)),
    "schedule in steps": (Warmup(Exponential(0.1, 0.5, steps=11), epochs=2), lambda n, time, s:
                          0.1 * (time * s + 1) / (2 * s + 1) if time < 2 else 0.1 * 0.5 ** (max(n - 2 * s, 0) / 11)),
    "function in steps": (Warmup(lambda n: 0.1 / (1 + n), epochs=2), lambda n, time, s:
                          0.1 * (time * s + 1) / (2 * s + 1) if time < 2 else 0.1 / (1 + max(n - 2 * s, 0))),
}  # fmt: skip


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
@pytest.mark.parametrize("case", IN_EPOCHS)
def test_a_trainer_gives_the_rates_of_the_equation(case: str, engine: EngineName) -> None:
    """Four fits with batches of different sizes; the last batch of an epoch has another size as well."""
    schedule, equation = IN_EPOCHS[case]
    recorded = Recorded(schedule)
    run = trainer(recorded, engine)
    for epochs, batch_size in ((1, 16), (1, 3), (2, 16), (1, 3)):
        run.fit(X, Y, epochs=epochs, batch_size=batch_size)
    expected = {n: float(equation(n, time, s)) for n, time, s in times((1, 3), (1, 13), (2, 3), (1, 13))}
    assert recorded.rates == pytest.approx(expected, rel=1e-13)
    assert run.history.learning_rate == [recorded.rates[n] for n in (2, 15, 18, 21, 34)]


def test_both_engines_train_alike_with_a_schedule_in_epochs() -> None:
    runs = [trainer(Warmup(Cosine(0.1, epochs=3), steps=5), engine) for engine in ("numpy", "compiled")]
    for run in runs:
        run.fit(X, Y, epochs=4, batch_size=6)
    np.testing.assert_allclose(runs[1].model.predict(X), runs[0].model.predict(X), rtol=1e-12)
    assert runs[1].history.learning_rate == runs[0].history.learning_rate


def test_a_schedule_in_epochs_gives_the_bits_of_the_one_in_steps() -> None:
    schedule = Warmup(Cosine(0.1, epochs=3), epochs=1)
    runs = [trainer(schedule), trainer(schedule.in_steps(7))]
    for run in runs:
        run.fit(X, Y, epochs=5, batch_size=6)
    assert bits(runs[0]) == bits(runs[1])


def test_steps_before_the_first_fit_are_no_epochs() -> None:
    recorded = Recorded(Cosine(0.1, epochs=2))
    run = trainer(recorded)
    run.optimizer.steps = 100
    run.fit(X, Y, epochs=1, batch_size=20)
    assert run.optimizer.epochs is None
    assert recorded.rates == {100: 0.1, 101: Cosine(0.1, steps=4)(1)}


def test_a_callback_may_ask_for_the_rate_before_the_first_step() -> None:
    class Asks(Callback):
        @override
        def on_train_begin(self, trainer: Trainer) -> None:
            found.append(trainer.optimizer.current_rate())

    found: list[float] = []
    run = trainer(Cosine(0.1, epochs=2))
    run.fit(X, Y, epochs=1, callbacks=[Asks()])
    run.fit(X, Y, epochs=1, callbacks=[Asks()])
    assert found == [0.1, Cosine(0.1, steps=2)(1)]


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_a_run_saved_in_an_epoch_goes_on_with_the_same_bits(tmp_path: Path, engine: EngineName) -> None:
    def made() -> Trainer:
        run = trainer(Warmup(Cosine(0.1, epochs=5), steps=8), engine)
        run.fit(X, Y, epochs=1, batch_size=9)
        return run

    def fit(run: Trainer) -> None:
        run.fit(X, Y, epochs=4, batch_size=3, callbacks=[Checkpoint(tmp_path, every_batches=5, keep_last=20)])

    whole = made()
    fit(whole)
    paths = sorted(path for path in tmp_path.iterdir() if "epoch" in path.name)
    inside = 0
    for path in paths:
        again = made()
        again.restore(path)
        assert again.optimizer.epochs is None
        inside += again._run.position.batch > 0
        again.resume(X, Y, callbacks=[Checkpoint(tmp_path / "again")])
        assert bits(again) == bits(whole)
    assert inside > 3


def test_the_epochs_of_an_optimizer_are_in_no_file() -> None:
    run = trainer(Cosine(0.1, epochs=2))
    before = run.optimizer.numbers().keys(), run.optimizer.settings().keys()
    run.fit(X, Y, epochs=1)
    run.optimizer.epochs = Epochs(0, 0, 2)
    assert (run.optimizer.numbers().keys(), run.optimizer.settings().keys()) == before
    assert pickle.loads(pickle.dumps(run.optimizer)).epochs == Epochs(0, 0, 2)


Stream: TypeAlias = Callable[[], Iterator[tuple[Array, Array]]]

BATCHES = [(X[a : a + 8], Y[a : a + 8]) for a in range(0, 40, 8)]


def test_a_stream_with_a_length_has_epochs() -> None:
    recorded = Recorded(Cosine(0.1, epochs=3))
    run = trainer(recorded)
    run.fit_batches(BATCHES, epochs=3)
    assert recorded.rates == {n: Cosine(0.1, steps=15)(n) for n in range(15)}
    in_epochs, in_steps = trainer(Cosine(0.1, epochs=3)), trainer(Cosine(0.1, steps=15))
    in_epochs.fit_batches(BATCHES, epochs=3)
    in_steps.fit_batches(BATCHES, epochs=3)
    assert in_epochs.history.learning_rate == in_steps.history.learning_rate
    assert in_epochs.model.predict(X).tobytes() == in_steps.model.predict(X).tobytes()


class Unsized:
    """A stream of which nobody knows the length."""

    def __init__(self, length: int | None) -> None:
        self.length = length

    def __len__(self) -> int:
        if self.length is None:
            raise NotImplementedError
        return self.length

    def __call__(self) -> Iterator[tuple[Array, Array]]:
        return iter(BATCHES)


@pytest.mark.parametrize("stream", [lambda: iter(BATCHES), Unsized(None), Unsized(0)], ids=["function", "none", "zero"])
@pytest.mark.parametrize("schedule", [Cosine(0.1, epochs=3), Warmup(Cosine(0.1, epochs=3), steps=99)], ids=repr)
def test_a_stream_without_a_length_has_no_epochs(schedule: Schedule, stream: Stream) -> None:
    run = trainer(Constant(0.1))
    run.fit_batches(stream, epochs=1)
    before = repr((bits(run), kept(run)))
    run.optimizer.learning_rate = schedule
    words = "fit_batches(stream): expected a stream with a length", repr(schedule), "give a list of", ".in_steps("
    with refused(ArgumentError, *words):
        run.fit_batches(stream, epochs=2)
    with refused(ArgumentError, *words):
        run.resume_batches(stream)
    assert repr((bits(run), kept(run))) == before
    run.optimizer.learning_rate = schedule.in_steps(5)
    run.fit_batches(stream, epochs=1)
    assert len(run.history) == 2


class Growing:
    """A stream that has one batch more in each epoch."""

    def __init__(self) -> None:
        self.count = 2

    def __len__(self) -> int:
        return self.count

    def __call__(self) -> Iterator[tuple[Array, Array]]:
        yield from BATCHES[: self.count]
        self.count += 1


def test_epochs_of_a_stream_may_differ_in_length() -> None:
    recorded = Recorded(Exponential(0.1, 0.5, epochs=1))
    run = trainer(recorded)
    run.fit_batches(Growing(), epochs=3)
    expected = [0.1 * 0.5**time for time in (0, 1 / 2, 1, 4 / 3, 5 / 3, 2, 9 / 4, 10 / 4, 11 / 4)]
    assert list(recorded.rates.values()) == pytest.approx(expected, rel=1e-14)
