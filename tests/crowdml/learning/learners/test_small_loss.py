from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crowdml.learning.batch import Batch
from crowdml.learning.learners.small_loss import SmallLossLearner, mean_over, small_losses
from crowdml.learning.supervision import supervise


def naive(losses: list[float], forget_rate: float, among: list[bool]) -> list[bool]:
    places = [place for place, can in enumerate(among) if can]
    n_kept = max(1, int((1 - forget_rate) * len(places) + 1e-9))
    best = sorted(places, key=lambda place: (losses[place], place))[:n_kept]
    return [place in best for place in range(len(losses))]


def test_the_share_left_out_grows_in_equal_steps_from_nothing() -> None:
    # linspace(0, 0.5, 5), then 0.5.
    learner = SmallLossLearner(forget_rate=0.5, n_gradual=5)
    assert [learner.rate(epoch) for epoch in range(7)] == pytest.approx([0, 0.125, 0.25, 0.375, 0.5, 0.5, 0.5])


def test_the_exponent_is_of_what_the_share_grows_to() -> None:
    # linspace(0, 0.5 ** 2, 3), then 0.5: as in the authors' program, with its jump.
    learner = SmallLossLearner(forget_rate=0.5, n_gradual=3, exponent=2.0)
    assert [learner.rate(epoch) for epoch in range(4)] == pytest.approx([0, 0.125, 0.25, 0.5])


def test_one_gradual_epoch_leaves_nothing_out() -> None:
    learner = SmallLossLearner(forget_rate=0.3, n_gradual=1)
    assert [learner.rate(epoch) for epoch in range(2)] == [0, 0.3]


@pytest.mark.parametrize(("n", "forget_rate", "n_kept"), [(128, 0.2, 102), (128, 0.5, 64), (10, 0.9, 1), (10, 0.7, 3)])
def test_the_number_kept_is_rounded_down(n: int, forget_rate: float, n_kept: int) -> None:
    assert int(small_losses(torch.rand(n), forget_rate).sum()) == n_kept


@given(st.data())
def test_selection_is_that_of_a_loop(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 12))
    # Few values, so that there are ties.
    losses = data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=n, max_size=n))
    among = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    forget_rate = data.draw(st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.8, 0.95]))
    rows = torch.tensor([losses, losses[::-1]])
    chosen = small_losses(rows, forget_rate, torch.tensor(among))
    assert chosen[0].tolist() == naive(losses, forget_rate, among)
    assert chosen[1].tolist() == naive(losses[::-1], forget_rate, among)


def test_held_out_items_all_count() -> None:
    learner = SmallLossLearner(forget_rate=0.5, n_gradual=1)
    losses = torch.tensor([1.0, 2.0, 3.0, 4.0])
    batch = Batch((torch.zeros(4, 1),), torch.arange(4), supervise(torch.tensor([0, 1, 0, 1]), 2), epoch=5, n_epochs=9)
    assert learner.trusted(losses, batch, training=True).tolist() == [True, True, False, False]
    assert learner.trusted(losses, batch, training=False).all()


def test_the_mean_over_none_is_zero_and_a_nan_is_not_hidden() -> None:
    losses = torch.tensor([[1.0, 3.0], [5.0, 7.0]])
    chosen = torch.tensor([[True, True], [False, False]])
    assert mean_over(losses, chosen).tolist() == [2.0, 0.0]
    losses[0, 0] = torch.nan
    assert mean_over(losses, small_losses(losses, 0.5))[0].isnan()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"forget_rate": 1.0}, r"forget_rate must be in \[0, 1\), got 1.0"),
        ({"forget_rate": -0.1}, r"forget_rate must be in \[0, 1\), got -0.1"),
        ({"n_gradual": 0}, "n_gradual must be at least 1, got 0"),
        ({"exponent": 0.0}, "exponent must be above 0, got 0.0"),
        ({"exponent": float("nan")}, "exponent must be a number in"),
        ({"target": "soft"}, 'target must be "labels" or "posterior"'),
    ],
)
def test_options_out_of_range(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SmallLossLearner(**options)
