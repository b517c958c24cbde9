"""One conversion in one process: prints, as JSON, what it takes once everything is imported.

usage: convert.py SOURCE TARGET FORMAT
"""

import json
import sys

from models import MODELS
from usage import measured

import vertebra

source, target, format = sys.argv[1:]
vertebra.use("torch")

import h5py  # noqa: E402, F401

from vertebra._presets.convert import convert_preset  # noqa: E402

for model in MODELS.values():
    getattr(vertebra.models, model.backbone)

with measured() as figures:
    convert_preset(source, target, format)
print(json.dumps(figures))
