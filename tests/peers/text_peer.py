"""transformers and Sentence Transformers in a child process: models with heads, and their outputs for texts."""

import json
from pathlib import Path

import sentence_transformers
import torch
import transformers
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from serving import serve

transformers.utils.logging.disable_progress_bar()


def make_tokenizer(folder, vocabulary, kind="BertTokenizerFast", **options):
    """Saves a tokenizer with a vocabulary, one token a line."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    path = Path(folder, "vocab.txt")
    path.write_text("\n".join(vocabulary))
    getattr(transformers, kind)(vocab_file=str(path), vocab=str(path), **options).save_pretrained(folder)


def make_model(folder, model, config):
    """Saves a model with random weights beside the tokenizer of a folder."""
    torch.manual_seed(0)
    made = getattr(transformers, model)(transformers.AutoConfig.for_model(**config))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    made.save_pretrained(folder)


def make_embedder(folder, pooling, dense, normalize, prompts, include_prompt=True, **options):
    """Turns the checkpoint of a folder into a folder of Sentence Transformers.

    `dense` has the width, the name of the activation and further arguments of each layer.
    """
    torch.manual_seed(1)
    transformer = Transformer(folder)
    modules = [transformer, Pooling(transformer.get_embedding_dimension(), pooling, include_prompt)]
    for units, activation, *arguments in dense:
        function = getattr(torch.nn, activation)()
        width = modules[-1].get_embedding_dimension()
        modules.append(Dense(width, units, activation_function=function, **dict(*arguments)))
    modules += [Normalize()] if normalize else []
    model = sentence_transformers.SentenceTransformer(modules=modules, prompts=prompts, **options)
    model.save_pretrained(folder)


def embed(folder, texts, **options):
    """Returns the vectors of texts."""
    return sentence_transformers.SentenceTransformer(folder).encode(texts, **options).tolist()


def run_script(code):
    """Runs the script of a page; returns its vectors and scores."""
    names = {}
    exec(compile(code, "script.py", "exec"), names)
    return {name: names[name].tolist() for name in ("vectors", "scores")}


def rerank(folder, pairs):
    """Returns the scores of pairs."""
    return sentence_transformers.CrossEncoder(folder).predict([tuple(pair) for pair in pairs]).tolist()


def save_reranker(folder):
    """Saves the checkpoint of a folder as Sentence Transformers does."""
    sentence_transformers.CrossEncoder(folder).save_pretrained(folder)


def logits(folder, texts, model):
    """Returns the logits for texts or pairs, one after the other, so that nothing is padded."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    loaded = getattr(transformers, model).from_pretrained(folder).eval()
    with torch.no_grad():
        return [
            loaded(**tokenizer(*([text] if isinstance(text, str) else text), return_tensors="pt")).logits[0].tolist()
            for text in texts
        ]


def pipeline(folder, task, texts, **options):
    """Returns the answers of a pipeline."""
    answers = transformers.pipeline(task, model=folder, tokenizer=folder)(texts, **options)
    return json.loads(json.dumps(answers, default=float))


if __name__ == "__main__":
    serve(
        make_tokenizer=make_tokenizer,
        make_model=make_model,
        make_embedder=make_embedder,
        embed=embed,
        run_script=run_script,
        rerank=rerank,
        save_reranker=save_reranker,
        logits=logits,
        pipeline=pipeline,
    )
