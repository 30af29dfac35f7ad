"""What layers whose codebook follows moving averages have in common."""

import keras
from keras import ops

from keras_xf.checks import as_integer
from keras_xf.checks import as_number
from keras_xf.checks import check
from keras_xf.layers.codebook_layer import CodebookLayer
from keras_xf.layers.restart import Restart
from keras_xf.ops import quantization
from keras_xf.ops import stateless_random
from keras_xf.ops.nearest import draw_codes
from keras_xf.ops.quantization import CodebookState
from keras_xf.ops.replicas import replica_number
from keras_xf.ops.replicas import sum_over_replicas

STARTS = ("ones", "zero_debias")
# What is drawn.
RESTARTS, SAMPLES = 1, 2


class MovingCodebookLayer(CodebookLayer):
    """Averages of hits and of vectors, from which the codes are made.

    Args:
        num_codes: Number of codes of a part.
        decay: What is left of the averages after a step.
        epsilon: Of the Laplace smoothing of the counts.
        ema_init: How the averages begin.
        keep_unhit: Whether codes that were never hit stay.
        restart: When dead codes begin again.
        samples: How many codes are drawn for a vector in training, if any.
        accumulation_steps: How many calls make a step.
        **kwargs: Arguments of `CodebookLayer`.
    """

    def __init__(
        self,
        num_codes,
        *,
        decay,
        epsilon,
        ema_init,
        keep_unhit,
        restart,
        samples,
        accumulation_steps,
        **kwargs,
    ):
        super().__init__(num_codes, **kwargs)
        self.decay = as_number("decay", decay)
        check(0 <= decay < 1, "`decay` must lie in [0, 1).", decay=decay)
        self.epsilon = as_number("epsilon", epsilon)
        check(
            epsilon >= 0,
            "`epsilon` must not be negative.",
            epsilon=epsilon,
        )
        check(
            ema_init in STARTS,
            f"`ema_init` must be one of {STARTS}.",
            ema_init=ema_init,
        )
        check(
            not keep_unhit or ema_init == "zero_debias",
            '`keep_unhit` must be False without `ema_init="zero_debias"`: '
            "codes stay anyway.",
            keep_unhit=keep_unhit,
        )
        check(
            restart is None or isinstance(restart, Restart),
            "`restart` must be a `keras_xf.layers.Restart` or None.",
            restart=restart,
        )
        self.ema_init = ema_init
        self.keep_unhit = keep_unhit
        self.restart = restart
        self.samples = as_integer("samples", samples, least=0)
        self._samples = self.samples
        self._draws = restart is not None or self.samples > 0
        self.accumulation_steps = as_integer(
            "accumulation_steps", accumulation_steps
        )
        self._calls_per_step = self.accumulation_steps
        self._zero_debias = ema_init == "zero_debias"
        self._first_counts = "zeros" if self._zero_debias else "ones"

    def get_config(self):
        return {
            **super().get_config(),
            "decay": self.decay,
            "epsilon": self.epsilon,
            "ema_init": self.ema_init,
            "keep_unhit": self.keep_unhit,
            "restart": keras.saving.serialize_keras_object(self.restart),
            "samples": self.samples,
            "accumulation_steps": self.accumulation_steps,
        }

    @classmethod
    def from_config(cls, config):
        restart = keras.saving.deserialize_keras_object(config["restart"])
        return cls(**{**config, "restart": restart})

    def _build_rest(self):
        self.sums = self._state(
            "sums",
            self.codes.shape,
            "zeros" if self._zero_debias else self._first_sums,
        )
        self.steps = self._state("steps", (), "zeros", dtype="int32")
        if self._draws:
            self._build_draw_seed()
        if self.accumulation_steps > 1:
            self.held_counts = self._state(
                "held_counts", self.counts.shape, "zeros"
            )
            self.held_sums = self._state("held_sums", self.codes.shape, "zeros")
            self.calls = self._state("calls", (), "zeros", dtype="int32")

    def _first_sums(self, shape, dtype=None):
        # Those of one hit each.
        return ops.copy(self.codes)

    def _drawn(self, parts, codes):
        seed = self._seed_for_replica(SAMPLES, self.steps)
        if self.accumulation_steps > 1:
            seed = stateless_random.fold_in(
                seed, ops.convert_to_tensor(self.calls)
            )
        return draw_codes(parts, codes, seed, self.samples)

    def _learn(self, parts, weights, counts, sums):
        before = self._read()
        # What is not finite must not become a code.
        is_usable = quantization.is_usable(counts, sums)
        if self.accumulation_steps > 1:
            counts, sums, is_due = self._accumulate(counts, sums, is_usable)
        state = quantization.ema_step(
            before,
            counts,
            sums,
            decay=self.decay,
            epsilon=self.epsilon,
            zero_debias=self._zero_debias,
            keep_unhit=self.keep_unhit,
        )
        if self.restart is not None:
            restarted = self._restarted(state, parts, counts, weights)
            state = quantization.choose(is_usable, restarted, state)
        if self.accumulation_steps > 1:
            state = quantization.choose(is_due, state, before)
        self._write(state)

    def _accumulate(self, counts, sums, is_usable):
        """Hits and sums since the last step, and whether the next is due."""
        calls = ops.convert_to_tensor(self.calls) + 1
        # A call without anything to learn is one of the optimizer's, too.
        is_due = ops.equal(calls, self.accumulation_steps)
        counts = self.held_counts + ops.where(is_usable, counts, 0.0)
        sums = self.held_sums + ops.where(is_usable, sums, 0.0)
        self.held_counts.assign(ops.where(is_due, 0.0, counts))
        self.held_sums.assign(ops.where(is_due, 0.0, sums))
        self.calls.assign(ops.where(is_due, 0, calls))
        return counts, sums, is_due

    def _restarted(self, state, parts, counts, weights):
        options = self.restart
        mean = ops.mean(counts)
        threshold = options.threshold
        if threshold is None:
            threshold = options.fraction * mean
        scale = self._scale(state.steps)
        is_due = ops.logical_and(
            state.steps > options.warmup, state.steps % options.every == 0
        )
        dead = ops.logical_and(state.counts / scale < threshold, is_due)
        rows, found = quantization.draw_candidates(
            parts,
            weights,
            self._seed_of(RESTARTS, state.steps),
            self.num_codes,
        )
        rows, filled = sum_over_replicas(
            quantization.place_candidates(dead, rows, found, *replica_number())
        )
        # A replica without any vector gives none.
        dead = ops.logical_and(dead, filled > 0)
        return quantization.restart(state, dead, rows, mean, scale)

    def _begin(self, codes, counts=None):
        super()._begin(codes, counts)
        if self.accumulation_steps > 1:
            for variable in (self.held_counts, self.held_sums, self.calls):
                variable.assign(ops.zeros_like(variable))

    def _put(self, codes, counts, is_due):
        state = quantization.start_state(
            codes,
            ops.convert_to_tensor(self.steps),
            zero_debias=self._zero_debias,
            counts=counts,
        )
        self._write(quantization.choose(is_due, state, self._read()))

    def _running_counts(self):
        steps = ops.convert_to_tensor(self.steps)
        return self.counts / self._scale(ops.maximum(steps, 1))

    def _scale(self, steps):
        """What the averages are divided by."""
        if not self._zero_debias:
            return 1.0
        return quantization.bias(steps, self.decay)

    def _read(self):
        variables = (self.codes, self.counts, self.sums, self.steps)
        return CodebookState(*map(ops.convert_to_tensor, variables))

    def _write(self, state):
        self.codes.assign(state.codes)
        self.counts.assign(state.counts)
        self.sums.assign(state.sums)
        self.steps.assign(state.steps)
