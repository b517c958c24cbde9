#!/usr/bin/env bash
# transformers: Gemma 3 has `attn_logit_softcapping` in its config, and computes without it; Gemma 2 caps.
#
# Versions:    transformers 5.23.0, torch 2.13.0, Python 3.11
# Expectation: the field is documented as "scaling factor when applying tanh softcapping on the attention scores", as
#              for Gemma 2, so that a config that has it caps the scores in Gemma 3, too.
# Behaviour:   each attention layer of Gemma 3 keeps the number, and its eager attention has an argument for it, which
#              no call passes: outputs are the same to the bit with 0.5 and with None, whichever attention is chosen.
#              `final_logit_softcapping`, the field next to it, is applied. There is no warning.
# Output seen: Gemma2 eager: outputs with 0.5 and with None differ by 1.2
#              Gemma3 eager: outputs with 0.5 and with None differ by 0.0
#              Gemma3 sdpa: outputs with 0.5 and with None differ by 0.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy transformers==5.23.0
"$folder/venv/bin/python" - <<'PYTHON' 2> /dev/null
import sys

import torch
from transformers import Gemma2Config, Gemma2Model, Gemma3TextConfig, Gemma3TextModel

torch.set_grad_enabled(False)
ids = torch.tensor([[5, 6, 7, 8, 9, 10]])
SIZES = {"vocab_size": 30, "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48, "head_dim": 16}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 2, "query_pre_attn_scalar": 16, "initializer_range": 0.5}


def gap(model_class, config_class, attention):
    """Returns how far the outputs with a soft cap are from those without one, with the same weights."""
    outputs = []
    for cap in (0.5, None):
        torch.manual_seed(0)
        config = config_class(
            **SIZES, **HEADS, pad_token_id=0, attn_logit_softcapping=cap, attn_implementation=attention
        )
        outputs.append(model_class(config).eval()(ids).last_hidden_state)
    found = (outputs[0] - outputs[1]).abs().max().item()
    name = model_class.__name__.removesuffix("Model").removesuffix("Text")
    print(f"{name} {attention}: outputs with 0.5 and with None differ by {found:.1f}")
    return found


of_second = gap(Gemma2Model, Gemma2Config, "eager")
of_third = [gap(Gemma3TextModel, Gemma3TextConfig, attention) for attention in ("eager", "sdpa")]
sys.exit(not (of_second > 0.1 and of_third == [0, 0]))
PYTHON
