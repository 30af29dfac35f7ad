"""A training step of vector-quantize-pytorch's VectorQuantize."""

import importlib.metadata

import answering
import torch
import vectors
from vector_quantize_pytorch import VectorQuantize


def prepare(case, sizes):
    """A step, eager."""
    inputs, codes, upstream = map(torch.from_numpy, vectors.vectors(sizes))
    layer = VectorQuantize(
        dim=sizes["dim"],
        codebook_size=sizes["num_codes"],
        decay=0.99,
        eps=1e-5,
        commitment_weight=0.25,
        threshold_ema_dead_code=0,
        # Else the gradient is another one than that of the inputs.
        rotation_trick=False,
        sync_codebook=False,
    ).train()
    for buffer in (layer._codebook.embed, layer._codebook.embed_avg):
        buffer.data.copy_(codes[None])
    inputs.requires_grad_()

    def call():
        inputs.grad = None
        outputs, _, loss = layer(inputs[None])
        ((outputs[0] * upstream).sum() + loss.sum()).backward()
        return float(loss.sum()), float(inputs.grad[0, 0])

    versions = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "vector_quantize_pytorch": importlib.metadata.version(
            "vector-quantize-pytorch"
        ),
    }
    return call, versions


if __name__ == "__main__":
    answering.answer(prepare)
