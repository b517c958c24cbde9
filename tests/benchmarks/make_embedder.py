"""Makes an embedder of the size of BERT-base with random weights, and the tokenizer of another one.

python make_embedder.py FOLDER_OF_THE_TOKENIZER FOLDER
"""

import shutil
import sys
from pathlib import Path

from models import MODELS

import vertebra
from vertebra_text import Tokenizer

backbone = vertebra.models.BertBackbone(**MODELS["bert"].arguments, activation="gelu")
embedder = vertebra.models.TextEmbedder(backbone, Tokenizer.from_preset(sys.argv[1]))
embedder.save_to_preset(sys.argv[2], format="sentence-transformers")
shutil.copy(Path(sys.argv[1], "vocab.txt"), sys.argv[2])  # KerasHub reads no tokenizer.json
