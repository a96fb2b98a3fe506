"""Read handwritten digits: 1,797 images of 8 × 8 grey values from scikit-learn; draws the confusion matrix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from minidl import SGD, Array, Dense, Dropout, ReLU, Sequential, SoftmaxCrossEntropy, Trainer, metrics
from minidl.callbacks import EarlyStopping
from minidl.inspection import plot_confusion
from minidl.trainer import History

PICTURE = Path("pictures/digits.png")
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


def main() -> None:
    data = images()
    if data is None:
        print("the images come with scikit-learn, which is not installed: pip install scikit-learn")
        return
    x, digits = data
    order = np.random.default_rng(0).permutation(len(x))
    known, unseen = order[:-360], order[-360:]
    model, history = train(x[known], digits[known])
    accuracy = metrics.accuracy(model.predict(x[unseen]), digits[unseen])
    print(f"{history}\ntest accuracy {accuracy:.1%}")
    try:
        picture = plot_confusion(model, x[unseen], digits[unseen])
    except ImportError:
        print("no picture: matplotlib is not installed")
    else:
        PICTURE.parent.mkdir(exist_ok=True)
        picture.savefig(PICTURE)
        history.plot(PICTURE.with_stem("digits_learning_curve"))
        print(f"picture: {PICTURE}")
    assert accuracy >= 0.97


if __name__ == "__main__":
    main()
