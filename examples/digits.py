"""Read handwritten digits: 1,797 images of 8 × 8 grey values from scikit-learn; draws the confusion matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from minidl import SGD, History, ReLU, SoftmaxCrossEntropy, Trainer, metrics, mlp
from minidl.callbacks import EarlyStopping

PICTURES = Path("pictures")


def load() -> tuple[Any, Any]:
    """Return images as rows of 64 numbers in 0 … 1, and the digits."""
    from sklearn.datasets import load_digits

    images, digits = load_digits(return_X_y=True)
    return images / 16.0, digits


def train(seed: int = 0) -> tuple[History, float, Any]:
    """Train on 1,437 digits; return the history, and accuracy and confusion matrix on the other 360."""
    x, digits = load()
    order = np.random.default_rng(seed).permutation(len(x))
    known, unseen = order[:-360], order[-360:]
    model = mlp([64, 96, 10], activation=ReLU, rng=seed)
    optimizer = SGD(model.parameters(), learning_rate=0.1, momentum=0.9, weight_decay=1e-4)
    trainer = Trainer(model, SoftmaxCrossEntropy(), optimizer, rng=seed)
    history = trainer.fit(
        x[known], digits[known], epochs=100, validation=0.1, metrics=[metrics.accuracy], callbacks=[EarlyStopping(15)]
    )
    prediction = model.predict(x[unseen])
    matrix = metrics.confusion_matrix(prediction, digits[unseen])
    return history, metrics.accuracy(prediction, digits[unseen]), matrix


def draw(history: History, matrix: Any) -> None:
    """Save the learning curve and the confusion matrix, where matplotlib is there."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("no pictures: matplotlib is not installed")
        return
    PICTURES.mkdir(exist_ok=True)
    history.plot(PICTURES / "digits_learning_curve.png")
    figure = Figure(figsize=(4.5, 4.2), layout="constrained")
    axis = figure.subplots()
    axis.imshow(matrix, cmap="Blues")
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            dark = count > matrix.max() / 2
            axis.text(column, row, str(count), ha="center", va="center", color="white" if dark else "black")
    axis.set(xticks=range(10), yticks=range(10), xlabel="predicted digit", ylabel="true digit")
    figure.savefig(PICTURES / "digits_confusion.png", dpi=120)
    print(f"pictures: {PICTURES / 'digits_learning_curve.png'}, {PICTURES / 'digits_confusion.png'}")


def main() -> None:
    try:
        import sklearn  # noqa: F401
    except ImportError:
        print("the digits come with scikit-learn, which is not installed: pip install scikit-learn")
        return
    history, accuracy, matrix = train()
    print(f"{len(history)} epochs, stopped by {history.stopped_by}")
    print(f"test accuracy {accuracy:.1%}")
    draw(history, matrix)
    assert accuracy >= 0.97


if __name__ == "__main__":
    main()
