"""The same load in KerasHub; with `make`, writes the preset that both peers load first."""

import json
import os
import sys
import time
from pathlib import Path

action, runtime, preset = sys.argv[1:4]
os.environ["KERAS_BACKEND"] = runtime
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras_hub  # noqa: E402


def peak_mb():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


if action == "make":
    keras_hub.models.BertBackbone(30522, 12, 12, 768, 3072).save_to_preset(preset)
else:
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_mb()
    start = time.perf_counter()
    keras_hub.models.BertBackbone.from_preset(preset)
    seconds = time.perf_counter() - start
    print(json.dumps({"load_s": seconds, "new_mb": peak_mb() - before}))
