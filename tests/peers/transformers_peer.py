"""transformers, PEFT and Sentence Transformers in a child process: load or create files, and compute outputs."""

import warnings
from pathlib import Path

import peft
import torch
import transformers
from serving import serve

transformers.utils.logging.disable_progress_bar()

INPUTS = {"token_ids": "input_ids", "segment_ids": "token_type_ids", "padding_mask": "attention_mask"}
OUTPUTS = {"last_hidden_state": "sequence_output", "pooler_output": "pooled_output", "logits": "logits"}


def load(folder, inputs, model="AutoModel", attention=None):
    """Loads a checkpoint in float32; returns its outputs, the loading report, and the dtype in its config."""
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


def adapt(folder, inputs, adapter, attention=None):
    """Loads an adapter on a checkpoint; returns its outputs, PEFT's warnings, and its number of parameters."""
    base = transformers.AutoModel.from_pretrained(folder, dtype="float32", attn_implementation=attention)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = peft.PeftModel.from_pretrained(base, adapter)
        tensors = peft.utils.load_peft_weights(adapter)
        unexpected = peft.set_peft_model_state_dict(model, tensors).unexpected_keys
    said = [str(warning.message) for warning in caught if warning.category is not FutureWarning]  # of another version
    return {"outputs": compute(model, inputs), "complaints": said + unexpected} | count(model)


def make_adapter(folder, inputs, adapter, config, attention=None, method="Lora", spread=0.1, model="AutoModel"):
    """Saves an adapter with random values for a checkpoint; returns its outputs and how many parameters it has."""
    base = getattr(transformers, model).from_pretrained(folder, dtype="float32", attn_implementation=attention)
    model = peft.get_peft_model(base, getattr(peft, f"{method}Config")(**config))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(spread * torch.randn_like(parameter))
    model.save_pretrained(adapter)
    return {"outputs": compute(model, inputs)} | count(model)


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


def create_sentence_model(folder, config, words):
    """Saves a model of Sentence Transformers with random weights: a backbone, pooling, a projection and a norm."""
    from sentence_transformers import SentenceTransformer, models

    torch.manual_seed(0)
    backbone = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(**config))
    base = Path(folder, "base")
    backbone.save_pretrained(base)
    _tokenizer(words).save_pretrained(base)
    transformer = models.Transformer(str(base), max_seq_length=8)
    pooling = models.Pooling(config["hidden_size"], pooling_mode="mean")
    modules = [transformer, pooling, models.Dense(config["hidden_size"], 5), models.Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(Path(folder, "saved")))


def _tokenizer(words):
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])}
    return transformers.BertTokenizer(vocab=vocabulary)


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
    serve(
        load=load,
        create=create,
        adapt=adapt,
        make_adapter=make_adapter,
        adapt_tied=adapt_tied,
        count_adapter=count_adapter,
        read=read,
        embed=embed,
        create_language_model=create_language_model,
        create_sentence_model=create_sentence_model,
        activations=activations,
    )
