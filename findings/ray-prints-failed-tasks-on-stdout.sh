#!/usr/bin/env bash
# ray: with log_to_driver=False, the report of a task whose actor was killed is printed to the standard output.
#
# Versions:    ray 2.60.0, Python 3.11
# Expectation: with log_to_driver=False and logging_level="ERROR", the standard output of a program is its own, such as
#              one JSON document; reports of retries go to the log or to stderr.
# Behaviour:   a thread of the driver prints "(raylet) Task … failed. There are 1 retries remaining" to sys.stdout.
# Output seen: 1 line with a report on stdout, 0 on stderr
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet ray==2.60.0
cat > "$folder/driver.py" <<'PYTHON'
import json
import os
import time

import ray

ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")


@ray.remote(max_restarts=1, max_task_retries=1)
class Worker:
    def answer(self, marker):
        if not os.path.exists(marker):
            open(marker, "w").close()
            os.kill(os.getpid(), 9)
        return 1


answer = ray.get(Worker.remote().answer.remote(os.environ["MARKER"]))
time.sleep(3)
print(json.dumps({"answer": answer}))
PYTHON
MARKER="$folder/marker" RAY_USAGE_STATS_ENABLED=0 "$folder/venv/bin/python" "$folder/driver.py" \
    > "$folder/out" 2> "$folder/err"
lines() { grep -c "retries remaining" "$1" || true; }
echo "$(lines "$folder/out") line with a report on stdout, $(lines "$folder/err") on stderr" | tee "$folder/seen"
grep -q '{"answer": 1}' "$folder/out"
grep -q "^1 line with a report on stdout, 0 on stderr" "$folder/seen"
