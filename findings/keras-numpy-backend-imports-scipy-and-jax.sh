#!/usr/bin/env bash
# Keras: its NumPy backend cannot be imported with NumPy alone: it imports SciPy and JAX, which Keras does not install.
#
# Versions:    keras 3.15.1, jax 0.10.2, scipy 1.17.1, Python 3.11
# Expectation: KERAS_BACKEND=numpy needs numpy, as KERAS_BACKEND=jax needs jax.
# Behaviour:   importing keras fails for want of SciPy, and then for want of JAX; with both it works.
# Output seen: numpy: No module named 'scipy'
#              numpy and scipy: No module named 'jax'
#              numpy, scipy and jax: numpy
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1
cat > "$folder/import.py" <<'PYTHON'
try:
    import keras

    print(keras.backend.backend())
except ImportError as error:
    print(error)
PYTHON
run() { echo "$1: $(KERAS_BACKEND=numpy "$folder/venv/bin/python" "$folder/import.py")" | tee -a "$folder/seen"; }
run "numpy"
"$folder/venv/bin/pip" install --quiet scipy==1.17.1
run "numpy and scipy"
"$folder/venv/bin/pip" install --quiet jax==0.10.2 jaxlib==0.10.2
run "numpy, scipy and jax"
grep -q "^numpy: No module named 'scipy" "$folder/seen"
grep -q "^numpy and scipy: No module named 'jax" "$folder/seen"
grep -q "^numpy, scipy and jax: numpy$" "$folder/seen"
