from __future__ import annotations

import pickle
from math import nan

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
    ("validation", "metrics", "best", "labels"),
    [
        ([], {}, [2, 1.0], [["training loss", "best training loss: 1 in epoch 2"]]),
        ([1.5, 2.5], {}, [1, 1.5], [["training loss", "validation loss", "best validation loss: 1.5 in epoch 1"]]),
        (
            [nan, 1.5], {"r2": [0.5, 0.75], "mae": [3.0, 4.0]}, [2, 1.5],
            [["training loss", "validation loss", "best validation loss: 1.5 in epoch 2"],
             ["validation r2"], ["validation mae"]],
        ),
        ([], {"r2": [0.5, 0.75]}, [2, 1.0], [["training loss", "best training loss: 1 in epoch 2"], ["training r2"]]),
    ],
)  # fmt: skip
def test_plot_draws_each_column_by_epoch_and_marks_the_best(
    validation: list[float], metrics: dict[str, list[float]], best: list[float], labels: list[list[str]]
) -> None:
    pytest.importorskip("matplotlib")
    history = History(loss=[20.0, 1.0], validation_loss=validation, metrics=metrics)
    axes = history.plot().axes
    drawn = [[line.get_ydata().tolist() for line in axis.lines] for axis in axes]
    losses = [[20.0, 1.0], *([validation] if validation else [])]
    assert repr(drawn) == repr([[*losses, best[1:]], *[[numbers] for numbers in metrics.values()]])
    assert axes[0].lines[-1].get_xdata().tolist() == best[:1]
    assert [[text.get_text() for text in axis.get_legend().get_texts()] for axis in axes] == labels
    assert [axis.get_xlabel() for axis in axes] == [""] * (len(labels) - 1) + ["epoch"]
    assert (axes[0].get_ylabel(), axes[0].get_yscale()) == ("loss", "log")


def test_losses_of_one_size_or_not_positive_are_drawn_on_a_linear_scale() -> None:
    pytest.importorskip("matplotlib")
    assert [History(loss=loss).plot().axes[0].get_yscale() for loss in ([2.0, 0.0], [2.0, nan, 0.1], [2.0])] == [
        "linear", "log", "linear",
    ]  # fmt: skip


def test_each_metric_has_its_own_panel_and_epochs_are_whole_numbers() -> None:
    pytest.importorskip("matplotlib")
    for epochs in (1, 2, 7):
        axes = History(loss=[1.0] * epochs, metrics={"r2": [0.5] * epochs, "mae": [500.0] * epochs}).plot().axes
        assert [axis.get_ylabel() for axis in axes] == ["loss", "r2", "mae"]
        assert all(tick == int(tick) for tick in axes[-1].get_xticks())


def test_a_notebook_shows_the_picture_without_a_setting() -> None:
    pytest.importorskip("matplotlib")
    figure = pickle.loads(pickle.dumps(History(loss=[2.0, 1.0]).plot()))
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_plotting_changes_no_setting_of_matplotlib() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    before = dict(matplotlib.rcParams)
    History(loss=[2.0, 1.0]).plot()
    assert dict(matplotlib.rcParams) == before
