from __future__ import annotations

import torch

from crowdml.learning.targets import distribution, expected

VALUES = torch.tensor([[1.0, 2.0, 4.0], [3.0, 5.0, 9.0]])


def test_of_labels_it_is_the_value_of_the_class() -> None:
    assert expected(VALUES, torch.tensor([2, 0])).tolist() == [4.0, 3.0]


def test_of_distributions_it_is_the_mean() -> None:
    posterior = torch.tensor([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]])
    assert expected(VALUES, posterior).tolist() == [2.0, 5.0]


def test_labels_are_certain_distributions() -> None:
    labels = torch.tensor([2, 0])
    certain = distribution(labels, 3)
    assert certain.tolist() == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    assert torch.equal(expected(VALUES, certain), expected(VALUES, labels))
    assert distribution(certain, 3) is certain
