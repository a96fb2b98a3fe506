"""PyTorch on the CPU, as its tutorials write it."""

from __future__ import annotations

import torch
from torch import nn
from typing_extensions import override

from ..networks import Array, Network
from .peer import Peer, PredictionCall, Training, by_steps


class PyTorch(Peer):
    """nn.Sequential, a loss module, torch.optim.SGD."""

    name = "PyTorch"
    package = "torch"
    note = "`nn.Sequential`, `torch.optim.SGD`, `loss.item()` in every update; prediction in `torch.inference_mode()`."

    @override
    def about(self) -> str:
        return f"PyTorch {torch.__version__} ({torch.get_num_threads()} threads)"

    @override
    def training(self, network: Network) -> Training:
        model = _model(network)
        # nn.MSELoss is the mean over all numbers; half the squared error of a row is so many times as much. The factor
        # goes into the learning rate, where it costs nothing.
        squared = network.loss == "half squared error"
        factor = 0.5 * network.sizes[-1] if squared else 1.0
        loss = nn.MSELoss() if squared else nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=network.learning_rate * factor)

        def step(x: torch.Tensor, y: torch.Tensor) -> float:
            optimizer.zero_grad()
            error = loss(model(x), y)
            error.backward()
            optimizer.step()
            return float(error.item()) * factor

        return by_steps(step, [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in network.data_in_batches()])

    @override
    def prediction(self, network: Network, x: Array) -> PredictionCall:
        model, rows = _model(network).eval(), torch.from_numpy(x)

        def predict() -> torch.Tensor:
            with torch.inference_mode():
                return model(rows)

        return predict


def _model(network: Network) -> nn.Sequential:
    layers: list[nn.Module] = []
    for weight, bias in network.initial_values():
        dense = nn.Linear(weight.shape[1], weight.shape[0])
        dense.weight = nn.Parameter(torch.from_numpy(weight))
        dense.bias = nn.Parameter(torch.from_numpy(bias))
        layers += [dense, nn.Sigmoid() if network.activation == "sigmoid" else nn.ReLU()]
    return nn.Sequential(*layers[:-1])


PEER = PyTorch()
