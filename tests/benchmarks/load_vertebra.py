"""One load in one process: prints its seconds, and the growth of peak memory in megabytes."""

import json
import sys
import time
from pathlib import Path

import vertebra

runtime, preset = sys.argv[1:3]
vertebra.use(runtime)
backbone_class = vertebra.models.BertBackbone


def peak_mb():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


Path("/proc/self/clear_refs").write_text("5")  # starts the peak anew, from what is resident now
before = peak_mb()
start = time.perf_counter()
backbone = backbone_class.from_preset(preset)
seconds = time.perf_counter() - start
print(json.dumps({"load_s": seconds, "new_mb": peak_mb() - before, "weights_mb": 4 * backbone.count_params() / 2**20}))
