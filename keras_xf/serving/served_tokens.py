"""Language model that takes and gives token ids."""

import functools

import tensorflow as tf

from keras_xf.checks import check
from keras_xf.decoding import assert_sampling_inputs
from keras_xf.decoding import generate
from keras_xf.decoding import greedy
from keras_xf.decoding import prepend_bos
from keras_xf.decoding import read_segments
from keras_xf.decoding import sample
from keras_xf.decoding import score_segments
from keras_xf.models import StepModel
from keras_xf.serving import requests


class ServedTokens(tf.Module):
    """Continues and scores rows of token ids.

    The functions are to be traced with the signatures of
    `language_model_bundles`, which says what goes in and comes out.

    Args:
        step_model: The step twin of the model; both are used.
        max_new_tokens: Most tokens to write, EOS counted.
        top_k: Most probable tokens that `sample` draws from; all if None.
        max_prompt_length: Longest prompt that is accepted, in tokens. By
            default as long as the model's positions allow.
        segment_length: Most tokens of a row that are read or scored at once,
            for a step model that has `nll`, and whose results do not depend on
            how a row is cut; whole rows if None.
    """

    def __init__(
        self,
        step_model: StepModel,
        *,
        max_new_tokens: int,
        top_k: int | None = None,
        max_prompt_length: int | None = None,
        segment_length: int | None = None,
    ):
        super().__init__(name="served_tokens")
        check(
            max_new_tokens > 0,
            "`max_new_tokens` must be positive.",
            max_new_tokens=max_new_tokens,
        )
        check(
            top_k is None or top_k > 0,
            "`top_k` must be None or positive.",
            top_k=top_k,
        )
        check(
            max_prompt_length is None or max_prompt_length > 0,
            "`max_prompt_length` must be None or positive.",
            max_prompt_length=max_prompt_length,
        )
        max_length = step_model.max_length
        if max_length is not None:
            # BOS takes a position, but the last new token takes none: it is
            # not fed back.
            room = max_length - max_new_tokens
            check(
                room >= (max_prompt_length or 1),
                "`max_new_tokens` must leave the model positions for prompts "
                "of `max_prompt_length`, at least one.",
                max_new_tokens=max_new_tokens,
                max_prompt_length=max_prompt_length,
                max_length=max_length,
            )
            if max_prompt_length is None:
                max_prompt_length = room
        # These alone are saved with the module: with the whole model would go
        # functions that nobody serves. States of seeds are among them, since
        # a reversible stack reads them even where it draws nothing.
        self.state = [v.value for v in step_model.model.variables]
        self.step_model = step_model
        self.max_new_tokens = max_new_tokens
        self.top_k = top_k
        self.max_prompt_length = max_prompt_length
        self.segment_length = segment_length

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens; ids that are served lie below it."""
        return self.step_model.vocabulary_size

    def generate(self, token_ids, length):
        """Continues rows by the most probable tokens."""
        with requests.same_rows(token_ids=token_ids, length=length):
            requests.assert_length("token_ids", length, self.max_prompt_length)
            return self.complete(token_ids, length)

    def sample(self, token_ids, length, seed, temperature, top_p):
        """Continues rows by tokens that are drawn, each row on its own."""
        with requests.same_rows(
            token_ids=token_ids,
            length=length,
            seed=seed,
            temperature=temperature,
            top_p=top_p,
        ):
            requests.assert_length("token_ids", length, self.max_prompt_length)
            return self.complete(token_ids, length, seed, temperature, top_p)

    def score(self, token_ids, length):
        """Gives each token's log-probability after those before it."""
        with requests.same_rows(token_ids=token_ids, length=length):
            requests.assert_length(
                "token_ids", length, self.step_model.max_length
            )
            return self._score(token_ids, length)

    def complete(
        self, token_ids, length, seed=None, temperature=None, top_p=None
    ):
        """Continues prompts of fitting length, by drawing if given a seed."""
        token_ids = requests.real_tokens(
            token_ids, length, self.vocabulary_size
        )
        choose = greedy
        if seed is not None:
            assert_sampling_inputs(temperature, top_p)
            choose = functools.partial(
                sample,
                temperature=temperature,
                top_k=self.top_k,
                top_p=top_p,
            )
        token_ids, length = prepend_bos(token_ids, length)
        batch_size, width = tf.unstack(tf.shape(token_ids))
        state = self.step_model.initial_state(
            batch_size, width + self.max_new_tokens - 1
        )
        if self.segment_length is not None:
            state, token_ids, length = self._read(state, token_ids, length)
        return generate(
            self.step_model,
            state,
            token_ids,
            length,
            max_new_tokens=self.max_new_tokens,
            choose=choose,
            seed=seed,
        )

    def _read(self, state, token_ids, length):
        """Reads prompts but for their last tokens, which are left."""
        state = read_segments(
            self.step_model,
            state,
            token_ids[:, :-1],
            length - 1,
            segment_length=self.segment_length,
        )
        last = tf.expand_dims(length - 1, axis=-1)
        last = tf.gather(token_ids, last, batch_dims=1)
        return state, last, tf.ones_like(length)

    def _score(self, token_ids, length):
        width = tf.shape(token_ids)[1]
        token_ids = requests.real_tokens(
            token_ids, length, self.vocabulary_size
        )
        # Logits at a position are of the token after it.
        inputs = prepend_bos(token_ids, length)[0][:, :-1]
        if self.segment_length is None:
            log_probs = self._score_at_once(inputs, token_ids, length)
        else:
            log_probs = -score_segments(
                self.step_model.nll,
                self.step_model.initial_state(
                    *tf.unstack(tf.shape(token_ids)),
                ),
                inputs,
                token_ids,
                length,
                segment_length=self.segment_length,
            )
        longest = tf.shape(token_ids)[1]
        is_real = tf.sequence_mask(length, maxlen=longest)
        log_probs = tf.where(is_real, log_probs, 0.0)
        return {
            "log_probs": tf.pad(log_probs, [[0, 0], [0, width - longest]]),
            "score": tf.reduce_sum(log_probs, axis=1),
        }

    def _score_at_once(self, inputs, token_ids, length):
        if self.step_model.nll is not None:
            state = self.step_model.initial_state(
                *tf.unstack(tf.shape(token_ids))
            )
            return -self.step_model.nll(inputs, state, token_ids, length)[0]
        outputs = self.step_model.model(
            {"token_ids": inputs, "length": length}, training=False
        )
        log_probs = tf.nn.log_softmax(tf.cast(outputs["logits"], tf.float32))
        return tf.gather(log_probs, token_ids, batch_dims=2)
