from __future__ import annotations

import pytest

from minidl.trainer import History


def test_a_history_counts_its_epochs_and_shows_where_the_loss_went() -> None:
    history = History()
    assert len(history) == 0
    history.loss.extend([1.0, 0.5, 0.25])
    assert len(history) == 3
    assert "3 epochs, loss 1 -> 0.25" in repr(history)


def test_two_histories_share_nothing() -> None:
    one, other = History(), History()
    one.loss.append(1.0)
    assert other.loss == []


@pytest.mark.parametrize(
    ("validation", "metrics", "labels"),
    [
        ([], {}, [["training"]]),
        ([2.5, 1.5], {}, [["training", "validation"]]),
        ([2.5, 1.5], {"r2": [0.5, 0.75], "mae": [3.0, 4.0]}, [["training", "validation"], ["r2", "mae"]]),
    ],
)
def test_plot_draws_each_column_by_epoch(
    validation: list[float], metrics: dict[str, list[float]], labels: list[list[str]]
) -> None:
    pytest.importorskip("matplotlib")
    history = History(loss=[2.0, 1.0], validation_loss=validation, metrics=metrics)
    axes = history.plot().axes
    drawn = [{line.get_label(): line.get_xydata().tolist() for line in axis.lines} for axis in axes]
    numbers = {"training": [2.0, 1.0], "validation": validation, **metrics}
    assert drawn == [{name: [[1.0, numbers[name][0]], [2.0, numbers[name][1]]] for name in row} for row in labels]
    assert [[text.get_text() for text in axis.get_legend().get_texts()] for axis in axes] == labels
    assert [axis.get_xlabel() for axis in axes] == [""] * (len(labels) - 1) + ["epoch"]
    assert (axes[0].get_ylabel(), axes[0].get_yscale()) == ("loss", "log")
