"""What all training programs share.

A program inherits `TrainingOptions` and calls `fit`; a run directory, resuming,
checkpoints, reports and exit codes come with it:

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Options(TrainingOptions):
        train_files: tuple[str, ...] = option("Text files to learn from.")

    def train(options: Options) -> None:
        windows = ShuffledWindows(...)
        result = fit(
            options,
            model_json={"builder": "build_language_model", "arguments": {...}},
            make_train_set=windows.dataset,
            loss={"logits": keras.losses.SparseCategoricalCrossentropy(...)},
            make_metrics=lambda: {"logits": [BitsPerToken()]},
            make_validation_set=lambda: scored_windows(...),
            data_fingerprint={"sha256": ..., "length": 128},
            write_files=lambda folder: tokenizer.save(folder / "text"),
        )
        report_end(options.run_dir, result)

    if __name__ == "__main__":
        launch(Options, train)
"""

from apps.training.devices import prepare
from apps.training.exits import NonFiniteError
from apps.training.exits import Preempted
from apps.training.fit import Result
from apps.training.fit import fit
from apps.training.learning_curve import check_can_plot
from apps.training.learning_curve import plot_learning_curve
from apps.training.options import TrainingOptions
from apps.training.report_end import report_end
from apps.training.run_directory import RunDirectory

__all__ = [
    "NonFiniteError",
    "Preempted",
    "Result",
    "RunDirectory",
    "TrainingOptions",
    "check_can_plot",
    "fit",
    "plot_learning_curve",
    "prepare",
    "report_end",
]
