"""Parameter groups: a learning rate and a weight decay of their own."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from minidl import SGD, Adagrad, Adam, AdamW, HalfSquaredError, NAdam, Parameter, RMSProp, Tanh, Trainer, mlp
from minidl._training.compiled_engine import EngineName
from minidl.callbacks import Callback
from minidl.errors import ArgumentError, DTypeError
from minidl.optimizers import Optimizer
from minidl.schedules import Cosine
from tests.support.refusal import refused

RNG = np.random.default_rng(0)
START = [RNG.normal(size=(3, 2)), RNG.normal(size=2), RNG.normal(size=(2, 4))]
GRADIENTS = [[RNG.normal(size=value.shape) for value in START] for _ in range(5)]
X = RNG.normal(size=(40, 2))
Y = np.sin(X[:, :1])

Make = Callable[..., Optimizer]
MAKERS: dict[str, tuple[Make, str, dict[str, Any]]] = {
    "SGD": (lambda p, **k: SGD(p, 0.1, **k), "SGD", {}),
    "SGD with momentum": (lambda p, **k: SGD(p, 0.1, momentum=0.9, **k), "SGD", {"momentum": 0.9}),
    "Adam": (lambda p, **k: Adam(p, 0.1, **k), "Adam", {}),
    "AdamW": (lambda p, **k: AdamW(p, 0.1, **k), "AdamW", {}),
    "NAdam": (lambda p, **k: NAdam(p, 0.1, **k), "NAdam", {}),
    "RMSProp": (lambda p, **k: RMSProp(p, 0.1, **k), "RMSprop", {}),
    "Adagrad": (lambda p, **k: Adagrad(p, 0.1, **k), "Adagrad", {}),
}


def parameters() -> list[Parameter]:
    return [Parameter(value) for value in START]


def stepped(optimizer: Optimizer) -> list[Any]:
    for gradients in GRADIENTS:
        for parameter, gradient in zip(optimizer.vector.parameters, gradients, strict=True):
            parameter.grad += gradient
        optimizer.step()
    return [parameter.value for parameter in optimizer.vector.parameters]


@pytest.mark.parametrize("name", MAKERS)
def test_groups_step_like_an_optimizer_for_each_group(name: str) -> None:
    make = MAKERS[name][0]
    own = parameters()
    found = stepped(make(own, weight_decay=0.1).set_group(own[1:], rate_factor=0.3, weight_decay=0.2))
    for place, rate, decay in ((0, 0.1, 0.1), (1, 0.03, 0.2), (2, 0.03, 0.2)):
        alone = [Parameter(START[place])]
        optimizer = make(alone, weight_decay=decay, decayed=alone)
        optimizer.learning_rate = rate
        for gradients in GRADIENTS:
            alone[0].grad += gradients[place]
            optimizer.step()
        assert np.allclose(found[place], alone[0].value, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", MAKERS)
def test_groups_agree_with_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    make, theirs, options = MAKERS[name]
    tensors = [torch.tensor(value, requires_grad=True) for value in START]
    groups = [{"params": tensors[:1]}, {"params": tensors[1:], "lr": 0.03, "weight_decay": 0.2}]
    optimizer = getattr(torch.optim, theirs)(groups, lr=0.1, weight_decay=0.1, **options)
    for gradients in GRADIENTS:
        for tensor, gradient in zip(tensors, gradients, strict=True):
            tensor.grad = torch.tensor(gradient)
        optimizer.step()
    own = parameters()
    found = stepped(make(own, weight_decay=0.1).set_group(own[1:], rate_factor=0.3, weight_decay=0.2))
    tolerance = 1e-6 if name == "NAdam" else 1e-12  # PyTorch keeps the product of its momenta in float32.
    for value, tensor in zip(found, tensors, strict=True):
        assert np.allclose(value, tensor.detach().numpy(), rtol=tolerance, atol=1e-14)


def test_what_is_in_no_group_keeps_its_bits() -> None:
    one, other = parameters(), parameters()
    found, wanted = stepped(Adam(one, 0.1).set_group(one[:1], rate_factor=7.0)), stepped(Adam(other, 0.1))
    assert (found[0] != wanted[0]).all()
    assert (found[1] == wanted[1]).all()
    assert (found[2] == wanted[2]).all()


def test_a_factor_acts_on_a_schedule_and_on_a_rate_that_is_set_later() -> None:
    one, other = parameters(), parameters()
    grouped = SGD(one, Cosine(0.2, steps=10)).set_group(one, rate_factor=0.5)
    stepped(grouped)
    found, wanted = one, stepped(SGD(other, Cosine(0.1, steps=10)))
    assert all(np.allclose(a.value, b, rtol=1e-13) for a, b in zip(found, wanted, strict=True))
    grouped.learning_rate = 1.0
    before = [parameter.value.copy() for parameter in one]
    for parameter in one:
        parameter.grad += 1.0
    grouped.step()
    assert all(np.allclose(p.value, b - 0.5, rtol=1e-13) for p, b in zip(one, before, strict=True))


def test_a_group_decays_whatever_else_decays() -> None:
    own = parameters()
    optimizer = SGD(own, 1.0).set_group([own[1]], weight_decay=0.5)
    own[0].grad += 0.0
    optimizer.step()
    assert [np.allclose(p.value, v * f) for p, v, f in zip(own, START, (1, 0.5, 1), strict=True)] == [True] * 3
    optimizer.set_group([own[1]], weight_decay=0)
    optimizer.weight_decay = 0.5
    own[0].grad += 0.0
    optimizer.step()
    assert [np.allclose(p.value, v * 0.5) for p, v in zip(own, START, strict=True)] == [True] * 3


def test_a_frozen_parameter_of_a_group_stays() -> None:
    own = parameters()
    optimizer = Adam(own, 0.1).set_group(own, rate_factor=0.5)
    own[1].freeze()
    for gradients in GRADIENTS:
        own[0].grad += gradients[0]
        optimizer.step()
    assert (own[1].value == START[1]).all()
    assert (own[0].value != START[0]).all()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda optimizer: pickle.loads(pickle.dumps(optimizer))])
def test_a_copy_has_the_groups(copied: Any) -> None:
    own = parameters()
    optimizer = AdamW(own, 0.1).set_group(own[:1], rate_factor=0.5, weight_decay=0.3)
    twin = copied(optimizer)
    assert all((a == b).all() for a, b in zip(stepped(twin), stepped(optimizer), strict=True))
    twin.weight_decay = 0.0  # which looks up the parameters again
    optimizer.weight_decay = 0.0
    assert all((a == b).all() for a, b in zip(stepped(twin), stepped(optimizer), strict=True))


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"rate_factor": 0}, ArgumentError, "SGD.set_group(rate_factor): expected a finite number and above 0, got 0"),
        ({"rate_factor": "x"}, DTypeError, "SGD.set_group(rate_factor): expected a number"),
        ({"rate_factor": 0.5, "weight_decay": -1}, ArgumentError, "SGD.set_group(weight_decay): expected a finite"),
        ({"parameters": [Parameter(1.0)]}, ArgumentError, "SGD.set_group(parameters): expected parameters of this"),
        ({"parameters": []}, ArgumentError, "SGD.set_group(parameters)"),
    ],
)
def test_a_wrong_group_is_refused_and_changes_nothing(given: Any, error: Any, words: str) -> None:
    own, other = parameters(), parameters()
    optimizer = SGD(own, 0.1)
    with refused(error, words):
        optimizer.set_group(**{"parameters": own} | given)
    assert all((a == b).all() for a, b in zip(stepped(optimizer), stepped(SGD(other, 0.1)), strict=True))


class StopAt(Callback):
    def __init__(self, path: Path) -> None:
        self.path = path

    @override
    def on_epoch_end(self, trainer: Trainer) -> None:
        if len(trainer.history) == 2:
            trainer.save(self.path)
            trainer.stop("enough")


def trainer(factor: float = 0.2, decay: float = 0.1, engine: Any = "numpy") -> Trainer:
    model = mlp([2, 6, 1], activation=Tanh, rng=0)
    optimizer = AdamW(model.parameters(), 0.05).set_group(model[0].parameters(), rate_factor=factor, weight_decay=decay)
    return Trainer(model, HalfSquaredError(), optimizer, rng=0, engine=engine)


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_a_restored_run_goes_on_with_its_groups(tmp_path: Path, engine: Any) -> None:
    if engine == "compiled":
        pytest.importorskip("numba")
    whole, stopped, restored = (trainer(engine=engine) for _ in range(3))
    whole.fit(X, Y, epochs=5, batch_size=8)
    stopped.fit(X, Y, epochs=5, batch_size=8, callbacks=[StopAt(tmp_path / "run.safetensors")])
    restored.restore(tmp_path / "run.safetensors")
    restored.resume(X, Y, callbacks=[StopAt(tmp_path)])
    assert (restored.optimizer.vector.values == whole.optimizer.vector.values).all()
    for other in trainer(factor=0.3), trainer(decay=0.2):
        with refused(ArgumentError, "restore: expected the settings"):
            other.restore(tmp_path / "run.safetensors")


class SetInTheMiddle(Callback):
    @override
    def on_epoch_end(self, trainer: Trainer) -> None:
        if len(trainer.history) == 1:
            trainer.optimizer.set_group(trainer.model.parameters()[:2], rate_factor=0.1)
        if len(trainer.history) == 3:
            trainer.optimizer.set_group(trainer.model.parameters()[:2], rate_factor=3.0)


def test_both_engines_take_a_group_that_a_callback_sets() -> None:
    pytest.importorskip("numba")
    found = []
    engines: list[EngineName] = ["numpy", "compiled"]
    for engine in engines:
        model = mlp([2, 6, 1], activation=Tanh, rng=0)
        run = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.05), rng=0, engine=engine)
        run.fit(X, Y, epochs=5, batch_size=1, callbacks=[SetInTheMiddle()])
        found.append(run.optimizer.vector.values)
    assert np.allclose(found[0], found[1], rtol=1e-10)
