"""What works without any extra, run where only the wheel and its dependencies are installed."""

from __future__ import annotations

import tempfile
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import minidl
from minidl.export import to_c
from minidl.inspection import trace

EXTRAS = ("matplotlib", "numba", "onnx", "sklearn", "tqdm")
DATA = ("py.typed", "style.mplstyle", "inspection/page.html")


def main() -> None:
    """Train, save, load, export and trace; say what the extras would bring."""
    assert [name for name in EXTRAS if find_spec(name)] == []
    assert [name for name in DATA if not files("minidl").joinpath(name).is_file()] == []
    x = np.linspace(-1, 1, 50)[:, None]
    model = minidl.mlp([1, 10, 1], rng=0)
    loss = minidl.HalfSquaredError()
    trainer = minidl.Trainer(model, loss, minidl.Adam(model.parameters(), 0.01), rng=0)
    history = trainer.fit(x, x**2, epochs=200, batch_size=10, progress=False)
    assert history.loss[-1] < 0.1 * history.loss[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        minidl.save(model, path)
        assert (minidl.load(path).predict(x) == model.predict(x)).all()
    assert "float" in to_c(model)
    assert "<html" in trace(model, loss, x[:2], x[:2] ** 2).to_html()
    said = ""
    try:
        history.plot()
    except ImportError as error:
        said = str(error)
    assert 'pip install "minidl[plot]"' in said
    print(f"minidl {minidl.__version__} works without extras, with NumPy {np.__version__}")


if __name__ == "__main__":
    main()
