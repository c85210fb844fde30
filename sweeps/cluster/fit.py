"""Run Ray Tune and Ray Train so that SIGINT and SIGTERM reach the caller.

Tune and Train replace the handlers of the process: Tune returns from `fit` as if all trials were done, and Train exits.
So every `fit` of a driver goes through this module.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ray import tune

from crowdml.support.stop_signals import guard_signals, hold_signals, raise_if_stopped


class _StopOnSignal(tune.Callback):
    """Ends the loop of Tune between two steps, where no state is half-changed.  A step lasts about 0.1 seconds."""

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        raise_if_stopped()


def fit_trials(
    trainable: Any,
    *,
    tune_config: tune.TuneConfig,
    run_config: tune.RunConfig,
    param_space: Mapping[str, Any] | None = None,
) -> tune.ResultGrid:
    """Run trials as `tune.Tuner(...).fit()` does.  Tune keeps its state in a temporary folder.

    Raises:
        KeyboardInterrupt: a signal asked the process to stop.
    """
    callbacks = [*(run_config.callbacks or ()), _StopOnSignal()]
    # After a signal, threads of Tune may still write to the folder.
    with tempfile.TemporaryDirectory(prefix="crowdml-tune-", ignore_cleanup_errors=True) as folder, hold_signals():
        return tune.Tuner(
            trainable,
            param_space=dict(param_space or {}),
            tune_config=tune_config,
            run_config=replace(run_config, callbacks=callbacks, storage_path=folder, verbose=0),
        ).fit()


def fit_workers(trainer: Any) -> Any:
    """Run a Ray Train trainer in the driver, and return the result of `trainer.fit()`.

    Raises:
        KeyboardInterrupt: a signal asked the process to stop.
    """
    with guard_signals():
        return trainer.fit()
