from __future__ import annotations

from math import exp, log, log1p

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from crowdml.learning.crowd.matrices import RowFunction, WorkerMatrices, diagonal
from crowdml.learning.likelihood import log_probabilities


def test_the_diagonal_by_hand() -> None:
    assert diagonal(2, 2, on=1.0, off=-5.0).tolist() == [[[1, -5], [-5, 1]]] * 2


def test_rows_by_hand() -> None:
    free = torch.tensor([[[1.0, -5.0], [0.0, 0.0]]])
    by_exp = WorkerMatrices(nn.Identity(), free).log_confusion()[0].tolist()
    assert by_exp[0] == pytest.approx([-log1p(exp(-6)), -6 - log1p(exp(-6))], abs=1e-6)
    by_softplus = WorkerMatrices(nn.Identity(), free, "softplus").log_confusion()[0].exp().tolist()
    high, low = log(1 + exp(1)), log(1 + exp(-5))
    assert by_softplus[0] == pytest.approx([high / (high + low), low / (high + low)], rel=1e-5)
    assert by_softplus[1] == pytest.approx([0.5, 0.5])


@settings(deadline=None)
@given(st.lists(st.floats(-500, 500, width=32), min_size=9, max_size=9), st.sampled_from(["softmax", "softplus"]))
def test_whatever_the_parameters_rows_are_distributions_with_a_gradient(values: list[float], rows: RowFunction) -> None:
    model = WorkerMatrices(nn.Identity(), torch.tensor(values).reshape(1, 3, 3), rows)
    log_a = model.log_confusion()
    assert torch.allclose(log_a.exp().sum(dim=2), torch.ones(1, 3), atol=1e-5)
    log_a[:, :, 0].sum().backward()
    assert model.free.grad is not None
    assert torch.isfinite(model.free.grad).all()


def test_under_bfloat16_logarithms_are_float32() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        log_f = log_probabilities(nn.Linear(3, 3)(torch.randn(4, 3)))
    assert log_f.dtype == torch.float32
    assert torch.allclose(log_f.exp().sum(dim=1), torch.ones(4), atol=1e-6)
