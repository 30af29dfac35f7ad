"""Search for the most probable continuations (Wu et al., 2016)."""

from collections.abc import Callable
from collections.abc import Sequence

import tensorflow as tf

from keras_xf.checks import check
from keras_xf.decoding.generate import check_prompts
from keras_xf.decoding.generate import suppression
from keras_xf.decoding.steps import prefill
from keras_xf.decoding.steps import run_step
from keras_xf.text.special_ids import EOS
from keras_xf.text.special_ids import PAD
from keras_xf.text.unwritten_ids import UNWRITTEN_IDS

# A log-probability that none has. Finite: infinities would turn into NaN.
_NONE = -1e30


def beam_search(
    step: Callable,
    state,
    token_ids,
    length,
    *,
    max_new_tokens: int,
    num_beams: int = 4,
    num_hypotheses: int = 1,
    length_penalty: float = 0.6,
    suppressed_ids: Sequence[int] = UNWRITTEN_IDS,
    eos_id: int = EOS,
    constants: Sequence[str] = ("source",),
) -> dict:
    """Continues prompts by their most probable continuations.

    A hypothesis that ends with EOS is scored by its log-probability over
    `((5 + tokens) / 6) ** length_penalty`, equation 14 of the paper, EOS
    counted. Of these the best are kept and never changed; the search of a row
    ends when no unfinished hypothesis can become better than those that are
    returned, or after `max_new_tokens`. Where too few have ended by then,
    unfinished ones follow behind, scored alike.

    With as many beams as there are hypotheses the search is exhaustive. A row's
    result does not depend on the rows beside it.

    Args:
        step: Step function; the package's docstring states the contract.
        state: Its initial state for the batch.
        token_ids: Integer tensor `(batch, n)`, prompts that begin with BOS
            (see `prepend_bos`) or with any token. What stands behind a row's
            `length` is ignored.
        length: Integer tensor `(batch,)`, from 1 to `n`. The range is not
            asserted.
        max_new_tokens: Most tokens of a hypothesis, EOS counted.
        num_beams: Unfinished hypotheses that are followed.
        num_hypotheses: How many are returned, `num_beams` at most.
        length_penalty: 0 for none. The default is that of tensor2tensor.
        suppressed_ids: Ids never to be written.
        eos_id: The id that ends a hypothesis.
        constants: Names in the state, a dict, of what a step does not change
            and the hypotheses of a row have in common, such as what is known
            of a source. It is not reordered.

    Returns:
        A dict of

        - `token_ids`, int32 `(batch, num_hypotheses, max_new_tokens)`: the
          hypotheses, the best first, without EOS, PAD behind them;
        - `length`, int32 `(batch, num_hypotheses)`: how many tokens they are,
          `max_new_tokens` where no EOS came;
        - `score`, float32 `(batch, num_hypotheses)`. Where the vocabulary does
          not allow for as many, the rest has no tokens and minus infinity.

    Raises:
        ValueError: If an argument, or what `step` returns, has a wrong shape
            or an id is out of the vocabulary.

    Reference:
        [Wu et al., 2016](https://arxiv.org/abs/1609.08144), section 7
    """
    token_ids = tf.cast(token_ids, tf.int32)
    length = tf.cast(length, tf.int32)
    state = tf.nest.map_structure(tf.convert_to_tensor, state)
    for name, value in (
        ("max_new_tokens", max_new_tokens),
        ("num_beams", num_beams),
        ("num_hypotheses", num_hypotheses),
    ):
        check(value > 0, f"`{name}` must be positive.", **{name: value})
    check(
        num_hypotheses <= num_beams,
        "`num_hypotheses` must not be more than `num_beams`.",
        num_hypotheses=num_hypotheses,
        num_beams=num_beams,
    )
    check(
        length_penalty >= 0,
        "`length_penalty` must not be negative.",
        length_penalty=length_penalty,
    )
    check_prompts(token_ids, length)

    logits, state = prefill(step, state, token_ids, length)
    search = _Search(
        num_beams,
        max_new_tokens,
        length_penalty,
        suppression(logits.shape[-1], suppressed_ids, eos_id),
        eos_id,
    )
    # Each row's beams stand one behind the other.
    state = tf.nest.map_structure(
        lambda tensor: tf.repeat(tensor, num_beams, axis=0), state
    )
    names = set(constants) & set(state) if isinstance(state, dict) else set()
    constant = {name: state[name] for name in names}

    def changing(state):
        if not names:
            return state
        return {name: state[name] for name in state if name not in names}

    def advance(index, last, beams, state):
        whole = {**state, **constant} if names else state
        logits, new_state = run_step(step, whole, last[:, None])
        last, parents, beams = search.grow(index, logits[:, 0], beams)
        return index + 1, last, beams, _reorder(changing(new_state), parents)

    def goes_on(index, _, beams, __):
        is_open = search.is_open(beams, num_hypotheses)
        return (index < max_new_tokens) & is_open

    logits = tf.repeat(logits, num_beams, axis=0)
    beams = search.begin(tf.shape(token_ids)[0])
    last, _, beams = search.grow(0, logits, beams)
    if max_new_tokens > 1:
        _, _, beams, _ = tf.while_loop(
            goes_on, advance, (tf.constant(1), last, beams, changing(state))
        )
    return search.finish(beams, num_hypotheses)


class _Search:
    """Hypotheses of a batch, and how they grow by a token."""

    def __init__(self, num_beams, max_length, penalty, is_suppressed, eos_id):
        self.num_beams = num_beams
        self.max_length = max_length
        self.penalty = penalty
        self.is_suppressed = is_suppressed
        self.eos_id = eos_id

    def begin(self, batch_size):
        """One empty hypothesis a row, and none that has ended."""
        shape = [batch_size, self.num_beams]
        first = tf.range(self.num_beams) == 0
        none = tf.fill(shape, _NONE)
        blank = tf.fill([*shape, self.max_length], PAD)
        return {
            "open_ids": blank,
            "log_prob": tf.where(first, 0.0, none),
            "token_ids": blank,
            "length": tf.zeros(shape, tf.int32),
            "score": none,
        }

    def grow(self, index, logits, beams):
        """Adds token number `index` to the unfinished hypotheses.

        Returns:
            The tokens, int32 `(batch * num_beams,)`, the rows of the state
            that they follow, and all hypotheses.
        """
        number, vocabulary = self.num_beams, logits.shape[-1]
        log_probs = tf.where(
            self.is_suppressed, _NONE, tf.nn.log_softmax(logits)
        )
        log_probs = tf.reshape(log_probs, [-1, number, vocabulary])
        log_probs += beams["log_prob"][..., None]
        # One of two candidates of a beam, at most, is its EOS.
        count = min(2 * number, number * vocabulary)
        values, places = tf.math.top_k(
            tf.reshape(log_probs, [-1, number * vocabulary]), count
        )
        parents, tokens = places // vocabulary, places % vocabulary
        is_eos = tokens == self.eos_id
        is_real = values > _NONE / 2
        ids = tf.gather(beams["open_ids"], parents, batch_dims=1)
        beams = self._end(index, ids, values, is_eos & is_real, beams)
        values = tf.where(is_eos | ~is_real, _NONE, values)
        values, chosen = tf.math.top_k(values, number)
        ids, tokens, parents = (
            tf.gather(each, chosen, batch_dims=1)
            for each in (ids, tokens, parents)
        )
        is_column = tf.range(self.max_length) == index
        rows = tf.range(tf.shape(ids)[0])[:, None] * number + parents
        return (
            tf.reshape(tokens, [-1]),
            tf.reshape(rows, [-1]),
            {
                **beams,
                "open_ids": tf.where(is_column, tokens[..., None], ids),
                "log_prob": values,
            },
        )

    def _end(self, index, ids, values, has_ended, beams):
        """Keeps the best of what has ended now, or before."""
        scores = tf.where(has_ended, self._score(values, index + 1), _NONE)
        lengths = tf.zeros_like(scores, tf.int32) + index
        candidates = {"token_ids": ids, "length": lengths, "score": scores}
        joined = {
            name: tf.concat([beams[name], each], axis=1)
            for name, each in candidates.items()
        }
        _, best = tf.math.top_k(joined["score"], self.num_beams)
        return {
            **beams,
            **{
                name: tf.gather(each, best, batch_dims=1)
                for name, each in joined.items()
            },
        }

    def _score(self, log_prob, num_tokens):
        num_tokens = tf.cast(num_tokens, tf.float32)
        return log_prob / ((5.0 + num_tokens) / 6.0) ** self.penalty

    def is_open(self, beams, count):
        """Whether a row has an unfinished hypothesis that could be returned.

        More tokens lower a log-probability, and the most divide it by most.
        """
        best = self._score(tf.reduce_max(beams["log_prob"], 1), self.max_length)
        return tf.reduce_any(best > beams["score"][:, count - 1])

    def finish(self, beams, count):
        """The best that have ended, and unfinished ones where they are few."""
        number = self.num_beams
        unfinished = {
            "token_ids": beams["open_ids"],
            "length": tf.zeros_like(beams["length"]) + self.max_length,
            "score": self._score(beams["log_prob"], self.max_length),
        }
        ended = tf.reduce_sum(
            tf.cast(beams["score"] > _NONE / 2, tf.int32), 1, keepdims=True
        )
        places = tf.range(count)[None]
        places = tf.where(places < ended, places, number + places - ended)
        results = {
            name: tf.gather(
                tf.concat([beams[name], each], axis=1), places, batch_dims=1
            )
            for name, each in unfinished.items()
        }
        is_real = results["score"] > _NONE / 2
        return {
            "token_ids": tf.where(
                is_real[..., None], results["token_ids"], PAD
            ),
            "length": tf.where(is_real, results["length"], 0),
            "score": tf.where(is_real, results["score"], -float("inf")),
        }


def _reorder(state, rows):
    return tf.nest.map_structure(
        lambda tensor: tf.ensure_shape(tf.gather(tensor, rows), tensor.shape),
        state,
    )
