"""transformers, PEFT and Sentence Transformers in a child process: load or create files, and compute outputs."""

import json
import warnings
from pathlib import Path

import huggingface_hub
import peft
import safetensors.torch
import torch
import transformers
from serving import serve

transformers.utils.logging.disable_progress_bar()

INPUTS = {"token_ids": "input_ids", "segment_ids": "token_type_ids", "padding_mask": "attention_mask"}
INPUTS["pixels"] = "pixel_values"
OUTPUTS = {"last_hidden_state": "sequence_output", "pooler_output": "pooled_output", "logits": "logits"}


def load(folder, inputs, model="AutoModel", attention=None, call=None):
    """Loads a checkpoint in float32; returns its outputs, the loading report, and the dtype in its config.

    `call` are further arguments of the call.
    """
    loaded, report = getattr(transformers, model).from_pretrained(
        folder, dtype="float32", attn_implementation=attention, output_loading_info=True
    )
    dtype = str(transformers.AutoConfig.from_pretrained(folder).dtype).removeprefix("torch.")
    report = {key: sorted(map(str, found)) for key, found in report.items()}
    return {"outputs": compute(loaded, inputs, call), "report": report, "dtype": dtype}


def load_gguf(folder, file, inputs, config):
    """Loads a GGUF file in float32, with fields of the config that it has and transformers ignores."""
    loaded = transformers.AutoModel.from_pretrained(folder, gguf_file=file, dtype=torch.float32, **config)
    return {"outputs": compute(loaded, inputs), "model_type": loaded.config.model_type}


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


def create_wrapped(folder, inputs, model, config, way):
    """Saves the weights of a model in one of the ways of `_WAYS`; returns the outputs of its base model."""
    torch.manual_seed(0)
    made = getattr(transformers, model)(transformers.AutoConfig.for_model(**config))
    outputs = compute(made.base_model, inputs)
    made.config.save_pretrained(folder)
    _WAYS[way](made, Path(folder))
    return {"outputs": outputs}


def _save_model(made, folder):
    safetensors.torch.save_model(made, folder / "model.safetensors", {"format": "pt"})


def _save_compiled_layer(made, folder):
    layers = next(module for module in made.base_model.modules() if isinstance(module, torch.nn.ModuleList))
    layers[0] = torch.compile(layers[0])
    _save_model(made, folder)


def _save_distributed(made, folder):
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=0, world_size=1)
    try:
        _save_model(torch.nn.parallel.DistributedDataParallel(made), folder)
    finally:
        torch.distributed.destroy_process_group()


def _save_attribute(made, folder):
    task = torch.nn.Module()
    task.encoder, task.classifier = made.base_model, torch.nn.Linear(16, 3)
    _save_model(task, folder)


def _save_training_run(made, folder):
    optimizer = torch.optim.AdamW(made.parameters(), lr=0.0)
    made(torch.ones(1, 3, dtype=torch.long))[0].sum().backward()
    optimizer.step()
    state = {"epoch": 1, "state_dict": torch.compile(made).state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(state | {"rng_state": torch.get_rng_state()}, folder / "checkpoint.pt")


def _save_pickled_shards(made, folder):
    state = made.state_dict()
    names = [f"pytorch_model-0000{number}-of-00002.bin" for number in (1, 2)]
    weight_map = {name: names[number % 2] for number, name in enumerate(state)}
    for name in names:
        torch.save({key: state[key] for key in state if weight_map[key] == name}, folder / name)
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


_WAYS = {
    "save_model": _save_model,
    "compiled": lambda made, folder: _save_model(torch.compile(made), folder),
    "compiled layer": _save_compiled_layer,
    "distributed": _save_distributed,
    "attribute": _save_attribute,
    "shards of the hub": lambda made, folder: huggingface_hub.save_torch_model(made, folder, max_shard_size="6KB"),
    "adapter": lambda made, folder: _save_model(peft.get_peft_model(made, peft.LoraConfig()), folder),
    "pickle": lambda made, folder: torch.save(made.state_dict(), folder / "pytorch_model.bin"),
    "pickle in bfloat16": lambda made, folder: torch.save(made.bfloat16().state_dict(), folder / "pytorch_model.bin"),
    "pickle of torch 1.5": lambda made, folder: torch.save(
        made.state_dict(), folder / "pytorch_model.bin", _use_new_zipfile_serialization=False
    ),
    "pickle of a training run": _save_training_run,
    "pickled shards": _save_pickled_shards,
}


def adapt(folder, inputs, adapter, attention=None, model="AutoModel"):
    """Loads an adapter on a checkpoint; returns its outputs, PEFT's warnings, and its number of parameters."""
    base = getattr(transformers, model).from_pretrained(folder, dtype="float32", attn_implementation=attention)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = peft.PeftModel.from_pretrained(base, adapter)
        tensors = peft.utils.load_peft_weights(adapter)
        unexpected = peft.set_peft_model_state_dict(model, tensors).unexpected_keys
    said = [str(warning.message) for warning in caught if warning.category is not FutureWarning]  # of another version
    return {"outputs": compute(model, inputs), "complaints": said + unexpected} | count(model)


def left_out(folder, adapter, model="AutoModel"):
    """Loads an adapter on a checkpoint; returns the names of the tensors for which PEFT has no parameter, or its error.

    The names are those in the file, without `.weight`, which PEFT adds to some.
    """
    base = getattr(transformers, model).from_pretrained(folder, dtype="float32")
    loaded = peft.PeftModel(base, peft.PeftConfig.from_pretrained(adapter))
    try:
        result = peft.set_peft_model_state_dict(loaded, peft.utils.load_peft_weights(adapter))
    except RuntimeError as error:
        return {"error": str(error), "names": []}
    return {"error": "", "names": sorted(name.replace(".default", "") for name in result.unexpected_keys)}


def adapt_alone(inputs, adapter, folder=None):
    """Loads the base that an adapter names, and the adapter; returns the outputs, and the class of the base."""
    model = peft.AutoPeftModel.from_pretrained(adapter, dtype="float32")
    return {"outputs": compute(model, inputs), "base": type(model.get_base_model()).__name__}


def make_adapter(folder, inputs, adapter, config, attention=None, method="Lora", spread=0.1, model="AutoModel"):
    """Saves an adapter with random values for a checkpoint; returns its outputs and how many parameters it has."""
    base = getattr(transformers, model).from_pretrained(folder, dtype="float32", attn_implementation=attention)
    made = disturbed(peft.get_peft_model(base, getattr(peft, f"{method}Config")(**config)), spread)
    made.save_pretrained(adapter)
    return {"outputs": compute(made, inputs)} | count(made)


def make_task_adapter(folder, inputs, adapter, config, model, saving=None, dtype="float32", size=None):
    """Saves an adapter with random values for a task's model; returns the outputs of its backbone.

    `saving` are arguments of save_pretrained, and `size` is that of a resized vocabulary.
    """
    base = getattr(transformers, model).from_pretrained(folder, dtype=dtype)
    base.config.pad_token_id = 0  # classifiers need one
    if size is not None:
        base.resize_token_embeddings(size)
    made = disturbed(peft.get_peft_model(base, peft.LoraConfig(**config)))
    made.save_pretrained(adapter, **(saving or {}))
    named = {INPUTS[name]: torch.tensor(values) for name, values in inputs.items()}
    with torch.no_grad():
        # PEFT's class for question answering (0.21.2) does not pass token_type_ids on; its base model takes them.
        hidden = made.eval().base_model(**named, output_hidden_states=True).hidden_states[-1]
    return {"outputs": {"sequence_output": hidden.float().tolist()}}


def make_converted_adapter(folder, inputs, adapter, config):
    """Saves an adapter whose initial values change the base, and PEFT's conversion to plain LoRA; returns its outputs.

    PEFT rewrites the config of the initial adapter, which then looks like plain LoRA.
    """
    base = transformers.AutoModel.from_pretrained(folder, dtype="float32")
    model = peft.get_peft_model(base, peft.LoraConfig(**config))
    start = f"{adapter}_start"
    model.save_pretrained(start)
    disturbed(model)
    outputs = compute(model, inputs)
    model.save_pretrained(f"{adapter}_unconverted")
    model.save_pretrained(adapter, path_initial_model_for_weight_conversion=start)
    return {"outputs": outputs}


def disturbed(model, spread=0.1):
    """Returns the model with random changes of the trainable parameters, as if it had been trained."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(spread * torch.randn_like(parameter))
    return model


def known_to_peft():
    """Returns the fields of PEFT's LoRA configuration, and its types of adapters."""
    return {"fields": sorted(peft.LoraConfig().to_dict()), "types": sorted(kind.value for kind in peft.PeftType)}


def adapt_tied(folder, inputs, adapter, config):
    """Saves an adapter of a language model's tied table; returns its logits, and those after PEFT has merged it."""
    model = peft.get_peft_model(
        transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="float32"), peft.LoraConfig(**config)
    )
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(adapter)
    return {"unmerged": compute(model, inputs)["logits"], "merged": compute(model.merge_and_unload(), inputs)["logits"]}


def count_adapter(folder, config):
    """Returns how many parameters an adapter would have on the model of a config, without giving them memory."""
    with torch.device("meta"):
        base = transformers.AutoModel.from_config(transformers.AutoConfig.from_pretrained(folder))
        return count(peft.get_peft_model(base, peft.LoraConfig(**config)))


def count(model):
    found = {name: parameter.numel() for name, parameter in model.named_parameters()}
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    adapters = [name for name in found if model.base_model.prefix in name]
    return {"added": sum(map(found.get, adapters)), "trained": sum(map(found.get, trained))}


def generate(folder, prompts, count, attention=None):
    """Returns the greedy answers of a checkpoint to prompts, which are padded on the left, of `count` tokens each."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="float32", attn_implementation=attention)
    length = max(map(len, prompts))
    ids = torch.tensor([[0] * (length - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (length - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    model.generation_config.eos_token_id = None
    options = {"max_new_tokens": count, "do_sample": False, "pad_token_id": 0}
    return model.generate(ids, attention_mask=mask, **options)[:, length:].tolist()


def read(folder, texts):
    """Returns the config, the generation settings and the token ids of texts, as read from a folder."""
    config = transformers.AutoConfig.from_pretrained(folder).to_dict()
    generation = None
    if Path(folder, "generation_config.json").exists():
        generation = transformers.GenerationConfig.from_pretrained(folder).to_dict()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return {"config": config, "generation": generation, "ids": tokenizer(texts)["input_ids"], "size": len(tokenizer)}


def embed(folder, texts):
    """Returns the embeddings that Sentence Transformers computes of texts, and the kinds of its modules."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device="cpu", local_files_only=True)
    return {"embeddings": model.encode(texts).tolist(), "modules": [type(module).__name__ for module in model]}


def create_language_model(folder, config, words):
    """Saves a model with a head of random weights, a tokenizer and settings of generation."""
    torch.manual_seed(0)
    made = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(**config))
    made.generation_config = transformers.GenerationConfig(eos_token_id=[3, 5], top_k=7, do_sample=True)
    made.save_pretrained(folder)
    _tokenizer(words).save_pretrained(folder)


def create_sentence_model(folder, config, words, pooling="mean"):
    """Saves a model of Sentence Transformers with random weights: a backbone, pooling, a projection and a norm."""
    from sentence_transformers import SentenceTransformer, models

    torch.manual_seed(0)
    backbone = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(**config))
    base = Path(folder, "base")
    backbone.save_pretrained(base)
    _tokenizer(words).save_pretrained(base)
    transformer = models.Transformer(str(base), max_seq_length=8)
    pooling = models.Pooling(config["hidden_size"], pooling_mode=pooling)
    modules = [transformer, pooling, models.Dense(config["hidden_size"], 5), models.Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(Path(folder, "saved")))


def _tokenizer(words):
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])}
    return transformers.BertTokenizer(vocab=vocabulary)


def activations():
    """Returns the names of all activations that need no parameter of their own."""
    names = {name: transformers.activations.ACT2FN[name] for name in transformers.activations.ACT2CLS}
    return sorted(name for name, function in names.items() if not list(function.parameters()))


def feature_maps(folder, inputs, model, layers):
    """Returns the hidden states that a backbone class gives after layers, as maps with the channels in front."""
    loaded = getattr(transformers, model).from_pretrained(folder, out_indices=[number + 1 for number in layers])
    named = {INPUTS[name]: torch.tensor(values) for name, values in inputs.items()}
    with torch.no_grad():
        return [states.tolist() for states in loaded.eval()(**named).feature_maps]


def compute(model, inputs, call=None):
    named = {INPUTS[name]: torch.tensor(values) for name, values in inputs.items()}
    with torch.no_grad():
        outputs = model.eval()(**named, **(call or {}))
    return {ours: outputs[theirs].tolist() for theirs, ours in OUTPUTS.items() if outputs.get(theirs) is not None}


if __name__ == "__main__":
    serve(
        load=load,
        load_gguf=load_gguf,
        create=create,
        create_wrapped=create_wrapped,
        adapt=adapt,
        left_out=left_out,
        adapt_alone=adapt_alone,
        known_to_peft=known_to_peft,
        make_adapter=make_adapter,
        make_task_adapter=make_task_adapter,
        make_converted_adapter=make_converted_adapter,
        adapt_tied=adapt_tied,
        count_adapter=count_adapter,
        generate=generate,
        read=read,
        embed=embed,
        feature_maps=feature_maps,
        create_language_model=create_language_model,
        create_sentence_model=create_sentence_model,
        activations=activations,
    )
