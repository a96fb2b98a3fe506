from __future__ import annotations

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
