"""crowdml: learning from crowdsourced and noisy labels.

Each public name is imported at its first use, so that `import crowdml` is fast.  Types are in `__init__.pyi`.
"""

from importlib import import_module

_PUBLIC = {
    "crowdml.labels": ("CrowdLabels",),
    "crowdml.aggregation": (
        "Aggregation", "Aggregator", "Bwa", "Cbcc", "Crowdlab", "DawidSkene", "Ebcc", "Glad", "Ibcc", "Kos",
        "LabelModel", "MMsr", "Mace", "MajorityVote", "MinimaxConditional", "MinimaxCv", "MinimaxEntropy",
        "MinimaxOrdinal", "OnlineDawidSkene", "SpectralEm", "Wawa", "ZeroBasedSkill",
    ),
    "crowdml.aggregation.bila": ("Bila",),
    "crowdml.aggregation.laa": ("Laa",),
    "crowdml.methods.from_frames": ("fit_predict", "fit_predict_proba"),
    "crowdml.noise": ("simulate_crowd",),
    "crowdml.training.classifier": ("CrowdClassifier",),
    "crowdml.experiment.cell": ("Cell", "Training"),
    "crowdml.experiment.crowd_types": ("MachineAnnotators", "Real", "Simulated"),
    "crowdml.learning.recipe": ("Recipe",),
    "crowdml.experiment.run_cell": ("run_cell",),
}  # fmt: skip
"""Module -> the public names that it defines."""

_MODULE_OF = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = sorted([*_MODULE_OF, "__version__"])  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    """Import a public name at its first use."""
    if name == "__version__":
        from importlib.metadata import version

        value: object = version("crowdml")
    elif name in _MODULE_OF:
        value = getattr(import_module(_MODULE_OF[name]), name)
    else:
        raise AttributeError(f"module 'crowdml' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
