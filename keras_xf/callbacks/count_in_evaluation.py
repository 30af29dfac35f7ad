"""Evaluations that count which codes their own data use."""

import keras


class CountInEvaluation(keras.callbacks.Callback):
    """Lets metrics of discrete layers count in `evaluate`, and in validation.

    These metrics belong to layers, which cannot tell an evaluation from a
    prediction, and inference assigns nothing: without this callback `val_`
    results are those of training. With it they are those of the data that are
    evaluated. Nothing else changes: no weight of a layer does, and `predict`
    and what is exported assign nothing.

    A model whose evaluation has been compiled without it is compiled once
    again.

    Example:

    >>> model.fit(x, y, validation_data=(x, y), callbacks=[CountInEvaluation()])
    """

    def __init__(self):
        super().__init__()
        self._compiled_for = None

    def on_test_begin(self, logs=None):
        # Functions are traced by the first batch, and keep what they found.
        if self._compiled_for is not self.model:
            self.model.make_test_function(force=True)
            self._compiled_for = self.model
        self._switch(True)

    def on_test_end(self, logs=None):
        self._switch(False)

    def on_train_begin(self, logs=None):
        # An evaluation that failed has no end.
        self._switch(False)

    def on_predict_begin(self, logs=None):
        self._switch(False)

    def _switch(self, is_on):
        for metric in self.model.metrics:
            if hasattr(metric, "counts_in_evaluation"):
                metric.counts_in_evaluation = is_on
