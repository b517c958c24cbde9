"""KerasHub in a child process: loads or creates presets and adapters, and computes outputs."""

import h5py
import keras
import keras_hub
import numpy as np
from serving import serve


def load(folder, inputs):
    """Loads a preset in float32; returns its outputs and its config."""
    backbone = keras_hub.models.Backbone.from_preset(folder, dtype="float32")
    return {"outputs": compute(backbone, inputs), "config": backbone.get_config()}


def create(folder, inputs, model, config, dtype="float32", max_shard_size=10):
    """Saves a backbone with random weights; returns its outputs, computed in float32."""
    kind = getattr(keras_hub.models, model)
    made, twin = kind(**config, dtype=dtype), kind(**config, dtype="float32")
    draws = np.random.default_rng(0)
    for variable, copy in zip(made.weights, twin.weights, strict=True):
        if variable.path.endswith("inv_freq"):
            continue  # a constant of SmolLM3
        start = 1 if variable.path.endswith("gamma") else 0
        variable.assign(start + 0.2 * draws.standard_normal(variable.shape))
        copy.assign(keras.ops.cast(variable, "float32"))
    made.save_to_preset(folder, max_shard_size=max_shard_size)
    return {"outputs": compute(twin, inputs)}


def adapt(folder, inputs, adapter, targets=None):
    """Loads an adapter on a preset; returns its outputs and how many parameters it has."""
    backbone = keras_hub.models.Backbone.from_preset(folder, dtype="float32")
    with h5py.File(adapter) as file:
        backbone.enable_lora(int(file["lora/vars/rank"][()]), targets)
    backbone.load_lora_weights(adapter)
    return {"outputs": compute(backbone, inputs), "added": count(matrices(backbone))}


def make_adapter(folder, inputs, adapter, rank, targets=None):
    """Saves an adapter with random values for a preset; returns its outputs and how many parameters it has."""
    backbone = keras_hub.models.Backbone.from_preset(folder, dtype="float32")
    backbone.enable_lora(rank, targets)
    draws = np.random.default_rng(0)
    for variable in matrices(backbone):
        variable.assign(0.2 * draws.standard_normal(variable.shape))
    backbone.save_lora_weights(adapter)
    return {"outputs": compute(backbone, inputs), "added": count(matrices(backbone))}


def create_task(folder, config, words):
    """Saves a classifier with random weights, its preprocessor and its tokenizer."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    tokenizer = keras_hub.models.BertTokenizer(vocabulary)
    preprocessor = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=8)
    backbone = keras_hub.models.BertBackbone(**config)
    task = keras_hub.models.BertTextClassifier(backbone, num_classes=3, preprocessor=preprocessor, dropout=0.25)
    draws = np.random.default_rng(0)
    for variable in task.weights:
        variable.assign(0.2 * draws.standard_normal(variable.shape))
    task.save_to_preset(folder)


def classify(folder, texts):
    """Returns the logits of a classifier for texts, and settings of the classifier."""
    task = keras_hub.models.TextClassifier.from_preset(folder)
    inputs = keras.tree.map_structure(np.array, task.preprocessor(texts))
    logits = keras.ops.convert_to_numpy(task(inputs, training=False))
    return {"kind": type(task).__name__, "logits": logits.tolist(), "dropout": task.get_config()["dropout"]}


def names(model, config):
    """Returns the public names that KerasHub adds to those of `keras.Model`: of a class and of its backbones."""
    kind = getattr(keras_hub.models, model)
    own = set(dir(kind)) - set(dir(keras.Model))
    found = own if not config else {*own, *vars(kind(**config))}
    return sorted(name for name in found if not name.startswith("_"))


def matrices(backbone):
    """Returns the adapter's variables; biases of its layers are trained, too, but not saved."""
    return [variable for variable in backbone.trainable_weights if "lora_kernel" in variable.name]


def count(variables):
    return int(sum(np.prod(variable.shape) for variable in variables))


def compute(backbone, inputs):
    arrays = {name: np.array(values, "float32" if name == "images" else "int32") for name, values in inputs.items()}
    outputs = backbone(arrays["images"] if isinstance(backbone.input, keras.KerasTensor) else arrays, training=False)
    if "images" in arrays:
        return {"sequence_output": keras.ops.convert_to_numpy(outputs).tolist()}
    if not isinstance(outputs, dict):
        outputs = {"sequence_output": outputs, "logits": backbone.token_embedding(outputs, reverse=True)}
    return {name: keras.ops.convert_to_numpy(array).tolist() for name, array in outputs.items()}


if __name__ == "__main__":
    serve(
        load=load,
        create=create,
        adapt=adapt,
        make_adapter=make_adapter,
        create_task=create_task,
        classify=classify,
        names=names,
    )
