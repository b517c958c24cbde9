"""KerasHub's tasks in a child process: created with a vocabulary, saved, loaded, and their outputs for raw texts."""

import warnings

import keras_hub
import numpy as np
from serving import serve

models = keras_hub.models


def create(folder, architecture, task, vocabulary, config, texts, length=24, **options):
    """Saves a task with random weights; returns its outputs."""
    tokenizer = getattr(models, f"{architecture}Tokenizer")(vocabulary)
    preprocessor = getattr(models, f"{architecture}{task}Preprocessor")(tokenizer, sequence_length=length)
    backbone = getattr(models, f"{architecture}Backbone")(**config)
    made = getattr(models, f"{architecture}{task}")(backbone, preprocessor=preprocessor, **options)
    draws = np.random.default_rng(0)
    for variable in made.trainable_weights:
        start = 1 if variable.path.endswith("gamma") else 0
        variable.assign(start + 0.2 * draws.standard_normal(variable.shape))
    made.save_to_preset(folder)
    return outputs(made, task, texts)


def create_causal(folder, architecture, tokenizer, config, texts, length=48):
    """Saves a causal language model with random weights; returns its outputs.

    `tokenizer` has the arguments of the tokenizer: paths of files, by name.
    """
    made_tokenizer = getattr(models, f"{architecture}Tokenizer")(**tokenizer)
    preprocessor = getattr(models, f"{architecture}CausalLMPreprocessor")(made_tokenizer, sequence_length=length)
    backbone = getattr(models, f"{architecture}Backbone")(**config)
    made = getattr(models, f"{architecture}CausalLM")(backbone=backbone, preprocessor=preprocessor)
    draws = np.random.default_rng(0)
    for variable in made.trainable_weights:
        variable.assign(variable + 0.2 * draws.standard_normal(variable.shape))
    made.save_to_preset(folder)
    return outputs(made, "CausalLM", texts)


def load(folder, task, texts):
    """Loads a task; returns its outputs."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = getattr(models, task).from_preset(folder)
    return outputs(made, task, texts)


def generate(folder, rows, length):
    """Loads a causal language model; returns the greedy tokens of prompts and answers, all of a length."""
    made = models.CausalLM.from_preset(folder, preprocessor=None)
    made.compile(sampler="greedy")
    inputs = {
        "token_ids": np.array([row + [0] * (length - len(row)) for row in rows]),
        "padding_mask": np.array([[1] * len(row) + [0] * (length - len(row)) for row in rows]),
    }
    return np.asarray(made.generate(inputs, stop_token_ids=None)["token_ids"]).tolist()


def save_again(folder, task, target):
    """Loads a task and saves it."""
    getattr(models, task).from_preset(folder).save_to_preset(target)


def outputs(made, task, texts):
    """Returns the outputs for texts; those of a masked language model are for ids, at the second and third token."""
    if task == "CausalLM":
        x, y, weights = made.preprocessor(texts)
        made.preprocessor = None
        arrays = {name: np.asarray(array).tolist() for name, array in (x | {"labels": y, "weights": weights}).items()}
        return {"inputs": arrays, "outputs": made.predict(x, verbose=0).tolist()}
    if not task.endswith("MaskedLM"):
        return made.predict(tuple(texts) if isinstance(texts[0], list) else texts, verbose=0).tolist()
    ids = made.preprocessor.tokenizer(texts)
    rows = [[2, *list(map(int, row))[:6], 3] for row in ids]
    length = max(map(len, rows))
    inputs = {
        "token_ids": np.array([row + [0] * (length - len(row)) for row in rows]),
        "padding_mask": np.array([[1] * len(row) + [0] * (length - len(row)) for row in rows]),
        "mask_positions": np.array([[1, 2]] * len(rows)),
    }
    if "segment_ids" in made.input:
        inputs["segment_ids"] = np.zeros_like(inputs["token_ids"])
    made.preprocessor = None
    return {
        "inputs": {name: array.tolist() for name, array in inputs.items()},
        "outputs": made.predict(inputs, verbose=0).tolist(),
    }


if __name__ == "__main__":
    serve(create=create, create_causal=create_causal, load=load, generate=generate, save_again=save_again)
