from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crowdml.labels import CrowdLabels
from crowdml.learning.annotations import Annotations

CPU = torch.device("cpu")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 5))
def test_a_batch_holds_exactly_the_annotations_of_its_items(seed: int, n_items: int, n_workers: int) -> None:
    rng = np.random.default_rng(seed)
    dense = rng.integers(-1, 3, (n_items, n_workers)).astype(np.int32)
    dense[0, 0] = 0  # a crowd has at least one annotation
    kept = Annotations(CrowdLabels.from_dense(dense, n_classes=3), CPU)
    items = torch.from_numpy(rng.permutation(n_items)[: rng.integers(0, n_items + 1)])
    batch = kept.of(items)
    found = sorted(zip(batch.row.tolist(), batch.worker.tolist(), batch.label.tolist(), strict=True))
    expected = [
        (row, worker, int(dense[item, worker]))
        for row, item in enumerate(items.tolist())
        for worker in range(n_workers)
        if dense[item, worker] >= 0
    ]
    assert found == expected
    assert len(kept.all()) == (dense >= 0).sum()
    assert kept.per_item.tolist() == (dense >= 0).sum(axis=1).tolist()


def test_repeated_answers_are_all_there_whatever_the_order_of_the_rows() -> None:
    crowd = CrowdLabels(
        item=np.array([1, 0, 1]),
        worker=np.array([0, 0, 0]),
        label=np.array([2, 1, 2]),
        n_items=3,
        n_workers=1,
        n_classes=3,
        repeats="keep",
    )
    batch = Annotations(crowd, CPU).of(torch.tensor([2, 1]))
    assert batch.row.tolist() == [1, 1]
    assert batch.label.tolist() == [2, 2]
