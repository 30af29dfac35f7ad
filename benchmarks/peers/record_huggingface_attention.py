"""Records transformers' attention layers of the Reformer: outputs, gradients.

Computed in float64 and rounded, so that another processor gives the same; but
several hash rounds in float32, as the peer is used: where a token sees nothing
but itself, that rounds how the rounds are combined to some thousandths.
"""

import sys

import numpy as np
import torch
from huggingface_rotations import RecordedRotations
from recording import write_recording
from transformers import ReformerConfig
from transformers.models.reformer import modeling_reformer

BATCH_SIZE, DIM, NUM_HEADS, KEY_DIM = 3, 8, 2, 3
CHUNK_LENGTH, LENGTH = 4, 16
MASKS = {
    "all": np.arange(LENGTH) < np.array([[LENGTH], [LENGTH], [LENGTH]]),
    "right": np.arange(LENGTH) < np.array([[LENGTH], [13], [3]]),
    "left": np.arange(LENGTH) >= np.array([[0], [3], [13]]),
    # Ends within a chunk, in all rows.
    "odd": np.arange(LENGTH) < np.array([[14], [14], [14]]),
    "middle": np.stack(
        [
            np.isin(np.arange(LENGTH), hidden, invert=True)
            for hidden in ([5], [3, 4, 5, 6, 7, 8], [0, 9, 15])
        ]
    ),
}
# Chunks before and after, whether causal, and the mask.
COMMON = {
    "causal": (1, 0, True, "all"),
    "causal_right": (1, 0, True, "right"),
    "causal_left": (1, 0, True, "left"),
    "causal_odd": (1, 0, True, "odd"),
    "causal_wide": (2, 0, True, "middle"),
    # Each chunk sees itself twice, where there is but one round.
    "causal_wide_as_all": (4, 0, True, "right"),
    "causal_narrow": (0, 0, True, "all"),
    "both_ways": (1, 0, False, "all"),
    "both_ways_right": (1, 1, False, "right"),
    "both_ways_left": (1, 1, False, "left"),
    "both_ways_odd": (1, 1, False, "odd"),
    "both_ways_middle": (0, 1, False, "middle"),
}
# Hash rounds and buckets.
HASHES = {
    "one": (1, 4),
    "two": (2, [2, 4]),
    "four": (4, 6),
}
# Not with every number of rounds: the recording would be a large file.
WITH_ALL_HASHES = ("causal_right", "both_ways_left")


def main(path):
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    shape = (BATCH_SIZE, LENGTH, DIM)
    arrays = {
        "inputs": random.normal(size=shape),
        "upstream": random.normal(size=shape),
        "weights/query_key": random.normal(size=(NUM_HEADS * KEY_DIM, DIM)),
        "weights/query": random.normal(size=(NUM_HEADS * KEY_DIM, DIM)),
        "weights/key": random.normal(size=(NUM_HEADS * KEY_DIM, DIM)),
        "weights/value": random.normal(size=(NUM_HEADS * KEY_DIM, DIM)),
        "weights/output": random.normal(size=(DIM, NUM_HEADS * KEY_DIM)),
    }
    # What is recorded is what is computed with.
    arrays = {name: array.astype("float32") for name, array in arrays.items()}
    arrays |= {f"masks/{name}": mask for name, mask in MASKS.items()}
    results = {}
    for case, options in COMMON.items():
        results[f"local/{case}"] = run(arrays, "local", *options)
        for hashes, (num_hashes, num_buckets) in HASHES.items():
            if hashes == "two" or case in WITH_ALL_HASHES:
                results[f"lsh/{hashes}/{case}"] = run(
                    arrays, "lsh", *options, num_hashes, num_buckets
                )
    # One chunk, which all is attended to in.
    for kind in ("local", "lsh"):
        for mask in ("all", "right"):
            results[f"{kind}/short_{mask}"] = run(
                arrays, kind, 1, 0, True, mask, chunk_length=LENGTH
            )
    for case, result in results.items():
        arrays |= {f"{case}/{name}": array for name, array in result.items()}
    write_recording(path, __file__, "huggingface", arrays)


def run(
    arrays,
    kind,
    before,
    after,
    causal,
    mask,
    num_hashes=1,
    num_buckets=4,
    chunk_length=CHUNK_LENGTH,
):
    config = ReformerConfig(
        hidden_size=DIM,
        num_attention_heads=NUM_HEADS,
        attention_head_size=KEY_DIM,
        attn_layers=[kind],
        is_decoder=causal,
        num_hashes=num_hashes,
        num_buckets=num_buckets,
        local_attention_probs_dropout_prob=0.0,
        hidden_dropout_prob=0.0,
        **{
            f"{kind}_attn_chunk_length": chunk_length,
            f"{kind}_num_chunks_before": before,
            f"{kind}_num_chunks_after": after,
        },
    )
    attention = modeling_reformer.ReformerAttention(config)
    # Without its normalization.
    attention.layer_norm = torch.nn.Identity()
    weights = dict(attention.self_attention.named_parameters())
    weights = {name.split(".")[0]: weight for name, weight in weights.items()}
    weights["output"] = attention.output.dense.weight
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(torch.from_numpy(arrays[f"weights/{name}"]))
    # All together, as the model does it, and not by a mask that hides nothing.
    masks = {} if mask == "all" else {"attention_mask": MASKS[mask]}
    masks = {name: torch.from_numpy(array) for name, array in masks.items()}

    precision = torch.float32 if num_hashes > 1 else torch.float64
    attention.to(precision)
    inputs = torch.from_numpy(arrays["inputs"]).to(precision).requires_grad_()
    rotations = RecordedRotations(seed=0)
    with rotations.recording():
        outputs = attention(inputs, **masks)
    outputs.hidden_states.backward(
        # What is hidden is neither input nor output.
        torch.from_numpy(arrays["upstream"] * MASKS[mask][..., None]).to(
            precision
        )
    )
    results = {
        "outputs": outputs.hidden_states.detach(),
        "gradients/inputs": inputs.grad,
    }
    for name, weight in weights.items():
        results[f"gradients/{name}"] = weight.grad
    if rotations.drawn:
        results["rotations"] = rotations.drawn[0]
        results["buckets"] = outputs.buckets.int()
    return {name: tensor.numpy() for name, tensor in results.items()}


if __name__ == "__main__":
    main(sys.argv[1])
