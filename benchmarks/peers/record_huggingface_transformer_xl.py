"""Records transformers' Transformer-XL: log-probabilities, memories, gradients.

Two segments each, the second after what the first left, the first after a
memory of zeros, which the peer attends to. Computed in float64 and rounded, so
that another processor gives the same.
"""

import json
import sys
import warnings
from unittest import mock

import numpy as np
import torch
from recording import write_recording
from transformers import TransfoXLConfig
from transformers import TransfoXLLMHeadModel

BATCH_SIZE = 2
SIZES = {
    "vocab_size": 19,
    "d_model": 12,
    "d_inner": 14,
    "n_layer": 2,
    "n_head": 2,
    # Their product is not the width.
    "d_head": 5,
    "mem_len": 8,
    "dropout": 0.0,
    "dropatt": 0.0,
}
CASES = {
    "window": {
        "cutoffs": [5, 11],
        "d_embed": 8,
        "div_val": 2,
        "tie_projs": [False, True, True],
        "same_length": True,
        # Less than what the window lets a position see.
        "clamp_len": 6,
        "untie_r": True,
    },
    "norm_first": {
        "cutoffs": [5, 11],
        "d_embed": 12,
        "div_val": 1,
        "pre_lnorm": True,
        "same_length": False,
        "clamp_len": -1,
        "untie_r": False,
        "layer_norm_epsilon": 1e-3,
    },
    "one_bin": {
        "cutoffs": [],
        "d_embed": 6,
        "div_val": 1,
        "same_length": True,
        "clamp_len": 0,
        "untie_r": False,
    },
    "one_table": {
        "cutoffs": [5, 11],
        "d_embed": 6,
        "div_val": 1,
        "tie_projs": [False, True, False],
        "same_length": False,
        "clamp_len": 6,
    },
    "untied": {
        "cutoffs": [9],
        "d_embed": 12,
        "div_val": 3,
        "proj_share_all_but_first": False,
        "tie_word_embeddings": False,
        "same_length": False,
        "clamp_len": -1,
    },
}
# Shorter than the memory, and longer.
LENGTHS = (5, 11)
TRAINING_LENGTH = 6


def main(path):
    torch.set_num_threads(1)
    arrays = {}
    for case, options in CASES.items():
        config = TransfoXLConfig(**{**SIZES, **options})
        with warnings.catch_warnings():
            # Of what version 5 will return.
            warnings.simplefilter("ignore", DeprecationWarning)
            model = TransfoXLLMHeadModel(config)
        torch.manual_seed(0)
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
        model.double().eval()
        # The peer masks in float32, whatever it computes in, with what is the
        # least of all only there.
        with mock.patch.object(torch.Tensor, "float", torch.Tensor.double):
            for length in LENGTHS:
                results |= run(model, length)
            if case in ("window", "norm_first"):
                results |= differentiate(model)
        arrays |= {f"{case}/{name}": array for name, array in results.items()}
    write_recording(path, __file__, "huggingface", arrays)


def fill(model):
    """Fills what is not tied, larger than what training begins with."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.normal_(0.0, 0.4)
            if "layer_norm.weight" in name:
                weight += 1.0


def draw(length, seed):
    random = np.random.default_rng(seed)
    shape = (BATCH_SIZE, length)
    return random.integers(SIZES["vocab_size"], size=shape, dtype="i4")


def run(model, length):
    results, mems = {}, None
    for number in range(2):
        token_ids = draw(length, seed=10 * length + number)
        with torch.no_grad():
            outputs = model(torch.from_numpy(token_ids).long(), mems=mems)
        mems = outputs.mems
        results[f"{length}/{number}/token_ids"] = token_ids
        results[f"{length}/{number}/log_probs"] = outputs.logits.numpy()
        # By layers, then by time, as the peer has them.
        results[f"{length}/{number}/mems"] = torch.stack(mems).numpy()
    return results


def differentiate(model):
    """Loss of a second segment, and its gradients."""
    token_ids = [draw(TRAINING_LENGTH, seed=number) for number in range(2)]
    first, second = (torch.from_numpy(ids).long() for ids in token_ids)
    loss = model(second, mems=model(first).mems, labels=second).loss
    loss.backward()
    results = {
        "training/token_ids": np.stack(token_ids),
        "training/loss": loss.item(),
    }
    for name, weight in model.named_parameters():
        results[f"training/gradients/{name}"] = weight.grad.numpy()
    return results


if __name__ == "__main__":
    main(sys.argv[1])
