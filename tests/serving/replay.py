"""Runs requests on SavedModels where importing keras_xf raises.

    python -I replay.py EXPORT_DIR REQUESTS.npz RESULTS.npz

The arrays' names are "<bundle>/<version>|<signature>|<case>|<tensor>". Run with
`-I`, the process has neither the repository nor PYTHONPATH on its path.
"""

import collections
import sys

import numpy as np


class Forbidden:
    def find_spec(self, fullname, path=None, target=None):
        if fullname.split(".")[0] == "keras_xf":
            raise ImportError(f"{fullname} is forbidden here")


def main(export_dir, requests_path, results_path):
    sys.meta_path.insert(0, Forbidden())
    import tensorflow as tf

    requests = collections.defaultdict(dict)
    with np.load(requests_path) as arrays:
        for name in arrays.files:
            *call, tensor = name.split("|")
            requests[tuple(call)][tensor] = tf.constant(arrays[name])
    loaded, results = {}, {}
    for (version, signature, case), request in requests.items():
        if version not in loaded:
            loaded[version] = tf.saved_model.load(f"{export_dir}/{version}")
        outputs = loaded[version].signatures[signature](**request)
        for tensor, value in outputs.items():
            value = value.numpy()
            if value.dtype == object:
                value = value.astype(bytes)
            results[f"{version}|{signature}|{case}|{tensor}"] = value
    assert "keras_xf" not in sys.modules
    np.savez(results_path, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
