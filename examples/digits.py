"""Read handwritten digits: 1,797 images of 8 × 8 grey values from scikit-learn; draws the confusion matrix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from minidl import SGD, Array, Dense, Dropout, ReLU, Sequential, SoftmaxCrossEntropy, Trainer, metrics
from minidl.callbacks import EarlyStopping
from minidl.trainer import History

Labels = npt.NDArray[np.intp]


def images() -> tuple[Array, Labels] | None:
    """Return rows of 64 numbers in 0 … 1, and the digits that they show; None where scikit-learn is missing."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        return None
    x, digits = load_digits(return_X_y=True)
    return x / 16.0, digits


def train(x: Array, digits: Labels) -> tuple[Sequential, History]:
    """Train until a tenth of the rows, held out, says that it is enough."""
    model = Sequential(Dense(64, 128), ReLU(), Dropout(0.3), Dense(128, 10)).initialize(rng=0)
    optimizer = SGD(model.parameters(), learning_rate=0.1, momentum=0.9, weight_decay=1e-4)
    trainer = Trainer(model, SoftmaxCrossEntropy(), optimizer, rng=0)
    stopping = EarlyStopping(patience=25)
    history = trainer.fit(x, digits, epochs=100, validation=0.1, metrics=[metrics.accuracy], callbacks=[stopping])
    return model, history


def save_pictures(history: History, matrix: Labels, path: Path) -> None:
    """Draw how often each digit was read as which, and beside that file the learning curve."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("no picture: matplotlib is not installed")
        return
    figure = Figure(figsize=(4.5, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.imshow(matrix, cmap="Blues")
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            dark = count > matrix.max() / 2
            axes.text(column, row, str(count), ha="center", va="center", color="white" if dark else "black")
    axes.set(xticks=range(10), yticks=range(10), xlabel="predicted digit", ylabel="true digit")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=120)
    history.plot(path.with_stem("digits_learning_curve"))
    print(f"picture: {path}")


def main() -> None:
    data = images()
    if data is None:
        print("the images come with scikit-learn, which is not installed: pip install scikit-learn")
        return
    x, digits = data
    order = np.random.default_rng(0).permutation(len(x))
    known, unseen = order[:-360], order[-360:]
    model, history = train(x[known], digits[known])
    prediction = model.predict(x[unseen])
    accuracy = metrics.accuracy(prediction, digits[unseen])
    print(f"{history}\ntest accuracy {accuracy:.1%}")
    save_pictures(history, metrics.confusion_matrix(prediction, digits[unseen]), Path("pictures/digits.png"))
    assert accuracy >= 0.97


if __name__ == "__main__":
    main()
