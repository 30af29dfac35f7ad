"""A served Transformer-XL, asked over REST."""

import json
import urllib.error
import urllib.request

import numpy as np

_DTYPES = {
    "token_ids": np.int32,
    "length": np.int32,
    "memory": np.float32,
    "memory_length": np.int32,
    "log_probs": np.float32,
}


class RestModel:
    """Sends the signature `lm_step` of a model to a server.

    It keeps nothing of what it sends: threads and conversations may share it.

    Args:
        url: Where the model is, such as
            `http://localhost:8501/v1/models/tokens`, with `/versions/1` behind
            it for a certain version.
        timeout: Seconds to wait for an answer.

    Attributes:
        memory_shape: `(num_layers, memory_length, hidden_dim)`.
        vocabulary_size: Number of tokens.

    Raises:
        ValueError: If the model has no `lm_step`.
        RuntimeError: If the server answers with an error.
        OSError: If there is no server.
    """

    def __init__(self, url: str, timeout: float = 300.0):
        self._url = url.rstrip("/")
        self._timeout = timeout
        metadata = self._ask("/metadata")["metadata"]
        signatures = metadata["signature_def"]["signature_def"]
        if "lm_step" not in signatures:
            raise ValueError(
                "`url` must be that of a model with the signature lm_step. "
                f"Received: url={url!r} with the signatures "
                f"{sorted(signatures)}."
            )
        signature = signatures["lm_step"]
        self.memory_shape = _shape(signature["inputs"]["memory"])[1:]
        self.vocabulary_size = _shape(signature["outputs"]["log_probs"])[-1]

    def lm_step(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Reads the next tokens.

        Args:
            **inputs: The arrays `token_ids`, `length`, `memory` and
                `memory_length`.

        Returns:
            The arrays `log_probs`, `memory` and `memory_length`.

        Raises:
            RuntimeError: If the server answers with an error.
            OSError: If there is no server.
        """
        body = {
            "signature_name": "lm_step",
            "inputs": {name: x.tolist() for name, x in inputs.items()},
        }
        outputs = self._ask(":predict", json.dumps(body).encode())["outputs"]
        return {
            name: np.array(values, _DTYPES[name])
            for name, values in outputs.items()
        }

    def _ask(self, route, body=None):
        request = urllib.request.Request(self._url + route, body)
        try:
            with urllib.request.urlopen(
                request, timeout=self._timeout
            ) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            raise RuntimeError(
                f"The server answers {error.code}: {_message(text)}"
            ) from None


def _message(text):
    try:
        return json.loads(text)["error"]
    except (KeyError, TypeError, ValueError):
        return text


def _shape(tensor):
    return tuple(int(dim["size"]) for dim in tensor["tensor_shape"]["dim"])
