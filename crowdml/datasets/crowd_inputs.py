"""Read the items of crowds of real workers as images or features, so that networks can be trained and tested."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
from scipy import sparse

from crowdml.datasets.data import TrainTest
from crowdml.datasets.download import DatasetMissingError
from crowdml.datasets.images import load_images
from crowdml.labels import CrowdLabels

N_WORD_FEATURES = 2048

FILES = {
    "labelme": ("labelme_vgg16_avgpool.npz", "labelme_test.csv"),
    "music": ("music_train.csv.gz", "music_test.csv.gz"),
    "sentiment": ("sentiment_train.csv.gz", "sentiment_test.csv.gz"),
    "cifar10n": (),
}
"""Maps a crowd to the files in its folder that hold its items."""


def crowd_names_with_inputs() -> tuple[str, ...]:
    """Return the names of the crowds whose items are available, so that networks can be trained on them."""
    return tuple(FILES)


def read_inputs(name: str, crowd: CrowdLabels, base: Path, folder: Path) -> TrainTest:
    """Read the items of a crowd, in the order of the crowd, and the test items.

    Args:
        name: one of `crowd_names_with_inputs()`.
        crowd: the annotations, with item ids if the files have item ids.
        base, folder: the root folder of the data sets, and the folder of the crowd.

    Raises:
        DatasetMissingError: a file is missing; the message says which file.
    """
    absent = [file for file in FILES[name] if not (folder / file).is_file()]
    if absent:
        raise DatasetMissingError(f"to train networks on {name}, put {', '.join(absent)} into {folder}")
    return _READERS[name](crowd, base, folder)


def _labelme(crowd: CrowdLabels, base: Path, folder: Path) -> TrainTest:
    """Read 512 VGG16 features per item, averaged over the image."""
    import pandas as pd

    with np.load(folder / FILES["labelme"][0]) as arrays:
        train, test = arrays["train"], arrays["test"]
    labels = pd.read_csv(folder / FILES["labelme"][1])["label"].to_numpy(np.int64)
    return TrainTest(train[_places(crowd, np.arange(len(train)))], test, labels)


def _music(crowd: CrowdLabels, base: Path, folder: Path) -> TrainTest:
    """Read the 124 Marsyas features per clip."""
    import pandas as pd

    train, test = (pd.read_csv(folder / file) for file in FILES["music"])
    features = [column for column in train.columns if column not in ("id", "class")]
    labels = pd.Index(np.asarray(crowd.class_names)).get_indexer(pd.Index(test["class"])).astype(np.int64)
    values = train[features].to_numpy(np.float32)[_places(crowd, train["id"].to_numpy())]
    return TrainTest(values, test[features].to_numpy(np.float32), labels)


def _sentiment(crowd: CrowdLabels, base: Path, folder: Path) -> TrainTest:
    """Hash words and pairs of words to N_WORD_FEATURES features, scaled to length one."""
    import pandas as pd
    from sklearn.feature_extraction.text import HashingVectorizer

    train, test = (pd.read_csv(folder / file) for file in FILES["sentiment"])
    hashed = HashingVectorizer(n_features=N_WORD_FEATURES, ngram_range=(1, 2), alternate_sign=False)
    values, others = (
        sparse.csr_array(cast(Any, hashed.transform(part["text"].astype(str)))).toarray().astype(np.float32)
        for part in (train, test)
    )
    labels = test["label"].to_numpy(np.int64)
    return TrainTest(values[_places(crowd, train["task"].to_numpy())], others, labels)


def _cifar10n(crowd: CrowdLabels, base: Path, folder: Path) -> TrainTest:
    images = load_images("cifar10", base).for_networks
    assert images is not None
    return images


_READERS: dict[str, Callable[[CrowdLabels, Path, Path], TrainTest]] = {
    "labelme": _labelme,
    "music": _music,
    "sentiment": _sentiment,
    "cifar10n": _cifar10n,
}


def _places(crowd: CrowdLabels, ids: np.ndarray) -> np.ndarray:
    """Return (n_items,) the position of each item of the crowd in `ids`."""
    import pandas as pd

    if crowd.item_ids is None:
        return np.arange(crowd.n_items)
    return pd.Index(ids).get_indexer(pd.Index(crowd.item_ids))
