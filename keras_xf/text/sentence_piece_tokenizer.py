"""Tokenizer whose tokens are pieces of SentencePiece."""

import base64
import hashlib
import io
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from keras_xf.checks import check
from keras_xf.text.piece_operations import decode_pieces
from keras_xf.text.piece_operations import import_tf_text
from keras_xf.text.special_ids import BOS
from keras_xf.text.special_ids import EOS
from keras_xf.text.special_ids import MASK
from keras_xf.text.special_ids import PAD
from keras_xf.text.special_ids import UNK
from keras_xf.text.tokenizer import Tokenizer
from keras_xf.text.tokenizer import register_tokenizer
from keras_xf.text.tokenizer_inputs import to_text

_KINDS = ("unigram", "bpe")


@register_tokenizer
class SentencePieceTokenizer(Tokenizer):
    """Reads a string as the pieces of a vocabulary that was learned from text.

    Spaces belong to pieces, so that `decode` gives the text back as the model
    normalizes it: by default it replaces compatibility characters, makes
    whitespace even and takes it away at both ends. What no piece stands for is
    `UNK`, unless the model falls back to bytes.

    Needs tensorflow_text, here and where it was exported to, and here the
    package sentencepiece, too.

    Args:
        model: The bytes of a SentencePiece model, or these in base64. Its first
            ids must be the special ones, as `learn` makes them.
        fast: Whether to take tensorflow_text's faster operation, which is for
            models of the kind "unigram" alone: it gives other ids for others.

    Example:

    >>> tokenizer = keras_xf.text.SentencePieceTokenizer.learn(
    ...     [b"a house, the house, houses"] * 9, vocabulary_size=32
    ... )
    >>> tokenizer.decode(*tokenizer.encode(["the  house"])).numpy()
    array([b'the house'], dtype=object)

    Reference:
        [Kudo & Richardson, 2018](https://arxiv.org/abs/1808.06226)
    """

    def __init__(self, model: bytes | str, fast: bool = False):
        super().__init__(name="sentence_piece_tokenizer")
        tf_text = import_tf_text()
        try:
            if isinstance(model, str):
                model = base64.b64decode(model, validate=True)
            kind, special, self._size = _read_model(model)
        except ValueError as error:
            check(
                False,
                "`model` must be a SentencePiece model.",
                error=str(error),
            )
        expected = {"pad": PAD, "unk": UNK, "bos": BOS, "eos": EOS}
        expected["mask"] = MASK
        check(
            special == expected,
            "`model` must have the special ids, and a control piece as number "
            f"{MASK}.",
            expected=expected,
            found=special,
        )
        check(
            not fast or kind == "unigram",
            '`fast` needs a model of the kind "unigram".',
            kind=kind,
        )
        self._model = bytes(model)
        self.fast = fast
        if fast:
            self._tokenizer = tf_text.FastSentencepieceTokenizer(self._model)
        else:
            # A SavedModel finds its resources by their names: without one of
            # its own, each of two tokenizers would be the first.
            digest = hashlib.sha256(self._model).hexdigest()
            self._tokenizer = tf_text.SentencepieceTokenizer(
                self._model, out_type=tf.int32, name=f"pieces_{digest[:16]}"
            )

    @classmethod
    def learn(
        cls,
        documents: Iterable[bytes],
        vocabulary_size: int,
        kind: str = "unigram",
        byte_fallback: bool = False,
        normalization: str = "nmt_nfkc",
        fast: bool = False,
    ) -> "SentencePieceTokenizer":
        """Learns a vocabulary, line by line; the same from the same text.

        Needs the package sentencepiece.

        Args:
            documents: The bytes of texts.
            vocabulary_size: Number of ids, special ids included.
            kind: "unigram" or "bpe".
            byte_fallback: Whether characters that the text does not have become
                their bytes, which take 256 ids, instead of `UNK`.
            normalization: SentencePiece's name of a rule; "identity" keeps the
                characters as they are.
            fast: As the tokenizer takes it.

        Raises:
            ValueError: If the text does not suffice for the vocabulary.
        """
        check(kind in _KINDS, f"`kind` must be one of {_KINDS}.", kind=kind)
        import sentencepiece

        lines = (
            line.decode("utf-8", "replace")
            for document in documents
            for line in document.splitlines()
        )
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(lines),
                model_writer=model,
                vocab_size=vocabulary_size,
                model_type=kind,
                character_coverage=1.0,
                byte_fallback=byte_fallback,
                normalization_rule_name=normalization,
                pad_id=PAD,
                unk_id=UNK,
                bos_id=BOS,
                eos_id=EOS,
                control_symbols=["<mask>"],
                # Lines of up to a mebibyte count, and in one order.
                max_sentence_length=2**20,
                num_threads=1,
                minloglevel=2,
            )
        except RuntimeError as error:
            check(
                False,
                "`documents` must suffice for `vocabulary_size`, and the "
                "options be SentencePiece's.",
                vocabulary_size=vocabulary_size,
                error=" ".join(str(error).split()),
            )
        return cls(model.getvalue(), fast=fast)

    @property
    def vocabulary_size(self) -> int:
        return self._size

    @property
    def model(self) -> bytes:
        """The SentencePiece model, as its own programs read it."""
        return self._model

    def encode(self, text):
        token_ids = self._tokenizer.tokenize(to_text(text))
        length = tf.cast(token_ids.row_lengths(), tf.int32)
        # `PAD` is what `to_tensor` fills up with.
        return tf.cast(token_ids.to_tensor(), tf.int32), length

    def decode(self, token_ids, length):
        text = decode_pieces(
            token_ids, length, self._size, self._tokenizer.detokenize
        )
        return tf.strings.unicode_transcode(
            text, "UTF-8", "UTF-8", errors="replace"
        )

    def encode_bytes(self, data: bytes) -> np.ndarray:
        token_ids, _ = self.encode([data])
        return token_ids.numpy()[0]

    def get_config(self) -> dict:
        return {
            "model": base64.b64encode(self._model).decode(),
            "fast": self.fast,
        }


def _read_model(model):
    """A model's kind, its special ids, and its number of ids."""
    from google.protobuf.message import DecodeError
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    try:
        proto.ParseFromString(model)
    except DecodeError as error:
        raise ValueError(str(error)) from error
    if not proto.pieces:
        raise ValueError("it has no pieces")
    spec = proto.trainer_spec
    kind = spec.ModelType.Name(spec.model_type).lower()
    pieces = proto.pieces
    is_mask = len(pieces) > MASK and pieces[MASK].type == pieces[MASK].CONTROL
    special = {
        "pad": spec.pad_id,
        "unk": spec.unk_id,
        "bos": spec.bos_id,
        "eos": spec.eos_id,
        "mask": MASK if is_mask else -1,
    }
    return kind, special, len(proto.pieces)
