#!/usr/bin/env bash
# KerasHub: a RoBERTa checkpoint of transformers is loaded without its token type embedding; XLM-RoBERTa keeps it.
#
# Versions:    keras-hub 0.32.0, keras 3.15.1, transformers 5.23.0, torch 2.13.0, Python 3.11
# Expectation: RobertaBackbone.from_preset of a checkpoint of transformers gives its outputs. RoBERTa has one token
#              type, whose row is added to each embedding; the backbone has no table for it, so another one takes it.
# Behaviour:   the row is dropped, without an error or a warning: outputs are those of a checkpoint with zeros there.
#              XLMRobertaBackbone, of the same architecture, adds the row to the positions.
# Output seen: RobertaBackbone: outputs differ by 2.4; with a row of zeros by 0.0
#              XLMRobertaBackbone: outputs differ by 0.0; with a row of zeros by 1.4
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 torch==2.13.0 transformers==5.23.0 packaging regex rich kagglehub tokenizers sentencepiece
"$folder/venv/bin/pip" install --quiet --no-deps keras-hub==0.32.0
KERAS_BACKEND=torch "$folder/venv/bin/python" - "$folder" <<'PYTHON' 2> /dev/null
import sys
from pathlib import Path

import torch
from keras_hub.models import RobertaBackbone, XLMRobertaBackbone
from transformers import RobertaConfig, RobertaForMaskedLM, XLMRobertaConfig, XLMRobertaModel

torch.set_grad_enabled(False)
sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
ids = torch.tensor([[0, 5, 6, 7, 2]])


def gaps(backbone_class, model, encoder):
    """Returns how far the loaded backbone is from the model, and from the model with zeros as token type embedding."""
    path = Path(sys.argv[1], backbone_class.__name__)
    model.eval().save_pretrained(path)
    outputs = backbone_class.from_preset(str(path))({"token_ids": ids, "padding_mask": torch.ones_like(ids)})
    found = []
    for _ in range(2):
        found.append(round((encoder(ids).last_hidden_state - outputs).abs().max().item(), 1))
        encoder.embeddings.token_type_embeddings.weight.zero_()
    print(f"{backbone_class.__name__}: outputs differ by {found[0]}; with a row of zeros by {found[1]}")
    return found


torch.manual_seed(0)
options = {"vocab_size": 30, "max_position_embeddings": 20, "initializer_range": 0.5, **sizes}
roberta = RobertaForMaskedLM(RobertaConfig(**options))
of_roberta = gaps(RobertaBackbone, roberta, roberta.roberta)
torch.manual_seed(0)
xlm = XLMRobertaModel(XLMRobertaConfig(**options))
of_xlm = gaps(XLMRobertaBackbone, xlm, xlm)
sys.exit(not (of_roberta[0] > 1 and of_roberta[1] == of_xlm[0] == 0 and of_xlm[1] > 1))
PYTHON
