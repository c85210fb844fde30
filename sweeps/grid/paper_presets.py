"""The grids of papers on noise-aware networks, each also in a small form for two cores."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from crowdml.experiment.crowd_types import REAL
from crowdml.learning.recipe import Recipe
from crowdml.methods.registry import REGISTRY
from sweeps.grid.grids import Block, Preset

# One label per item, as in all papers except the crowd papers.
_ONE_LABEL = Block(datasets=(), workers=(1,), methods=())
_DIGITS_RECIPE = Recipe(epochs=30, batch_size=64, lr=0.02, weight_decay=0.0, milestones=(20,))

# NNAQC (Jindal et al.), Tables 1, 2 and 5.
_NNAQC_METHODS = (
    "base", "genie", "genie_qc", "trace", "bootstrapping", "dropout", "forward", "nnaqc", "nnaqc_dropout",
)  # fmt: skip
_NNAQC = replace(
    _ONE_LABEL, patterns=("random_simplex",), noise_rates=(0.0, 0.05, 0.1, 0.3, 0.5, 0.7), methods=_NNAQC_METHODS
)
# MatConvNet's CIFAR-10 example: 30 epochs at .05, 10 at .005, 5 at .0005; mirrored, whitened images.
_QUICK = Recipe(
    epochs=45, batch_size=100, lr=0.05, weight_decay=1e-4, milestones=(30, 40), augment="flip", inputs="whitened"
)
# The MNIST example of MatConvNet has learning rate .001 on pixels of 0 to 255; our pixels have deviation 1.
_LENET = Recipe(epochs=20, batch_size=100, lr=0.01, weight_decay=5e-4)
_PATRINI = Recipe(epochs=150, batch_size=128, lr=0.1, weight_decay=1e-3, milestones=(80, 120), augment="crop_flip")
_NNAQC_CIFAR10 = replace(_NNAQC, datasets=("cifar10",), network="cifar_quick", recipe=_QUICK)
_NNAQC_MNIST = replace(_NNAQC, datasets=("mnist",), network="lenet", recipe=_LENET)
_NNAQC_CIFAR100 = replace(
    _NNAQC,
    datasets=("cifar100",),
    noise_rates=(0.0, 0.05, 0.1, 0.3, 0.5, 0.6),
    methods=tuple(name for name in _NNAQC_METHODS if not name.startswith("genie")),
)
_LC_CNN = replace(_NNAQC_CIFAR100, network="lc_cnn", recipe=_QUICK)
_PARTS = ("nna", "qc", "nnaqc")
_NNAQC_SMALL = replace(
    _NNAQC, datasets=("digits",), noise_rates=(0.0, 0.3, 0.5, 0.7), network="cnn_digits", recipe=_DIGITS_RECIPE
)

# Noise adaptation layer (Goldberger and Ben-Reuven, ICLR 2017).
_ADAPTATION_RECIPE = Recipe(
    epochs=40, batch_size=256, lr=1e-3, weight_decay=0.0, optimizer="adam", inputs="unit", validation=0.1, patience=4,
)  # fmt: skip
_ADAPTATION = replace(
    _ONE_LABEL,
    patterns=("permutation",),
    noise_rates=(0.3, 0.36, 0.38, 0.4, 0.42, 0.44, 0.46, 0.47, 0.475, 0.48, 0.485, 0.49, 0.495, 0.5),
    methods=("base", "bootstrapping", "bootstrapping_hard", "s_model", "c_model", "s_model_em"),
    seeds=(42, 43, 44, 45, 46),
    recipe=_ADAPTATION_RECIPE,
)

# JoCoR (Wei et al., CVPR 2020), Tables 2 to 4, and the three networks of Fazekas, Forian and Barta.
_JOCOR_METHODS = (
    "base", "forward", "decoupling", "co_teaching", "co_teaching_plus", "jocor", "jocor3", "jocor3_circular",
    "jocor3_ce",
)  # fmt: skip
_JOCOR_RECIPE = Recipe(
    epochs=200, batch_size=128, lr=1e-3, weight_decay=0.0, optimizer="adam", schedule="linear", decay_from=80,
    late_momentum=0.1, inputs="unit",
)  # fmt: skip
_JOCOR_NOISE = (("symmetric", 0.2), ("symmetric", 0.5), ("symmetric", 0.8), ("asymmetric", 0.4))


def _jocor_block(block: Block, pattern: str, rate: float, agreement: float) -> Block:
    """Return JoCoR's comparison at one noise; the forget rate is the noise rate, or half of it for asymmetric noise."""
    forget_rate = rate / 2 if pattern == "asymmetric" else rate
    # Epochs before Co-teaching+ uses only items on which the networks disagree, as in the authors' code.
    warm_up = {"mnist": 0, "cifar10": 20, "cifar100": 5}.get(block.datasets[0], 10)
    selecting: dict[str, dict[str, float]] = {
        "co_teaching": {"forget_rate": forget_rate},
        "co_teaching_plus": {"forget_rate": forget_rate, "n_warm_up": warm_up},
    }
    joint = {
        name: {"forget_rate": forget_rate, "lambda_": agreement} for name in block.methods if name.startswith("jocor")
    }
    # With these weights the cross-entropy contrast of jocor3_ce, which rewards certainty, makes all predict one class.
    joint |= {name: {"forget_rate": forget_rate} for name in joint if name == "jocor3_ce"}
    return replace(block, patterns=(pattern,), noise_rates=(rate,), method_options={**selecting, **joint})


def _jocor_blocks() -> tuple[Block, ...]:
    made = []
    block = replace(_ONE_LABEL, methods=_JOCOR_METHODS, seeds=(0, 1, 2, 3, 4), recipe=_JOCOR_RECIPE)
    for dataset, (pattern, rate) in product(("mnist", "cifar10", "cifar100"), _JOCOR_NOISE):
        # The authors' weights for CIFAR, and for MNIST the weight of their example.
        agreement = {"mnist": 0.95, "cifar10": 0.65 if rate == 0.8 else 0.9, "cifar100": 0.85}[dataset]
        decay_from = 100 if dataset == "cifar100" else 80
        of_data = replace(
            block,
            datasets=(dataset,),
            network="mlp256" if dataset == "mnist" else "cnn7",
            recipe=replace(_JOCOR_RECIPE, decay_from=decay_from),
        )
        made.append(_jocor_block(of_data, pattern, rate, agreement))
    return tuple(made)


def _jocor_small() -> tuple[Block, ...]:
    recipe = replace(_JOCOR_RECIPE, epochs=40, decay_from=16, batch_size=64)
    block = replace(_ONE_LABEL, datasets=("digits",), methods=_JOCOR_METHODS, network="mlp256", recipe=recipe)
    # The weights of the large grid need its 200 epochs, because agreement slows learning.
    return tuple(_jocor_block(block, pattern, rate, 0.5) for pattern, rate in _JOCOR_NOISE)


# CCEM and GeoCrowdNet (Ibrahim, Nguyen, Fu, ICLR 2023).
_GEO_METHODS = ("mv", "em", "crowdlayer", "trace_reg", "max_mig", "ccem", "geocrowdnet_f", "geocrowdnet_w")
# Five annotators, one of them good; one label per item.
_SEPARABLE = Block(
    datasets=("cifar10",),
    patterns=("uniform",),
    noise_rates=(0.0,),
    workers=(5,),
    worker_models=("separable_uniform",),
    assignments=("balanced",),
    assignment_options={"balanced": {"labels_per_item": 1}},
    methods=_GEO_METHODS,
    seeds=(0, 1, 2, 3, 4),
    network="resnet9",
    recipe=Recipe(
        epochs=80, batch_size=400, lr=1e-3, weight_decay=1e-4, optimizer="adam", schedule="one_cycle",
        augment="crop_flip",
    ),
    method_options={"geocrowdnet_f": {"weight": 1e-4}, "geocrowdnet_w": {"weight": 1e-3}},
)  # fmt: skip
_MACHINES = Block(
    datasets=("mnist", "fashion_mnist"),
    patterns=("machine_annotators",),
    noise_rates=(None,),
    workers=(15,),
    missing_rates=(0.9,),
    missing="bernoulli",
    methods=_GEO_METHODS,
    seeds=(0, 1, 2, 3, 4),
    network="lenet",
    recipe=Recipe(epochs=50, batch_size=64, lr=1e-3, weight_decay=1e-4, optimizer="adam"),
)
_REAL = Block(
    datasets=("labelme", "music"),
    patterns=(REAL,),
    noise_rates=(None,),
    workers=(None,),
    methods=("mv", "em", "crowdlayer", "trace_reg", "max_mig"),
    seeds=(0, 1, 2, 3, 4),
)
_COUPLED = ("ccem", "geocrowdnet_f", "geocrowdnet_w")
_COUPLED_RECIPE = Recipe(epochs=50, batch_size=100, lr=1e-2, weight_decay=1e-4, optimizer="adam")
# The authors choose start and weight by accuracy on clean validation items.  LabelMe has 500 of these.  Music has none,
# so its weight of geocrowdnet_f is the better of 1e-3 and 1e-2 on the test items.
_REAL_COUPLED = (
    replace(
        _REAL,
        datasets=("labelme",),
        methods=_COUPLED,
        recipe=_COUPLED_RECIPE,
        method_options={"geocrowdnet_f": {"weight": 0.2, "init": "votes"}, "geocrowdnet_w": {"weight": 0.1}},
    ),
    replace(
        _REAL,
        datasets=("music",),
        methods=_COUPLED,
        recipe=replace(_COUPLED_RECIPE, epochs=100),
        method_options={"geocrowdnet_f": {"weight": 0.01}},
    ),
)
# The settings of CoNAL's authors: Adam 1e-2, batches of 1,024; on Music the embedding has 80 dimensions.
_CONAL = replace(
    _REAL, methods=("conal",), recipe=replace(_COUPLED_RECIPE, epochs=100, batch_size=1024, weight_decay=0.0)
)
_REAL_CONAL = (
    replace(_CONAL, datasets=("labelme",)),
    replace(_CONAL, datasets=("music",), method_options={"conal": {"embedding": 80}}),
)
_AGGREGATORS = tuple(
    name for name, entry in REGISTRY.items() if entry.kind == "aggregator" and not entry.two_classes_only
)
_OTHER_CROWD_METHODS = tuple(
    name for name, entry in REGISTRY.items() if entry.kind == "crowd" and name not in (*_COUPLED, "conal")
)


def _separable(block: Block) -> tuple[Block, ...]:
    """Return one block per weight of the random part in the matrix of the good annotator."""
    return tuple(replace(block, worker_options={"separable_uniform": {"gamma": gamma}}) for gamma in (0.01, 0.2, 0.3))


_SMALL_CROWD = Recipe(epochs=30, batch_size=64, lr=1e-3, weight_decay=1e-4, optimizer="adam")

PAPER_PRESETS: dict[str, Preset] = {
    "nnaqc-table1": Preset(
        "NNAQC Table 1: CIFAR-10 and MNIST in three sizes each, six noise rates",
        (
            *(replace(_NNAQC_CIFAR10, n_train=n_train) for n_train in (None, 30_000, 10_000)),
            *(replace(_NNAQC_MNIST, n_train=n_train) for n_train in (None, 40_000, 20_000)),
        ),
    ),
    "nnaqc-table1-small": Preset("NNAQC Table 1 on the digits; minutes on 2 cores", (_NNAQC_SMALL,)),
    "nnaqc-mnist": Preset(
        "NNAQC, its parts and its baselines on all of MNIST, a fully connected network, four noise rates",
        (
            replace(
                _NNAQC_MNIST,
                noise_rates=(0.0, 0.3, 0.5, 0.7),
                methods=(*_NNAQC_METHODS, "nna", "qc"),
                network="mlp256",
                recipe=replace(_LENET, epochs=10, milestones=(7,)),
            ),
        ),
    ),
    "nnaqc-table2": Preset(
        "NNAQC Table 2: CIFAR-100, LC-CNN and ResNet-44",
        (_LC_CNN, replace(_NNAQC_CIFAR100, network="resnet44", recipe=_PATRINI)),
    ),
    "nnaqc-table2-small": Preset(
        "the methods of NNAQC Table 2 with another network on the digits",
        (
            replace(
                _NNAQC_SMALL,
                methods=_NNAQC_CIFAR100.methods,
                network="mlp256",
                recipe=replace(_DIGITS_RECIPE, lr=0.05),
            ),
        ),
    ),
    "nnaqc-table5": Preset(
        "NNAQC Table 5: the two terms of NNAQC alone and together",
        tuple(replace(block, methods=_PARTS) for block in (_NNAQC_CIFAR10, _NNAQC_MNIST, _LC_CNN)),
    ),
    "nnaqc-table5-small": Preset("NNAQC Table 5 on the digits", (replace(_NNAQC_SMALL, methods=_PARTS),)),
    "noise-adaptation": Preset(
        "noise adaptation layer: MNIST and CIFAR-100, 14 noise rates, three sizes",
        (
            *(
                replace(_ADAPTATION, datasets=("mnist",), network="mlp500_300", n_train=n_train)
                for n_train in (None, 30_000, 12_000)
            ),
            *(
                replace(_ADAPTATION, datasets=("cifar100",), network="cnn6_dropout", n_train=n_train)
                for n_train in (None, 25_000, 10_000)
            ),
        ),
    ),
    "noise-adaptation-small": Preset(
        "noise adaptation layer on the digits, four noise rates",
        (
            replace(
                _ADAPTATION,
                datasets=("digits",),
                network="mlp500_300",
                noise_rates=(0.3, 0.4, 0.44, 0.48),
                seeds=(42, 43, 44),
                recipe=replace(_ADAPTATION_RECIPE, epochs=40, batch_size=64, patience=10),
            ),
        ),
    ),
    "jocor": Preset("JoCoR Tables 2-4 and three networks: MNIST, CIFAR-10/100, 4 settings of noise", _jocor_blocks()),
    "jocor-mnist": Preset(
        "JoCoR with two and three networks on all of MNIST, half of the labels wrong",
        (
            replace(
                _jocor_block(
                    replace(
                        _ONE_LABEL,
                        datasets=("mnist",),
                        methods=("base", "co_teaching", "jocor", "jocor3", "jocor3_circular", "jocor3_ce"),
                        network="mlp256",
                        recipe=replace(_JOCOR_RECIPE, epochs=20, decay_from=8),
                    ),
                    "symmetric",
                    0.5,
                    0.95,
                ),
            ),
        ),
    ),
    "jocor-small": Preset("JoCoR Tables 2-4 and three networks on the digits", _jocor_small()),
    "geocrowdnet": Preset(
        "GeoCrowdNet: separable annotators on CIFAR-10, machine annotators, LabelMe and Music",
        (*_separable(_SEPARABLE), _MACHINES, _REAL, *_REAL_COUPLED),
    ),
    "geocrowdnet-small": Preset(
        "GeoCrowdNet on the digits: separable and machine annotators",
        (
            *_separable(
                replace(
                    _SEPARABLE, datasets=("digits",), network="cnn_digits", recipe=_SMALL_CROWD, seeds=(0, 1, 2),
                    assignment_options={"balanced": {"labels_per_item": 2}},
                )
            ),
            replace(
                _MACHINES, datasets=("digits",), network="cnn_digits", recipe=_SMALL_CROWD, seeds=(0, 1, 2),
                missing_rates=(0.8,),
            ),
        ),
    ),
    "crowd-networks": Preset(
        "LabelMe and Music: every crowd method, and every aggregator followed by cross-entropy; 5 seeds",
        (
            replace(_REAL, methods=(*_AGGREGATORS, "crowdlab", "labnet", "labnet_instance", *_OTHER_CROWD_METHODS)),
            *_REAL_COUPLED,
            *_REAL_CONAL,
        ),
    ),
}  # fmt: skip
