"""The hooks that contribute the tokenizer and the tasks."""

from vertebra import CommandSpec, TaskSpec, TokenizerSpec, hookimpl

_TASKS = (
    ("TextEmbedder", "embedder", "a vector for each text"),
    ("TextClassifier", "classifier", "classes, several labels, or a number for each text"),
    ("Reranker", "reranker", "a score for each pair of a query and a document"),
    ("TokenClassifier", "token_classifier", "a class for each token, such as names of people and places"),
    ("MaskedLM", "masked_lm", "the tokens at masked positions"),
)
_COMMANDS = (
    ("embed", "write the vectors of texts"),
    ("classify", "write the classes of texts"),
    ("tag", "write the entities of texts, such as names"),
    ("rerank", "write the scores of pairs of a query and a document"),
)


_DESCRIBE = "vertebra_text.task_files.describe:describe"


@hookimpl
def vertebra_tasks() -> list[TaskSpec]:
    return [TaskSpec(name, f"vertebra_text.tasks.{module}:{name}", text, _DESCRIBE) for name, module, text in _TASKS]


@hookimpl
def vertebra_tokenizers() -> list[TokenizerSpec]:
    files = "transformers' and KerasHub's tokenizers, and SentencePiece models"
    return [TokenizerSpec("PretrainedTokenizer", "vertebra_text.tokenizers.pretrained:PretrainedTokenizer", files)]


@hookimpl
def vertebra_commands() -> list[CommandSpec]:
    schema = "vertebra_text.long_runs.schema:SUMMARY"
    return [CommandSpec(name, text, f"vertebra_text.commands:{name}", schema) for name, text in _COMMANDS]
