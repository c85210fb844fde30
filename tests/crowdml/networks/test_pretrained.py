from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from crowdml.networks import build_network
from crowdml.networks.pretrained import load_backbone
from crowdml.support.torchvision_import import import_torchvision

SHAPE = (3, 16, 16)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(7)
    torch.save(build_network("resnet20", SHAPE, 10).state_dict(), tmp_path / "resnet20.pth")
    return tmp_path / "resnet20.pth"


def change(path: Path, how: Callable[[dict[str, Tensor]], object]) -> None:
    state = torch.load(path)
    how(state)
    torch.save(state, path)


@pytest.mark.parametrize("n_classes", [4, 10])
def test_all_but_the_last_layer_is_loaded(weights: Path, n_classes: int) -> None:
    torch.manual_seed(0)
    fresh = build_network("resnet20", SHAPE, n_classes).state_dict()
    torch.manual_seed(0)
    loaded = load_backbone("resnet20", SHAPE, n_classes, weights)
    given, last = torch.load(weights), list(fresh)[-2:]
    assert [name.rpartition(".")[2] for name in last] == ["weight", "bias"]
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, (fresh if name in last else given)[name]), name
    assert loaded(torch.zeros(2, *SHAPE)).shape == (2, n_classes)


def test_weights_as_torchvision_publishes_them(tmp_path: Path) -> None:
    published = import_torchvision().models.resnet18(weights=None).state_dict()
    torch.save(published, tmp_path / "resnet18.pth")
    loaded = load_backbone("resnet18", (3, 32, 32), 14, tmp_path / "resnet18.pth").state_dict()
    assert loaded["fc.weight"].shape == (14, 512)
    for name, value in loaded.items():
        assert name.startswith("fc.") or torch.equal(value, published[name]), name


def test_old_files_without_counters_of_batch_normalisation(weights: Path) -> None:
    def forget_counters(state: dict[str, Tensor]) -> None:
        for name in [name for name in state if name.endswith("num_batches_tracked")]:
            del state[name]

    change(weights, forget_counters)
    counters = [v for k, v in load_backbone("resnet20", SHAPE, 3, weights).state_dict().items() if "tracked" in k]
    assert counters
    assert all(int(value) == 0 for value in counters)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (lambda state: state.pop(next(iter(state))), "missing: "),
        (lambda state: state.update(extra=torch.zeros(1)), "left over: extra"),
        (lambda state: state.update({next(iter(state)): torch.zeros(1)}), "of another shape: "),
    ],
)
def test_weights_of_another_network(weights: Path, how: Callable[[dict[str, Tensor]], object], message: str) -> None:
    change(weights, how)
    with pytest.raises(ValueError, match=rf"resnet20\.pth does not fit the network resnet20; {message}"):
        load_backbone("resnet20", SHAPE, 3, weights)


def test_long_lists_are_cut(weights: Path) -> None:
    with pytest.raises(ValueError, match=r"missing: [^;]+ and \d+ more; left over: [^;]+ and \d+ more"):
        load_backbone("resnet32", (3, 32, 32), 3, _of("lenet", weights.parent / "lenet.pth"))


def test_files_that_hold_no_weights(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there are no weights at .*none\.pth"):
        load_backbone("lenet", SHAPE, 3, tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.pth cannot be read as weights"):
        load_backbone("lenet", SHAPE, 3, tmp_path / "text.pth")
    # Loading a pickled object could run code; such a file is refused without loading it.
    torch.save(build_network("lenet", SHAPE, 3), tmp_path / "whole.pth")
    with pytest.raises(ValueError, match=r"whole\.pth cannot be read as weights \(UnpicklingError\)"):
        load_backbone("lenet", SHAPE, 3, tmp_path / "whole.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"list\.pth holds no state_dict"):
        load_backbone("lenet", SHAPE, 3, tmp_path / "list.pth")


def _of(network: str, path: Path) -> Path:
    torch.save(build_network(network, SHAPE, 10).state_dict(), path)
    return path
