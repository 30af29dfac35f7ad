"""Records training steps of vector-quantize-pytorch's VectorQuantize."""

import sys

import numpy as np
import torch
from recording import write_recording
from vector_quantize_pytorch import VectorQuantize

STEPS, BATCH, CODES, DIM, DECAY = 300, 256, 32, 8, 0.99


def main(path):
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(2048, DIM)).astype("float32")
    codes = generator.normal(size=(CODES, DIM)).astype("float32")
    layer = VectorQuantize(
        dim=DIM,
        codebook_size=CODES,
        decay=DECAY,
        eps=1e-5,
        commitment_weight=0.25,
        threshold_ema_dead_code=0,
        # Else the gradient is another one than that of the inputs.
        rotation_trick=False,
        sync_codebook=False,
    ).train()
    state = layer._codebook
    for buffer in (state.embed, state.embed_avg):
        buffer.data.copy_(torch.tensor(codes)[None])
    indices, losses = [], []
    for step in range(STEPS):
        # Other vectors in each step, all of them in turn.
        rows = (97 * step + np.arange(BATCH)) % len(vectors)
        outputs, chosen, loss = layer(torch.tensor(vectors[rows])[None])
        indices.append(chosen[0].numpy().astype("int32"))
        losses.append(loss.item())
    arrays = {
        "vectors": vectors,
        "codes": codes,
        "indices": np.array(indices),
        "losses": np.array(losses),
        "quantized": outputs[0].detach().numpy(),
        "new_codes": state.embed[0].numpy(),
        "counts": state.cluster_size[0].numpy(),
    }
    write_recording(path, __file__, "vector_quantize_pytorch", arrays)


if __name__ == "__main__":
    main(sys.argv[1])
