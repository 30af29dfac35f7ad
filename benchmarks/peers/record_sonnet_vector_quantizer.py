"""Records training steps of Sonnet's VectorQuantizerEMA."""

import sys

import numpy as np
import sonnet as snt
from recording import write_recording

STEPS, BATCH, CODES, DIM, DECAY = 300, 256, 32, 8, 0.99


def main(path):
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(2048, DIM)).astype("float32")
    codes = generator.normal(size=(CODES, DIM)).astype("float32")
    layer = snt.nets.VectorQuantizerEMA(
        embedding_dim=DIM,
        num_embeddings=CODES,
        commitment_cost=0.25,
        decay=DECAY,
    )
    layer.embeddings.assign(codes.T)
    indices, losses, perplexities = [], [], []
    for step in range(STEPS):
        # Other vectors in each step, all of them in turn.
        rows = (97 * step + np.arange(BATCH)) % len(vectors)
        results = layer(vectors[rows], is_training=True)
        indices.append(results["encoding_indices"].numpy().astype("int32"))
        losses.append(results["loss"].numpy())
        perplexities.append(results["perplexity"].numpy())
    arrays = {
        "vectors": vectors,
        "codes": codes,
        "indices": np.array(indices),
        "losses": np.array(losses),
        "perplexities": np.array(perplexities),
        "quantized": results["quantize"].numpy(),
        "new_codes": layer.embeddings.numpy().T,
        "counts": layer.ema_cluster_size.average.numpy(),
    }
    write_recording(path, __file__, "sonnet", arrays)


if __name__ == "__main__":
    main(sys.argv[1])
