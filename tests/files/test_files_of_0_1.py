"""Files that minidl 0.1 has written: models and weights load as they were, a run is refused with the version.

The files under tests/data were made by the code at commit fe05382. The expected numbers are what that code printed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from minidl import SGD, Dense, Dropout, HalfSquaredError, Sequential, Tanh, Trainer, load, load_weights, save
from minidl._files import read
from minidl.errors import FileFormatError

DATA = Path(__file__).parents[1] / "data"
MODEL, WEIGHTS, RUN = (DATA / f"{kind}-0.1.safetensors" for kind in ("model", "weights", "run"))

X = np.array([[0.5, -1.0, 2.0], [-0.25, 0.75, 1.5]])
PREDICTED = [
    [2.066736733723659, 0.7657514763397053, 1.7601346477885942],
    [0.8367683662494727, 0.8471226014930617, 3.665188320755866],
]
TRAINED = [
    [2.5085513400742143, 0.7312143622186418, 0.22653120099958773],
    [-0.22527446574582116, 0.8982261816825559, 1.6035100577896235],
]
TIED = [
    [-0.015414549625036432, -0.06313802046450862, -0.8680950801666316],
    [-0.14580875869138735, -0.5282599148846128, -0.30978038793973556],
]
OF_THE_RUN = [[-1.3945126324845138, 1.7520805629716136], [-1.848117420378255, 0.5971829378505903]]


def test_the_files_are_of_version_1() -> None:
    assert [read(path).version for path in (MODEL, WEIGHTS, RUN)] == [1, 1, 1]


def test_a_model_predicts_and_trains_on_as_it_was(tmp_path: Path) -> None:
    # Parallel, LayerNorm, BatchNorm, PReLU, Dropout, Residual, Activation(np.sin, np.cos), a Graph.
    model = load(MODEL)
    np.testing.assert_allclose(model.predict(X), PREDICTED, rtol=1e-12)
    save(model, tmp_path / "again.safetensors")
    assert read(tmp_path / "again.safetensors").version == 2
    for each in (model, load(tmp_path / "again.safetensors")):
        np.testing.assert_allclose(each.forward(X), TRAINED, rtol=1e-12)


def test_weights_load() -> None:
    model = Sequential(Dense(3, 3), Tanh(), Dense(3, 3))
    model[2].weight = model[0].weight  # type: ignore[attr-defined]
    load_weights(model, WEIGHTS)
    np.testing.assert_allclose(model.predict(X), TIED, rtol=1e-12)


def test_a_run_is_refused_with_its_version_and_its_model_loads() -> None:
    model = Sequential(Dense(3, 2), Dropout(0.1)).initialize(rng=5)
    trainer = Trainer(model, HalfSquaredError(), SGD(model.parameters(), 0.01, momentum=0.5), rng=0)
    before, where = trainer.optimizer.vector.values.copy(), vars(trainer._run).copy()
    with pytest.raises(FileFormatError) as caught:
        trainer.restore(RUN)
    assert str(caught.value) == (
        f"{RUN}: expected a run of minidl 1.0 or later, got one of minidl 0.1, whose epochs had another order; "
        "minidl.load reads the model in it"
    )
    assert np.array_equal(before, trainer.optimizer.vector.values)
    assert vars(trainer._run) == where
    np.testing.assert_allclose(load(RUN).predict(X), OF_THE_RUN, rtol=1e-12)
