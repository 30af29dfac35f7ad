"""Evaluation by Hugging Face's Transformer-XL, with a memory or a window."""

import importlib.metadata
import warnings

import answering
import evaluation_inputs
import torch


def prepare(case, sizes):
    """Evaluates the next segment of a stream, or a window."""
    model = build(sizes)
    method = {"hidden": _memory, "window": _window}[sizes["method"]]
    evaluate = method(model)
    if sizes.get("compiled"):
        evaluate = method(torch.compile(model, dynamic=False))
    call, facts = evaluation_inputs.prepare_evaluation(
        evaluate,
        case,
        sizes,
        sum(parameter.numel() for parameter in model.parameters()),
    )
    versions = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "transformers": importlib.metadata.version("transformers"),
    }
    return call, {**versions, **facts}


def build(sizes):
    """The model, with the weights that all have."""
    from transformers import TransfoXLConfig
    from transformers import TransfoXLLMHeadModel

    heads = sizes["num_heads"]
    is_window = sizes["method"] == "window"
    with warnings.catch_warnings():
        # That the order of its outputs may change.
        warnings.simplefilter("ignore", DeprecationWarning)
        config = TransfoXLConfig(
            vocab_size=sizes["vocabulary_size"],
            cutoffs=[],
            div_val=1,
            n_layer=sizes["num_layers"],
            d_model=sizes["hidden_dim"],
            d_embed=sizes["hidden_dim"],
            n_head=heads,
            d_head=sizes["hidden_dim"] // heads,
            d_inner=sizes["intermediate_dim"],
            untie_r=False,
            clamp_len=sizes["clamp_length"],
            mem_len=0 if is_window else sizes["memory_length"],
            # Without a memory it would mask everything, and what is masked
            # everywhere is seen everywhere.
            same_length=not is_window,
            dropout=0.0,
            dropatt=0.0,
        )
        model = TransfoXLLMHeadModel(config).eval()
    _assign(model, evaluation_inputs.evaluation_weights(sizes))
    return model


def _assign(model, weights):
    # Linear layers keep their kernels transposed.
    transformer = model.transformer
    pairs = [
        (transformer.word_emb.emb_layers[0].weight, weights["embedding"]),
        (model.crit.out_layers[0].weight, weights["embedding"]),
        (model.crit.out_layers[0].bias, 0),
        (transformer.r_w_bias, weights["content_bias"]),
        (transformer.r_r_bias, weights["position_bias"]),
    ]
    for index, layer in enumerate(transformer.layers):
        attention, core = layer.dec_attn, layer.pos_ff.CoreNet
        kernels = {
            name: torch.from_numpy(weights[name][index]).T
            for name in ("query", "key", "value", "position", "output")
            + ("widen", "narrow")
        }
        query_key_value = torch.cat(
            [kernels[name] for name in ("query", "key", "value")]
        )
        pairs += [
            (attention.qkv_net.weight, query_key_value),
            (attention.r_net.weight, kernels["position"]),
            (attention.o_net.weight, kernels["output"]),
            (core[0].weight, kernels["widen"]),
            (core[0].bias, 0),
            (core[3].weight, kernels["narrow"]),
            (core[3].bias, 0),
            *(
                (norm.weight, 1)
                for norm in (attention.layer_norm, layer.pos_ff.layer_norm)
            ),
            *(
                (norm.bias, 0)
                for norm in (attention.layer_norm, layer.pos_ff.layer_norm)
            ),
        ]
    with torch.no_grad():
        for parameter, value in pairs:
            parameter.copy_(torch.as_tensor(value))


def _memory(model):
    memory = None

    @torch.inference_mode()
    def evaluate(token_ids, target_ids):
        nonlocal memory
        outputs = model(torch.from_numpy(token_ids).long(), mems=memory)
        memory = outputs.mems
        return _losses(outputs.prediction_scores, target_ids)

    return evaluate


def _window(model):
    @torch.inference_mode()
    def evaluate(token_ids, target_ids):
        hidden = model.transformer(torch.from_numpy(token_ids).long())[0]
        # Of the last position alone.
        log_probs = model.crit(hidden[:, -1:])
        return _losses(log_probs[None], target_ids[:, -1:])

    return evaluate


def _losses(log_probs, target_ids):
    targets = torch.from_numpy(target_ids).long()[..., None]
    return -log_probs.gather(-1, targets).numpy()


if __name__ == "__main__":
    answering.answer(prepare)
