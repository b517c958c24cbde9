#!/usr/bin/env bash
# transformers: the attention of Gemma 2 and 3 of 27B, read from a GGUF file, is scaled as in the smaller ones.
#
# Versions:    transformers 5.23.0, gguf 0.19.0, accelerate 1.15.0, torch 2.13.0, Python 3.11
# Expectation: from_pretrained with `gguf_file` gives the outputs of the model that was converted. In GGUF no field has
#              `query_pre_attn_scalar`: llama.cpp takes the width of a head, and, for as many layers as 27B has, the
#              width of the states divided by the number of heads (144 in Gemma 2 27B, 168 in Gemma 3 27B).
# Behaviour:   `query_pre_attn_scalar` is the default of the config, 256, whatever the file says of layers, heads and
#              their widths. This is right for heads of a width of 256. For 27B scores are smaller by a quarter
#              (Gemma 2) or by a fifth (Gemma 3), without a warning. The right number, given as an argument, gives the
#              outputs of the model.
# Output seen: Gemma2: scalar 144 -> 256, logits differ by 0.6 of 2.5; with the argument by 0.0
#              Gemma3: scalar 168 -> 256, logits differ by 0.5 of 3.3; with the argument by 0.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy transformers==5.23.0 gguf==0.19.0 accelerate==1.15.0
"$folder/venv/bin/python" - "$folder" <<'PYTHON' 2> /dev/null
import sys
from pathlib import Path

import gguf
import torch
from transformers import AutoModelForCausalLM, Gemma2Config, Gemma2ForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig

torch.set_grad_enabled(False)
ids = torch.tensor([[5, 6, 7, 8, 9, 10, 11, 12]])
SIZES = {"vocab_size": 32, "intermediate_size": 96, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 128}
OTHERS = {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0, "initializer_range": 0.06}
# Layers, widths of heads and scalars are those of 27B, with 2 heads.
GEMMA_2 = {"num_hidden_layers": 46, "hidden_size": 288, "query_pre_attn_scalar": 144}
GEMMA_3 = {"num_hidden_layers": 62, "hidden_size": 336, "query_pre_attn_scalar": 168}


def write(model, path, arch):
    """Writes the model as llama.cpp's converter does, with the table of names of the package."""
    config = model.config
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[arch])
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_sliding_window(config.sliding_window)
    if arch == gguf.MODEL_ARCH.GEMMA2:
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    else:
        writer.add_rope_freq_base(1e6)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"t{number}" for number in range(config.vocab_size)])
    writer.add_token_types([gguf.TokenType.NORMAL] * config.vocab_size)
    writer.add_token_merges(["t 1"])
    for add in (writer.add_bos_token_id, writer.add_eos_token_id, writer.add_pad_token_id):
        add(0)
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    for theirs, tensor in model.state_dict().items():
        if theirs != "lm_head.weight":  # the embedding
            array = (tensor + 1 if theirs.endswith("norm.weight") else tensor).numpy()
            writer.add_tensor(names.get_name(theirs, try_suffixes=(".weight",)), array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def holds(model_class, config, arch):
    """Returns whether the scalar is lost, and is all that is lost."""
    torch.manual_seed(0)
    model = model_class(config).eval()
    name = model_class.__name__.removesuffix("ForCausalLM")
    path = Path(sys.argv[1], name)
    path.mkdir()
    write(model, path / "model.gguf", arch)
    scalar, expected = config.query_pre_attn_scalar, model(ids).logits
    loaded = AutoModelForCausalLM.from_pretrained(path, gguf_file="model.gguf")
    gap = (loaded(ids).logits - expected).abs().max().item()
    told = AutoModelForCausalLM.from_pretrained(path, gguf_file="model.gguf", query_pre_attn_scalar=scalar)
    rest = (told(ids).logits - expected).abs().max().item()
    found, largest = loaded.config.query_pre_attn_scalar, expected.abs().max().item()
    gaps = f"logits differ by {gap:.1f} of {largest:.1f}; with the argument by {rest:.1f}"
    print(f"{name}: scalar {scalar} -> {found}, {gaps}")
    return found == 256 and gap > 0.1 and rest < 1e-3


second = holds(Gemma2ForCausalLM, Gemma2Config(**SIZES, **OTHERS, **GEMMA_2), gguf.MODEL_ARCH.GEMMA2)
third = holds(Gemma3ForCausalLM, Gemma3TextConfig(**SIZES, **OTHERS, **GEMMA_3), gguf.MODEL_ARCH.GEMMA3)
sys.exit(not (second and third))
PYTHON
