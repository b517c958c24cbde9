"""transformers as a child process: loads checkpoints and computes, or makes checkpoints."""

import torch
import transformers
from serving import serve

transformers.utils.logging.disable_progress_bar()

INPUTS = {"token_ids": "input_ids", "segment_ids": "token_type_ids", "padding_mask": "attention_mask"}
OUTPUTS = {"last_hidden_state": "sequence_output", "pooler_output": "pooled_output", "logits": "logits"}


def load(folder, inputs, model="AutoModel", attention=None):
    """Loads a checkpoint in float32; returns its outputs, what loading reports, and the dtype that its config names."""
    loaded, report = getattr(transformers, model).from_pretrained(
        folder, dtype="float32", attn_implementation=attention, output_loading_info=True
    )
    dtype = str(transformers.AutoConfig.from_pretrained(folder).dtype).removeprefix("torch.")
    report = {key: sorted(map(str, found)) for key, found in report.items()}
    return {"outputs": compute(loaded, inputs), "report": report, "dtype": dtype}


def create(folder, inputs, model, config, dtype="float32", max_shard_size="1GB"):
    """Saves a model with random weights; returns the outputs of its base model, computed in float32."""
    torch.manual_seed(0)
    made = getattr(transformers, model)(transformers.AutoConfig.for_model(**config))
    with torch.no_grad():
        for parameter in made.parameters():
            # Added to what normalisations start from; kernels start small.
            values = parameter + 0.2 * torch.randn_like(parameter)
            parameter.copy_(values.to(getattr(torch, dtype)))
    outputs = compute(made.base_model, inputs)
    made.to(getattr(torch, dtype)).save_pretrained(folder, max_shard_size=max_shard_size)
    return {"outputs": outputs}


def activations():
    """Returns the names of all activations that need no parameter of their own."""
    names = {name: transformers.activations.ACT2FN[name] for name in transformers.activations.ACT2CLS}
    return sorted(name for name, function in names.items() if not list(function.parameters()))


def compute(model, inputs):
    named = {INPUTS[name]: torch.tensor(values) for name, values in inputs.items()}
    with torch.no_grad():
        outputs = model.eval()(**named)
    return {ours: outputs[theirs].tolist() for theirs, ours in OUTPUTS.items() if outputs.get(theirs) is not None}


if __name__ == "__main__":
    serve(load=load, create=create, activations=activations)
