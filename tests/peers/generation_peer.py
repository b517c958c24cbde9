"""transformers' generation in a child process: logits processors, searches, chat templates and generation configs."""

import copy
import json
import runpy
import tempfile
from pathlib import Path

import jinja2
import torch
import transformers
from serving import serve
from transformers.modeling_outputs import CausalLMOutput

transformers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()


class TableConfig(transformers.PreTrainedConfig):
    """The size of a table."""

    model_type = "table"

    def __init__(self, vocab_size=8, **options):
        self.vocab_size, self.hidden_size, self.num_hidden_layers, self.num_attention_heads = vocab_size, 1, 1, 1
        super().__init__(**options)


class TableModel(transformers.PreTrainedModel, transformers.GenerationMixin):
    """A language model whose logits are those that a table has for the sum of the tokens, each times its position."""

    config_class = TableConfig

    def __init__(self, config):
        super().__init__(config)
        self.table = torch.nn.Parameter(torch.zeros(1, config.vocab_size))
        self.post_init()

    def forward(self, input_ids, attention_mask=None, **_):
        rows = (input_ids * attention_mask.cumsum(dim=1)).sum(dim=1) % len(self.table)
        return CausalLMOutput(logits=self.table[rows][:, None, :])

    def prepare_inputs_for_generation(self, input_ids, attention_mask=None, **_):
        return {"input_ids": input_ids, "attention_mask": attention_mask}


def model_of(table):
    model = TableModel(TableConfig(len(table[0]))).eval()
    model.table = torch.nn.Parameter(torch.tensor(table))
    return model


def generate(table, prompts, **options):
    """Returns the new tokens of each answer, and the scores of beams.

    Prompts are padded on the left with 0, which the table does not count.
    """
    model, length = model_of(table), max(map(len, prompts))
    ids = torch.tensor([[0] * (length - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (length - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    with torch.no_grad():
        found = model.generate(
            ids,
            attention_mask=mask,
            pad_token_id=0,
            use_cache=False,
            return_dict_in_generate=True,
            output_scores=True,
            **options,
        )
    scores = getattr(found, "sequences_scores", None)
    return {"tokens": found.sequences[:, length:].tolist(), "scores": None if scores is None else scores.tolist()}


def processed(options, prompt, answer, logits):
    """Returns the logits after all processors of `generate`, for a prompt and a part of an answer."""
    model = model_of([logits])
    config = transformers.GenerationConfig(**options)
    config._eos_token_tensor = None if config.eos_token_id is None else torch.tensor(config.eos_token_id).view(-1)
    processors = model._get_logits_processor(config, input_ids_seq_length=len(prompt), device="cpu")
    scores = processors(torch.tensor([prompt + answer]), torch.tensor([logits]))
    return scores[0].tolist()


def render(template, conversation, **options):
    """Returns the text of a conversation, or the words of the template's error."""
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer(), bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )
    tokenizer.chat_template = copy.deepcopy(template)
    with_mask = options.pop("mask", False)
    if with_mask:
        options |= {"tokenize": True, "return_dict": True, "return_assistant_tokens_mask": True}
        found = tokenizer.apply_chat_template(conversation, **options)
        return {"ids": found["input_ids"], "mask": found["assistant_masks"]}
    try:
        return {"text": tokenizer.apply_chat_template(conversation, tokenize=False, **options)}
    except Exception as error:
        return {"error": str(error), "raised": type(error) is jinja2.exceptions.TemplateError}


def byte_tokenizer():
    """Returns a tokenizer whose tokens are bytes, and four special ones."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: index for index, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in ("<s>", "</s>", "<pad>", "<unk>")])
    return tokenizer


def save_templates(folder, template):
    """Saves a tokenizer with a template, or with several by name."""
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=byte_tokenizer(), bos_token="<s>")
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)


def read_templates(folder):
    """Returns the templates that transformers reads from a folder."""
    return transformers.AutoTokenizer.from_pretrained(folder).chat_template


def save_config(folder, options):
    """Saves a generation config."""
    transformers.GenerationConfig(**options).save_pretrained(folder)


def read_config(folder):
    """Returns the options that transformers reads from a generation config."""
    return json.loads(transformers.GenerationConfig.from_pretrained(folder).to_json_string(use_diff=False))


def read_config_text(text):
    """As `read_config`, for the text of a file."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "generation_config.json").write_text(text)
        return read_config(folder)


def schema(path, name):
    """Returns the JSON schema of a function of a module."""
    functions = runpy.run_path(path)
    return transformers.utils.get_json_schema(functions[name])


def defaults():
    """Returns the options of `generate` that neither a config nor a call gives."""
    return transformers.GenerationConfig._get_default_generation_params()


if __name__ == "__main__":
    serve(
        generate=generate,
        processed=processed,
        render=render,
        save_templates=save_templates,
        read_templates=read_templates,
        save_config=save_config,
        read_config=read_config,
        defaults=defaults,
        schema=schema,
        read_config_text=read_config_text,
    )
