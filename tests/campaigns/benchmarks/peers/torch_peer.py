"""PyTorch on the CPU, as its tutorials write it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, TypeVar, cast

import torch
from torch import nn
from typing_extensions import override

from tests.campaigns.benchmarks.networks import Array, Network
from tests.campaigns.benchmarks.peers.peer import Peer, PredictionCall, Training, by_steps

if "OMP_NUM_THREADS" in os.environ:  # A package imported before may have set another number.
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


class PyTorch(Peer):
    """nn.Sequential, a loss module, torch.optim."""

    name = "PyTorch"
    package = "torch"
    apart = True
    note = (
        "`nn.Sequential`, `torch.optim`, `loss.item()` in every update; prediction in `torch.inference_mode()`; "
        "on one thread or all, steps of the optimizer for each parameter, for all at once, or fused."
    )

    @override
    def about(self) -> str:
        return f"PyTorch {torch.__version__} ({torch.get_num_threads()} threads)"

    @override
    def trainings(self, network: Network) -> Iterator[tuple[str, Training]]:
        for (step, how), threads in product(STEPS.items(), THREADS):
            yield f"{step}, {threads} threads", _on(threads, _training(network, how))

    @override
    def predictions(self, network: Network, x: Array) -> Iterator[tuple[str, PredictionCall]]:
        model, rows = _model(network).eval(), torch.from_numpy(x)

        def predict() -> torch.Tensor:
            with torch.inference_mode():
                return model(rows)

        for threads in THREADS:
            yield f"{threads} threads", _on(threads, predict)


THREADS = sorted({1, torch.get_num_threads()})
STEPS: dict[str, dict[str, bool]] = {
    "a step for each parameter": {"foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
}

Work = TypeVar("Work", bound=Callable[..., Any])


def _on(threads: int, work: Work) -> Work:
    """Let PyTorch, which has one number of threads in a process, do some work on so many."""

    def run(*arguments: Any) -> Any:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        return work(*arguments)

    return cast("Work", run)


def _training(network: Network, how: dict[str, bool]) -> Training:
    model = _model(network)
    if network.loss == "cross-entropy":
        model.append(nn.Softmax(dim=1))
    # The modules for squares and sigmoids are means over all numbers, while the sum over the outputs of a row is
    # meant. The factor goes into the learning rate, where it costs nothing.
    outputs = network.sizes[-1]
    factor = {"half squared error": 0.5 * outputs, "sigmoid cross-entropy": outputs}.get(network.loss, 1.0)
    loss = LOSSES[network.loss]
    rate = network.learning_rate * factor
    momentum = 0.9 if network.optimizer == "momentum" else 0.0
    optimizer: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum, **how)
    if network.optimizer == "Adam":
        optimizer = torch.optim.Adam(model.parameters(), lr=rate, **how)

    def step(x: torch.Tensor, y: torch.Tensor) -> float:
        optimizer.zero_grad()
        error = loss(model(x), y)
        error.backward()
        optimizer.step()
        return float(error.item()) * factor

    return by_steps(step, [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in network.data_in_batches()])


def _cross_entropy(p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Return −Σ t log p of each row, the mean over the rows."""
    return -(t * torch.log(p)).sum(dim=1).mean()


LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "half squared error": nn.MSELoss(),
    "softmax cross-entropy": nn.CrossEntropyLoss(),
    "cross-entropy": _cross_entropy,
    "sigmoid cross-entropy": nn.BCEWithLogitsLoss(),
}
NORMS: dict[str, type[nn.Module]] = {"LayerNorm": nn.LayerNorm, "BatchNorm": nn.BatchNorm1d}


def _model(network: Network) -> nn.Sequential:
    layers: list[nn.Module] = []
    *hidden, last = [_dense(weight, bias) for weight, bias in network.initial_values()]
    for dense in hidden:
        layers.append(dense)
        if network.between in NORMS:
            layers.append(NORMS[network.between](dense.out_features))
        layers.append(nn.Sigmoid() if network.activation == "sigmoid" else nn.ReLU())
        if network.between == "dropout":
            layers.append(nn.Dropout(0.1))
    return nn.Sequential(*layers, last)


def _dense(weight: Array, bias: Array) -> nn.Linear:
    dense = nn.Linear(weight.shape[1], weight.shape[0])
    dense.weight = nn.Parameter(torch.from_numpy(weight))
    dense.bias = nn.Parameter(torch.from_numpy(bias))
    return dense


PEERS: tuple[Peer, ...] = (PyTorch(),)
