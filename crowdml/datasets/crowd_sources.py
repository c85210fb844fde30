"""Facts about each crowd of real workers: sizes, origin, licence, citation, files.  This module reads no file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class CrowdSource:
    """Facts about a crowd of real workers.

    Args:
        summary: the question that the workers answer, in a few words.
        n_items, n_workers, n_annotations, n_classes: sizes.
        n_known: number of items with a known true class.
        origin: the source of the files.
        licence: the licence that the source states.
        citation: the paper to cite.
        folder: the folder of the files, relative to the root of the data sets.
        files: all files that are read, relative to `folder`.
        layout: the layout of the files, a key of `crowd_files.READERS`.
        class_names: the names of the classes, if the files have only numbers.
        published: maps a file to (URL, SHA-256 of the converted file); empty if there is no download.
    """

    summary: str
    n_items: int
    n_workers: int
    n_annotations: int
    n_classes: int
    n_known: int
    origin: str
    licence: str
    citation: str
    folder: str
    files: tuple[str, ...]
    layout: str
    class_names: tuple[str, ...] | None = None
    published: Mapping[str, tuple[str, str]] = field(default_factory=dict)


_LI = "https://raw.githubusercontent.com/yuan-li/truth-inference-at-scale/621789b2d57324d3559dc973b2613d2296d73f55/data"


def _collected(
    name: str,
    place: str,
    checksums: tuple[str, str],
    *,
    summary: str,
    sizes: tuple[int, int, int, int, int],
    citation: str,
) -> CrowdSource:
    """Return a crowd from the collection of Li, Rubinstein and Cohn, which can be downloaded."""
    n_items, n_workers, n_annotations, n_classes, n_known = sizes
    files = (f"{name}.csv", f"{name}_truth.csv")
    urls = (f"{_LI}/{place}/label.csv", f"{_LI}/{place}/truth.csv")
    return CrowdSource(
        summary=summary, citation=citation,
        n_items=n_items, n_workers=n_workers, n_annotations=n_annotations, n_classes=n_classes, n_known=n_known,
        origin=f"github.com/yuan-li/truth-inference-at-scale at 621789b, data/{place}",
        licence="MIT for the collection; the original releases state none",
        folder="crowds", files=files, layout="csv",
        published={file: (url, checksum) for file, url, checksum in zip(files, urls, checksums, strict=True)},
    )  # fmt: skip


_SPECTRAL, _TOOLKIT, _BENCHMARK = "SpectralMethodsMeetEM", "active-crowd-toolkit", "crowd_truth_inference"
_CIFAR_N_CITATION = "Wei, Zhu, Cheng, Liu, Niu, Liu, Learning with Noisy Labels Revisited, ICLR 2022"
_DEEP_CROWDS = "Rodrigues, Pereira, Deep Learning from Crowds, AAAI 2018"
_MULTIPLE_ANNOTATORS = "Rodrigues, Pereira, Ribeiro, Learning from Multiple Annotators, Pattern Recognit. Lett. 2013"
_SCENES = ("highway", "insidecity", "tallbuilding", "street", "forest", "coast", "mountain", "opencountry")

SOURCES: dict[str, CrowdSource] = {
    "bluebird": _collected(
        "bluebird", f"{_SPECTRAL}/bluebird",
        ("1e667037998cbf21957cc117550bb4903f7be15d46cd11f9d30e4c19ead71fe3",
         "240140e3d6b89f37bbcaf3ec6bb8dace6c896abb76f42a07113048019d774b41"),
        summary="does the photo show an indigo bunting or a blue grosbeak", sizes=(108, 39, 4_212, 2, 108),
        citation="Welinder, Branson, Belongie, Perona, The Multidimensional Wisdom of Crowds, NIPS 2010",
    ),
    "rte": _collected(
        "rte", f"{_SPECTRAL}/rte",
        ("4fde8a52b5f809b9c090c28a38f59a796722f47b05c2e24b0f9f9991384139b8",
         "ea04369fce63eadf5b5d043e1f6ce40953c038eca9d4362c0f0c85dce6fd3173"),
        summary="does one sentence entail the other", sizes=(800, 164, 8_000, 2, 800),
        citation="Snow, O'Connor, Jurafsky, Ng, Cheap and Fast - But is it Good?, EMNLP 2008",
    ),
    "temp": CrowdSource(
        summary="which of two events came first",
        n_items=462, n_workers=76, n_annotations=4_620, n_classes=2, n_known=462,
        origin="github.com/edwinrobots/bayesian_combination_tutorial2 at f98448e",
        licence="MIT for the repository; the original release states none",
        citation="Snow, O'Connor, Jurafsky, Ng, Cheap and Fast - But is it Good?, EMNLP 2008",
        folder="crowds", files=("temp.csv", "temp_truth.csv"), layout="csv",
    ),
    "web": _collected(
        "web", f"{_SPECTRAL}/web",
        ("10b3896eb6c44f3ba48c8a98c8cc022f543c3dcb58566b837837658f4dc58cb7",
         "28ad83807789867aadf8d5fcbbb9048c8e79ddf03b1b91938ebd6589a199b999"),
        summary="relevance of a web page to a query, five ordered levels", sizes=(2_665, 177, 15_567, 5, 2_653),
        citation="Zhou, Platt, Basu, Mao, Learning from the Wisdom of Crowds by Minimax Entropy, NIPS 2012",
    ),
    "product": _collected(
        "product", f"{_BENCHMARK}/d_jn-product",
        ("8b7c33afa328171c1dcb107927928cadf47e9efcbe13fbfbe175dae7da788c70",
         "0776c4c3a2af754967ba3adc882626cc94a705cff8a23c1fc1f7df23556426d1"),
        summary="are two descriptions of the same product", sizes=(8_315, 176, 24_945, 2, 8_315),
        citation="Wang, Kraska, Franklin, Feng, CrowdER, PVLDB 2012",
    ),
    "sp_amt": _collected(
        "sp_amt", f"{_TOOLKIT}/SP_amt",
        ("2e1e13ee579180598e25dad3a103c1fb01ec01003e39f026c988ac06b85d374d",
         "cd612d04343c635099af0b37d29c5ef888af41e5d8ce89e4f6cbabfe2719e0f7"),
        summary="is a sentence of a film review positive", sizes=(500, 143, 10_000, 2, 500),
        citation="Venanzi, Teacy, Rogers, Jennings, Weakly Supervised Learning of Crowd Labels, HCOMP 2015",
    ),
    "ms": _collected(
        "ms", f"{_TOOLKIT}/MS",
        ("751c565e20239df6e52cecc2411367e6b4f70ce0a28e90f5d6534180c10ee1a4",
         "bfb976ddf12099b07c6b88963f4b51899d351ae5f817e0c990314e3a0fddae65"),
        summary="genre of a piece of music (the labels of music)", sizes=(700, 44, 2_945, 10, 700),
        citation=_MULTIPLE_ANNOTATORS,
    ),
    "zc_us": _collected(
        "zc_us", f"{_TOOLKIT}/ZenCrowd_us",
        ("191d5319ff77119bbf158329a40cb35481f0b553bab95cdbac3a3912daae8066",
         "9390910d95b84dcd2f2ed9eb873061d5698a8ee1a29036edbd9f699162c2783a"),
        summary="does a name mean this entity; some workers answered twice", sizes=(2_040, 74, 12_190, 2, 2_040),
        citation="Demartini, Difallah, Cudre-Mauroux, ZenCrowd, WWW 2012",
    ),
    "labelme": CrowdSource(
        summary="kind of scene in a photo",
        n_items=1_000, n_workers=59, n_annotations=2_547, n_classes=8, n_known=1_000,
        origin="github.com/fmenat/PyLearningCrowds at 0edf617, data/LabelMe",
        licence="none stated", citation=_DEEP_CROWDS,
        folder="labelme", files=("labelme_mturk.csv", "labelme_train.csv"), layout="labelme", class_names=_SCENES,
    ),
    "music": CrowdSource(
        summary="genre of a piece of music, with names and features",
        n_items=700, n_workers=44, n_annotations=2_945, n_classes=10, n_known=700,
        origin="github.com/shahanaibrahimosu/end-to-end-crowdsourcing at 7653680, data/Music",
        licence="none stated", citation=_MULTIPLE_ANNOTATORS,
        folder="music", files=("music_mturk.csv", "music_train.csv.gz"), layout="music",
    ),
    "sentiment": CrowdSource(
        summary="is a sentence of a film review positive, all workers",
        n_items=4_999, n_workers=203, n_annotations=27_746, n_classes=2, n_known=4_999,
        origin="github.com/fmenat/PyLearningCrowds at 0edf617, data/Sentiment",
        licence="none stated", citation=_MULTIPLE_ANNOTATORS,
        folder="sentiment", files=("sentiment_mturk.csv", "sentiment_train.csv.gz"), layout="sentiment",
        class_names=("negative", "positive"),
    ),
    "cifar10n": CrowdSource(
        summary="CIFAR-10 training images, three labels each; the workers are the three columns, not persons",
        n_items=50_000, n_workers=3, n_annotations=150_000, n_classes=10, n_known=50_000,
        origin="github.com/UCSC-REAL/cifar-10-100n at 49df7d8, data/CIFAR-10_human.pt",
        licence="CC BY-NC 4.0", citation=_CIFAR_N_CITATION,
        folder="cifar10n", files=("cifar10n.npz",), layout="cifar10n",
    ),
    "cifar100n": CrowdSource(
        summary="CIFAR-100 training images, one label each",
        n_items=50_000, n_workers=519, n_annotations=50_000, n_classes=100, n_known=50_000,
        origin="github.com/UCSC-REAL/cifar-10-100n at 49df7d8, data/CIFAR-100_human.pt",
        licence="CC BY-NC 4.0", citation=_CIFAR_N_CITATION,
        folder="cifar100n", files=("cifar100n.npz",), layout="cifar100n",
    ),
    "cifar10h": CrowdSource(
        summary="the last 500 CIFAR-10 test images, about 51 labels each",
        n_items=500, n_workers=2_571, n_annotations=25_752, n_classes=10, n_known=500,
        origin="github.com/computorg/published-202402-lefort-peerannot, datasets/cifar10H/answers_valid.json",
        licence="CC BY-NC-SA 4.0",
        citation="Peterson, Battleday, Griffiths, Russakovsky, Human Uncertainty Makes Classification More Robust, "
        "ICCV 2019",
        folder=".", files=("cifar10h/cifar10h_annotators_9500_9999.csv", "cifar-10-batches-py/test_batch"),
        layout="cifar10h",
    ),
}  # fmt: skip
