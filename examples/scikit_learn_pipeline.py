"""Predict a disease from a table with a category: ten networks in a pipeline, and how sure they are."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import minidl


def main() -> None:
    try:
        from sklearn.compose import make_column_transformer
        from sklearn.datasets import load_diabetes
        from sklearn.linear_model import RidgeCV
        from sklearn.model_selection import train_test_split
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder, StandardScaler
    except ImportError:
        print('this example needs scikit-learn: pip install "minidl[sklearn]"')
        return
    from minidl.sklearn import NetworkRegressor

    x, y = load_diabetes(return_X_y=True, scaled=False)  # column 1 is a category; the others are numbers
    y = (y - y.mean()) / y.std()
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.25, random_state=0)
    numbers = [column for column in range(10) if column != 1]
    table = make_column_transformer((OneHotEncoder(drop="if_binary"), [1]), (StandardScaler(), numbers))

    networks = NetworkRegressor((20,), alpha=10.0, ensemble=10, random_state=0)
    pipeline = make_pipeline(table, networks).fit(x, y)
    line = make_pipeline(table, RidgeCV()).fit(x, y)
    score, score_of_line = pipeline.score(x_test, y_test), line.score(x_test, y_test)
    print(f"R2 of ten networks {score:.3f}, of a line {score_of_line:.3f}")

    mean, spread = pipeline.predict(x_test, return_std=True)
    factors = np.where(np.arange(10) == 1, 1, 3)
    far = pipeline.predict(x_test * factors, return_std=True)[1].mean()
    print(f"first row: {mean[0]:.2f} +- {spread[0]:.2f}, measured {y_test[0]:.2f}")
    print(f"mean spread {spread.mean():.2f}, and {far:.2f} for rows three times as large, which no patient has")

    with TemporaryDirectory() as folder:  # one file without pickle holds all ten networks
        path = Path(folder) / "networks.safetensors"
        minidl.save(networks.model_, path)
        loaded = minidl.load(path).predict(pipeline[0].transform(x_test))[:, 0]
    assert score > score_of_line
    assert far > spread.mean()
    assert np.array_equal(loaded, mean)


if __name__ == "__main__":
    main()
