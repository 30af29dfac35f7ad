"""Evaluations that count which codes their own data use."""

import contextlib

import keras


class CountInEvaluation(keras.callbacks.Callback):
    """Lets metrics of discrete layers count in `evaluate`, and in validation.

    These metrics belong to layers, which cannot tell an evaluation from a
    prediction, and inference assigns nothing: without this callback `val_`
    results are those of training. With it they are those of the data that are
    evaluated. Nothing else changes: no weight of a layer does, and `predict`
    and what is exported assign nothing.

    The model has a function of its own for these evaluations, compiled once,
    and again after `compile`. An evaluation that fails has no end: other
    evaluations count, too, until training, a prediction or an evaluation with
    this callback.

    Example:

    >>> model.fit(x, y, validation_data=(x, y), callbacks=[CountInEvaluation()])
    """

    def __init__(self):
        super().__init__()
        # Functions are traced by the first batch, and keep what they found.
        self._plain = None
        self._counting = None

    def on_test_begin(self, logs=None):
        self._restore()
        if self._plain is None or self.model.test_function is not (self._plain):
            self._plain = self.model.test_function
            self.model.make_test_function(force=True)
            self._counting = self._counted(self.model.test_function)
        self.model.test_function = self._counting

    def on_test_end(self, logs=None):
        self._restore()

    def on_train_begin(self, logs=None):
        # An evaluation that failed has no end.
        self._restore()

    def on_predict_begin(self, logs=None):
        self._restore()

    def _restore(self):
        if self._counting and self.model.test_function is self._counting:
            self.model.test_function = self._plain

    def _counted(self, function):
        metrics = [
            metric
            for metric in self.model.metrics
            if hasattr(metric, "counts_in_evaluation")
        ]

        def count(iterator):
            # No longer than the call, whatever becomes of it.
            with _switched_on(metrics):
                return function(iterator)

        return count


@contextlib.contextmanager
def _switched_on(metrics):
    for metric in metrics:
        metric.counts_in_evaluation = True
    try:
        yield
    finally:
        for metric in metrics:
            metric.counts_in_evaluation = False
