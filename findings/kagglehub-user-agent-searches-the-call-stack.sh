#!/usr/bin/env bash
# kagglehub: the user agent of each client is found by searching the call stack six times, slowly from a notebook.
#
# Versions:    kagglehub 1.0.3, Python 3.11
# Expectation: a client says who it is by a text that is known when the package is imported.
# Behaviour:   each new client looks for keras_hub, keras_nlp, keras_cv, keras and torchtune among its callers, and then
#              for kagglehub's own loader, by `inspect.stack()` and `inspect.getmodule()`. For a caller whose code is in
#              no file of a module (a cell of a notebook, a function made by exec), each search examines all modules
#              that the process has imported. kagglehub makes a client for each file that it uploads.
# Output seen: 51 callers, 611 modules: 1 client examined 875,802 modules in 941 ms; from a file, 1,866 in 61 ms
#              (the same callers with torch and keras imported, 3,297 modules: 5.0 s; one caller: 0.2 s)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet kagglehub==1.0.3
cat >"$folder/search.py" <<'PYTHON'
import inspect
import sys
import time

from kagglehub import clients

CALLERS = 50
SOURCE = "def nested(count):\n    return clients.get_user_agent() if count == 0 else nested(count - 1)\n"


def nested(count):
    return clients.get_user_agent() if count == 0 else nested(count - 1)


def examined(function):
    """Returns how many modules one client makes Python examine, and how long that takes in milliseconds."""
    count, ismodule = 0, inspect.ismodule

    def counting(thing):
        nonlocal count
        count += 1
        return ismodule(thing)

    function(CALLERS)  # what inspect remembers of files, it knows from now on
    start = time.perf_counter()
    function(CALLERS)
    milliseconds = 1e3 * (time.perf_counter() - start)
    inspect.ismodule = counting
    function(CALLERS)
    inspect.ismodule = ismodule
    return count, milliseconds


cell = {"clients": clients}
exec(compile(SOURCE, "<cell>", "exec"), cell)
from_cell, from_file = examined(cell["nested"]), examined(nested)
print(
    f"{CALLERS + 1} callers, {len(sys.modules)} modules: 1 client examined {from_cell[0]:,} modules in "
    f"{from_cell[1]:.0f} ms; from a file, {from_file[0]:,} in {from_file[1]:.0f} ms"
)
sys.exit(from_cell[0] < 4 * CALLERS * len(sys.modules))
PYTHON
"$folder/venv/bin/python" "$folder/search.py"
