"""Records transformers' Reformer language models: logits and gradients.

Computed in float64 and rounded, so that another processor gives the same; but
several hash rounds in float32, as the peer is used: where a token sees nothing
but itself, that rounds how the rounds are combined to some thousandths.
"""

import json
import sys

import numpy as np
import torch
from huggingface_rotations import RecordedRotations
from recording import write_recording
from transformers import ReformerConfig
from transformers import ReformerForMaskedLM
from transformers import ReformerModelWithLMHead

BATCH_SIZE = 2
SIZES = {
    "vocab_size": 13,
    "hidden_size": 16,
    "feed_forward_size": 20,
    "num_attention_heads": 2,
    # Their product is not the hidden size.
    "attention_head_size": 6,
    "attn_layers": ["local", "lsh", "lsh", "local"],
    # The model is padded to multiples of 12.
    "lsh_attn_chunk_length": 4,
    "local_attn_chunk_length": 6,
    "axial_pos_shape": [6, 8],
    "axial_pos_embds_dim": [10, 6],
    "max_position_embeddings": 48,
    # Larger than what a checkpoint begins with, which attends to all alike.
    "initializer_range": 0.3,
    "hidden_dropout_prob": 0.0,
    "lsh_attention_probs_dropout_prob": 0.0,
    "local_attention_probs_dropout_prob": 0.0,
}
CASES = {
    "causal": {
        "is_decoder": True,
        "num_hashes": 2,
        "num_buckets": [2, 4],
        "hash_seed": 1,
    },
    "causal_learned": {
        "is_decoder": True,
        "axial_pos_embds": False,
        "num_hashes": 1,
        "num_buckets": 6,
        "hidden_act": "gelu_new",
        "lsh_num_chunks_before": 2,
        "local_num_chunks_before": 2,
        "layer_norm_eps": 1e-3,
        "chunk_size_feed_forward": 3,
    },
    "masked": {
        "num_hashes": 2,
        "num_buckets": 4,
        "hidden_act": "gelu",
        "lsh_num_chunks_after": 1,
        "local_num_chunks_after": 1,
        "local_num_chunks_before": 0,
    },
}
# The shortest is within a chunk of either kind: it is not padded, the next two
# are.
LENGTHS = (3, 5, 20, 24)
TRAINING_LENGTH = 48


def main(path):
    torch.set_num_threads(1)
    arrays = {}
    for case, options in CASES.items():
        torch.manual_seed(0)
        config = ReformerConfig(**{**SIZES, **options})
        make = (
            ReformerModelWithLMHead
            if config.is_decoder
            else ReformerForMaskedLM
        )
        model = make(config)
        fill(model)
        results = {
            # A recording holds numbers: the bytes of JSON.
            "config": np.array(
                list(json.dumps(config.to_dict(), sort_keys=True).encode()),
                "int32",
            ),
            **{
                f"weights/{n}": w.numpy() for n, w in model.state_dict().items()
            },
        }
        model.to(torch.float32 if config.num_hashes > 1 else torch.float64)
        for length in LENGTHS:
            for name, array in run(model, length).items():
                results[f"{length}/{name}"] = array
        if case == "causal_learned":
            # In training the peer draws anew each time, unless told not to.
            config.hash_seed = 1
            results |= differentiate(make(config), model.state_dict())
        arrays |= {f"{case}/{name}": array for name, array in results.items()}
    write_recording(path, __file__, "huggingface", arrays)


def fill(model):
    """Moves what begins with zeros and ones."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name or "bias" in name:
                weight += 0.3 * torch.randn(weight.shape)


def run(model, length):
    random = np.random.default_rng(length)
    shape = (BATCH_SIZE, length)
    token_ids = random.integers(SIZES["vocab_size"], size=shape, dtype="i4")
    lengths = np.array([length, length - length // 3], "int32")
    inputs = {
        "input_ids": torch.from_numpy(token_ids).long(),
        "attention_mask": torch.from_numpy(
            np.arange(length) < lengths[:, None]
        ),
    }
    rotations = RecordedRotations(seed=length)
    model.eval()
    with rotations.recording(), torch.no_grad():
        logits = model(**inputs).logits
    results = {"token_ids": token_ids, "length": lengths, "logits": logits}
    for index, drawn in enumerate(rotations.drawn):
        results[f"rotations/{index}"] = drawn
    return {name: np.asarray(array) for name, array in results.items()}


def differentiate(model, weights):
    """Loss and gradients through the reversible layers of the peer."""
    model.load_state_dict(weights)
    model.double().train()
    random = np.random.default_rng(0)
    shape = (BATCH_SIZE, TRAINING_LENGTH)
    token_ids = random.integers(SIZES["vocab_size"], size=shape, dtype="i4")
    rotations = RecordedRotations(seed=0)
    with rotations.recording():
        inputs = torch.from_numpy(token_ids).long()
        loss = model(inputs, labels=inputs).loss
        loss.backward()
    results = {
        "training/token_ids": token_ids,
        "training/loss": loss.item(),
        "training/rotations": rotations.drawn[0].numpy(),
    }
    for name, weight in model.named_parameters():
        results[f"training/gradients/{name}"] = weight.grad.numpy()
    return results


if __name__ == "__main__":
    main(sys.argv[1])
