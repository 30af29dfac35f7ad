"""Callbacks that tell, keep and time what `fit` does.

They work over several `fit` calls of one training, and speak of steps counted
over all of it. `TrainingClock` counts them, so it stands first in the list.
"""

from keras_xf.callbacks.best_model import BestModel
from keras_xf.callbacks.branch_weights_file import BranchWeightsFile
from keras_xf.callbacks.count_in_evaluation import CountInEvaluation
from keras_xf.callbacks.history_file import HistoryFile
from keras_xf.callbacks.progress import Progress
from keras_xf.callbacks.tensorboard_scalars import TensorBoardScalars
from keras_xf.callbacks.training_clock import TrainingClock

__all__ = [
    "BestModel",
    "BranchWeightsFile",
    "CountInEvaluation",
    "HistoryFile",
    "Progress",
    "TensorBoardScalars",
    "TrainingClock",
]
