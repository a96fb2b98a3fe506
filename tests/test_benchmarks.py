"""The benchmarks run, their peers compute the same, and a peer that does not is found. No time is asserted."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from typing_extensions import override

from tests.campaigns.benchmarks import table
from tests.campaigns.benchmarks.__main__ import main
from tests.campaigns.benchmarks.agreement import DisagreementError
from tests.campaigns.benchmarks.networks import ONLINE, SMALL, TINY, VARIATIONS, WIDE, Array, Network
from tests.campaigns.benchmarks.peers import PEERS, installed
from tests.campaigns.benchmarks.peers.minidl_peer import Fit, InNumPy
from tests.campaigns.benchmarks.peers.numpy_peer import NumPyLoop
from tests.campaigns.benchmarks.peers.peer import ManyTraining, Peer, PredictionCall, Training
from tests.campaigns.benchmarks.programs.peak_memory import peak
from tests.campaigns.benchmarks.timing import Task, alternate
from tests.campaigns.benchmarks.works import ManyModels, Prediction, Update

WIDE_IN_SMALL = Network("5-6-4", (5, 6, 4), 3, 4, np.float32, "relu", "half squared error", 0.1)
RATIO = r"\d+(\.\d+)? \(\d+(\.\d+)?–\d+(\.\d+)?\)"


def test_the_command_prints_a_table_with_a_line_for_each_work(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--quick", "--rounds", "1", "--peers", "--only", "update 8-16", "predict 1-20", "import"])
    printed = capsys.readouterr().out
    lines = [line.strip("| ").split(" | ") for line in printed.splitlines() if line.startswith("| ")]
    assert lines[0] == ["work", "minidl", "minidl in NumPy", "NumPy"]
    assert [name for name, *_ in lines[1:]] == [
        "update 8-16-16-3",
        "predict 1-20-20-1, 1 row",
        "predict 1-20-20-1, 4096 rows",
        "import",
    ]
    for name, own, by_hand, numpy in lines[1:]:
        assert re.fullmatch(r"\d+(\.\d+)? (s|ms|µs|ns)", own)
        assert re.fullmatch(RATIO, by_hand) if name != "import" else by_hand == table.NOT_TIMED
        assert re.fullmatch(RATIO, numpy)
    assert f"NumPy {np.__version__}" in printed
    assert re.search(r"import: minidl takes -?\d+ ms", printed)
    assert re.search(rf"update 8-16-16-3: minidl in NumPy takes {RATIO} of the time of the NumPy", printed)


def test_a_work_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SystemExit, match="update 64-128-10"):
        main(["--only", "convolution"])


def test_processes_and_memory_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--quick", "--rounds", "1", "--peers", "--only", "process, sine by Lev", "memory, fit of 784"])
    printed = capsys.readouterr().out
    assert re.search(rf"\| process, sine by Levenberg–Marquardt to 1e-6 \| .* m?s \| – \| {RATIO} \|", printed)
    assert re.search(rf"\| memory, fit of 784-256-128-10 \| \d+ MB \| – \| {RATIO} \|", printed)


def test_the_peak_of_a_process_is_its_own() -> None:
    assert 10e6 < peak() < 100e9


def test_the_share_of_the_blas_peak_is_that_of_the_multiplications() -> None:
    second = 2.0 * WIDE.multiplications / 1e9
    times = {"minidl": [second], "BLAS": [2.0 * 1024**3 / 2e9]}
    remark = Update(WIDE).remark(times)
    assert remark == "np.dot of 1024 × 1024 float32 makes 2 GFLOP/s, minidl 0.50 (0.50–0.50) of it"


@pytest.mark.parametrize("network", VARIATIONS, ids=lambda network: network.name)
def test_every_variation_is_trained_alike_by_the_trainer_and_by_hand(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minidl._training.compiled_engine.UPDATES", 1e12)  # Compiled code has tests of its own.
    assert [task.name for task in Update(network).tasks(installed([]))] == ["minidl", "minidl in NumPy"]


@pytest.mark.parametrize("network", [ONLINE, SMALL, WIDE_IN_SMALL], ids=lambda network: network.name)
def test_minidl_the_trainer_and_the_numpy_loop_compute_the_same(network: Network) -> None:
    peers = installed([])
    assert [task.name for task in Update(network).tasks(peers)] == ["minidl", "minidl in NumPy", "NumPy"]
    for rows in (1, 7) if network is ONLINE else (7,):
        assert [task.name for task in Prediction(network, rows).tasks(peers)] == ["minidl", "minidl in NumPy", "NumPy"]


class Altered(Peer):
    """minidl under another name, on a network that is changed in some way."""

    name = "altered"

    def __init__(self, alter: Callable[[Network], Network]) -> None:
        self._alter = alter

    @override
    def trainings(self, network: Network) -> Iterator[tuple[str, Training]]:
        return InNumPy().trainings(self._alter(network))

    @override
    def predictions(self, network: Network, x: Array) -> Iterator[tuple[str, PredictionCall]]:
        return Fit().predictions(self._alter(network), x)


def test_a_peer_with_another_learning_rate_is_found() -> None:
    other = Altered(lambda network: replace(network, learning_rate=network.learning_rate * 1.01))
    with pytest.raises(DisagreementError, match="update 64-128-10: altered and minidl in NumPy are"):
        Update(SMALL).tasks([InNumPy(), other])


def test_a_peer_with_another_activation_is_found() -> None:
    other = Altered(lambda network: replace(network, activation="sigmoid"))
    with pytest.raises(DisagreementError, match="predict 64-128-10, 2 rows: altered and minidl are"):
        Prediction(SMALL, 2).tasks([Fit(), other])


def test_peers_that_agree_because_nothing_learns_are_found() -> None:
    still = Altered(lambda network: replace(network, learning_rate=1e-12))
    with pytest.raises(DisagreementError, match="altered does not learn"):
        Update(SMALL).tasks([still])


def test_what_a_peer_cannot_do_is_left_out() -> None:
    class Idle(Peer):
        name = "idle"

    assert [task.name for task in Update(ONLINE).tasks([InNumPy(), Idle()])] == ["minidl in NumPy"]


def test_a_peer_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PEERS, "a_package_that_nobody_has", "nothing")
    assert [peer.name for peer in installed(["a_package_that_nobody_has"])] == ["minidl", "minidl in NumPy", "NumPy"]


class Remote(InNumPy):
    """minidl in a process of its own."""

    name = "remote"
    apart = True

    @override
    def predictions(self, network: Network, x: Array) -> Iterator[tuple[str, PredictionCall]]:
        return super().predictions(network, x) if network.name == SMALL.name else iter(())


def test_a_peer_in_a_process_of_its_own_is_compared_and_times_itself() -> None:
    for work in (Prediction(SMALL, 2), Update(SMALL)):
        _, remote = work.tasks([InNumPy(), Remote()])
        assert 0.0 < remote.seconds(3) < 60.0
    other = Altered(lambda network: replace(network, activation="sigmoid"))
    with pytest.raises(DisagreementError, match="altered and remote are"):
        Prediction(SMALL, 2).tasks([Remote(), other])
    assert [task.name for task in Prediction(ONLINE, 2).tasks([InNumPy(), Remote()])] == ["minidl in NumPy"]


class TwoForms(InNumPy):
    """minidl in two forms: one that waits before each training, and one that may do something else."""

    def __init__(self, other: Callable[[Network], Network] = lambda network: network) -> None:
        self._other = other

    @override
    def trainings(self, network: Network) -> Iterator[tuple[str, Training]]:
        (_, train), = super().trainings(network)

        def slow(epochs: int) -> list[float]:
            time.sleep(0.2)
            return train(epochs)

        yield "slow", slow
        (_, other), = super().trainings(self._other(network))
        yield "fast", other


def test_the_fastest_form_of_a_peer_is_timed() -> None:
    by_hand, = Update(TINY).tasks([TwoForms()])
    assert by_hand.form == "fast"
    assert by_hand.seconds(1) < 0.2


def test_a_form_that_computes_something_else_is_found() -> None:
    other = TwoForms(lambda network: replace(network, learning_rate=network.learning_rate * 1.01))
    with pytest.raises(DisagreementError, match="minidl in NumPy, fast and minidl in NumPy, slow are"):
        Update(TINY).tasks([other])


def test_many_models_are_timed_in_threads_and_processes(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--quick", "--rounds", "1", "--peers", "--only", "models"])
    printed = capsys.readouterr().out
    assert re.search(rf"\| update 3 models 1-20-20-1 \| .* (µs|ms) \| – \| {RATIO} \|", printed)
    assert re.search(rf"of minidl's time on all cores: one thread {RATIO}, processes {RATIO}", printed)
    assert "models 1-20-20-1: minidl threads; NumPy one after the other." in printed


class OtherModels(InNumPy):
    """The NumPy loop over many models, at another learning rate."""

    @override
    def many_trainings(self, network: Network, models: int) -> Iterator[tuple[str, ManyTraining]]:
        return NumPyLoop().many_trainings(replace(network, learning_rate=network.learning_rate * 1.01), models)


def test_many_models_that_are_trained_otherwise_are_found() -> None:
    with pytest.raises(DisagreementError, match="minidl in NumPy, one after the other and NumPy, one after"):
        ManyModels(ONLINE, 2, 1).tasks([NumPyLoop(), OtherModels()])


@pytest.fixture(autouse=True)
def _in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fit, "apart", False)


def test_turns_alternate_and_times_are_per_unit() -> None:
    log: list[tuple[str, int]] = []

    def pretending(name: str, each: float) -> Callable[[int], float]:
        def seconds(times: int) -> float:
            log.append((name, times))
            return each * times

        return seconds

    tasks = [Task("a", pretending("a", 0.25), units=2), Task("b", pretending("b", 1.0), warm_up=0)]
    assert alternate(tasks, rounds=3, turn=1.0) == {"a": [0.125] * 3, "b": [1.0] * 3}
    a, b = [("a", 1), ("a", 4)], [("b", 1)]
    assert log[-9:] == [*a, *b, *b, *a, *a, *b]


def test_a_row_gives_the_time_and_the_ratios_with_their_quartiles() -> None:
    times = {"minidl": [1e-6, 2e-6, 4e-6], "other": [2e-6, 8e-6, 12e-6]}
    assert table.row("work", times, ["minidl", "absent", "other"]) == "| work | 2.00 µs | – | 3.00 (2.50–3.50) |"
