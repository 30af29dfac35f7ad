"""Translation by Hugging Face's Marian model, with its cache."""

import importlib.metadata

import answering
import torch


def prepare(case, sizes):
    """Translates a batch of random sources, to the last token allowed."""
    model = build(sizes)
    generator = torch.Generator().manual_seed(0)
    shape = (sizes["batch_size"], sizes["source_length"] + 1)
    input_ids = torch.randint(
        5, sizes["vocabulary_size"], shape, generator=generator
    )
    attention_mask = torch.ones_like(input_ids)

    @torch.inference_mode()
    def call():
        found = model.generate(
            input_ids=input_ids,
            attention_mask=attention_mask,
            num_beams=sizes["num_beams"],
            do_sample=False,
            length_penalty=0.6,
            min_new_tokens=sizes["length"],
            max_new_tokens=sizes["length"],
        )
        return found.numpy()

    # The token that it starts with, and those that it wrote.
    if call().shape[1] != 1 + sizes["length"]:
        raise ValueError("an end came: some work would be left out")
    versions = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "transformers": importlib.metadata.version("transformers"),
    }
    return call, versions


def build(sizes):
    """A model of random weights."""
    from transformers import MarianConfig
    from transformers import MarianMTModel

    torch.manual_seed(0)
    config = MarianConfig(
        vocab_size=sizes["vocabulary_size"],
        d_model=sizes["hidden_dim"],
        encoder_layers=sizes["num_layers"],
        decoder_layers=sizes["num_layers"],
        encoder_attention_heads=sizes["num_heads"],
        decoder_attention_heads=sizes["num_heads"],
        encoder_ffn_dim=sizes["intermediate_dim"],
        decoder_ffn_dim=sizes["intermediate_dim"],
        activation_function="relu",
        dropout=0.0,
        scale_embedding=True,
        max_position_embeddings=512,
        pad_token_id=0,
        eos_token_id=3,
        forced_eos_token_id=None,
        decoder_start_token_id=2,
    )
    return MarianMTModel(config).eval()


if __name__ == "__main__":
    answering.answer(prepare)
