"""One layer of self-attention on torch: its own, or a peer's LSH attention.

All compute the same thing: projections of the inputs, attention of heads, and
the projection of what the heads say. None drops anything; the LSH layers look
one chunk back, and hash anew at each call.
"""

import answering
import attention_inputs
import torch
import torch.nn.functional as F
from torch import nn


class DenseAttention(nn.Module):
    """Projections around torch's fused attention."""

    def __init__(self, sizes):
        super().__init__()
        dim = sizes["hidden_dim"]
        self.num_heads = sizes["num_heads"]
        self.query_key_value = nn.Linear(dim, 3 * dim, bias=False)
        self.output_projection = nn.Linear(dim, dim, bias=False)

    def forward(self, x):
        projected = self.query_key_value(x).unflatten(
            -1, (3, self.num_heads, -1)
        )
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(
            query, key, value, is_causal=True
        )
        return self.output_projection(mixed.transpose(1, 2).flatten(2))


class HuggingFaceAttention(nn.Module):
    """`LSHSelfAttention` of transformers, and the projection that follows."""

    def __init__(self, sizes):
        from transformers import ReformerConfig
        from transformers.models.reformer import modeling_reformer

        super().__init__()
        dim, heads = sizes["hidden_dim"], sizes["num_heads"]
        config = ReformerConfig(
            hidden_size=dim,
            num_attention_heads=heads,
            attention_head_size=dim // heads,
            lsh_attn_chunk_length=sizes["chunk_length"],
            lsh_num_chunks_before=1,
            lsh_num_chunks_after=0,
            num_hashes=sizes["num_hashes"],
            is_decoder=True,
            lsh_attention_probs_dropout_prob=0.0,
            hidden_dropout_prob=0.0,
            # Says from which number on buckets are made of two factors.
            max_position_embeddings=sizes["length"],
        )
        self.attention = modeling_reformer.LSHSelfAttention(config)
        self.output_projection = modeling_reformer.ReformerSelfOutput(config)

    def forward(self, x):
        return self.output_projection(self.attention(x).hidden_states)


def reformer_pytorch_attention(sizes) -> nn.Module:
    """`LSHSelfAttention` of reformer-pytorch, which projects the outputs."""
    import reformer_pytorch

    return reformer_pytorch.LSHSelfAttention(
        sizes["hidden_dim"],
        heads=sizes["num_heads"],
        bucket_size=sizes["chunk_length"],
        n_hashes=sizes["num_hashes"],
        causal=True,
    )


BUILDERS = {
    "sdpa": DenseAttention,
    "huggingface": HuggingFaceAttention,
    "reformer_pytorch": reformer_pytorch_attention,
}
PACKAGES = {
    "huggingface": ("transformers",),
    "reformer_pytorch": ("reformer-pytorch",),
}


def prepare(case, sizes):
    """The layer's outputs, or these and all gradients."""
    torch.manual_seed(0)
    implementation = sizes["implementation"]
    device = sizes.get("device", "cpu")
    layer = BUILDERS[implementation](sizes).to(device)
    inputs, upstream = (
        torch.from_numpy(array).to(device)
        for array in attention_inputs.attention_inputs(sizes)
    )
    call = {"forward": _forward, "training": _training}[case]
    return call(layer, inputs, upstream), _versions(implementation)


def _forward(layer, inputs, upstream):
    layer.eval()

    @torch.inference_mode()
    def call():
        # Waits for a GPU.
        return layer(inputs)[0, 0, 0].item()

    return call


def _training(layer, inputs, upstream):
    layer.train()
    inputs.requires_grad_()

    def call():
        inputs.grad = None
        layer.zero_grad(set_to_none=True)
        layer(inputs).backward(upstream)
        return inputs.grad[0, 0, 0].item()

    return call


def _versions(implementation):
    import importlib.metadata

    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        **{
            package: importlib.metadata.version(package)
            for package in PACKAGES.get(implementation, ())
        },
    }


if __name__ == "__main__":
    answering.answer(prepare)
