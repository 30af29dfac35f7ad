"""What layers whose codebook follows moving averages have in common."""

import keras
from keras import ops

from keras_xf.checks import as_integer
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
        **kwargs,
    ):
        super().__init__(num_codes, **kwargs)
        check(0 <= decay < 1, "`decay` must lie in [0, 1).", decay=decay)
        check(epsilon >= 0, "`epsilon` must not be negative.", epsilon=epsilon)
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
        self.decay = decay
        self.epsilon = epsilon
        self.ema_init = ema_init
        self.keep_unhit = keep_unhit
        self.restart = restart
        self.samples = as_integer("samples", samples, least=0)
        self._samples = self.samples
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
        }

    @classmethod
    def from_config(cls, config):
        restart = keras.saving.deserialize_keras_object(config["restart"])
        return cls(**{**config, "restart": restart})

    def _build_averages(self):
        self.sums = self._state(
            "sums",
            self.codes.shape,
            "zeros" if self._zero_debias else self._first_sums,
        )
        self.steps = self._state("steps", (), "zeros", dtype="int32")
        if self.restart is not None or self.samples:
            # Keras saves no seeds. With this one and the steps, training that
            # goes on draws what it would have drawn.
            self.draw_seed = self._state(
                "draw_seed", (2,), self._first_seed, dtype="int32"
            )

    def _first_sums(self, shape, dtype=None):
        # Those of one hit each.
        return ops.copy(self.codes)

    def _first_seed(self, shape, dtype=None):
        return stateless_random.draw(self.seed_generator)

    def _loss(self, parts, rows, weights):
        return self._commitment_loss(parts, rows, weights)

    def _drawn(self, parts, codes):
        # Other noise on each replica.
        number, _ = replica_number()
        seed = stateless_random.fold_in(
            self._seed_of(SAMPLES, self.steps), number
        )
        return draw_codes(parts, codes, seed, self.samples)

    def _learn(self, parts, chosen, weights):
        counts, sums = self._count(parts, chosen, weights)
        state = quantization.ema_step(
            self._read(),
            counts,
            sums,
            decay=self.decay,
            epsilon=self.epsilon,
            zero_debias=self._zero_debias,
            keep_unhit=self.keep_unhit,
        )
        if self.restart is not None:
            restarted = self._restarted(state, parts, counts, weights)
            # What is not finite must not become a code.
            is_usable = quantization.is_usable(counts, sums)
            state = quantization.choose(is_usable, restarted, state)
        self._write(state)

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
        self._write(
            quantization.start_state(
                codes,
                ops.convert_to_tensor(self.steps),
                zero_debias=self._zero_debias,
                counts=counts,
            )
        )

    def _running_counts(self):
        steps = ops.convert_to_tensor(self.steps)
        return self.counts / self._scale(ops.maximum(steps, 1))

    def _seed_of(self, purpose, steps):
        # Of its own for each purpose, so that one does not shift the other.
        seed = ops.convert_to_tensor(self.draw_seed)
        seed = stateless_random.fold_in(seed, purpose)
        return stateless_random.fold_in(seed, ops.convert_to_tensor(steps))

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
