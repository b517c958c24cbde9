"""Generation of text by one library in one process, once for each line on stdin.

usage: generate.py LIBRARY RUNTIME MODEL DTYPE FOLDER

FOLDER is a preset of transformers. A line is `WAY BATCH TOKENS`; its answer is the seconds in which so many new tokens
are generated for each of BATCH prompts, greedily. Ways are `all`, and `first`, the time to the first token when so many
are asked for. The library `adapters` is Vertebra with LoRA adapters: `one` is one that is active for all prompts, and
`each` another one for each prompt. The first line of a way and a batch includes compiling, where there is any.
"""

import json
import sys
from functools import partial

from forward_pass import token_ids
from libraries import DEVICE, KerasHub, Transformers, Vertebra, seconds, wait_for
from models import model_of

PROMPT = 32
"""Tokens of a prompt."""
ADAPTERS, RANK = 8, 8
SAMPLER = "greedy"


class VertebraTexts(Vertebra):
    def ways(self, folder: str, dtype: str) -> dict:
        backbone = self.load(folder, {"dtype": dtype})
        self.task = self.models.CausalLM(backbone)
        return {"all": self.all, "first": self.first}

    def prompts(self, batch: int) -> list:
        return token_ids(self.model.arguments["vocabulary_size"], batch, PROMPT).tolist()

    def all(self, prompts, tokens: int, adapters=None) -> None:
        answers = self.task.generate(
            prompts, max_new_tokens=tokens, stop_token_ids=None, strip_prompt=True, adapters=adapters
        )
        require_all([len(answer) for answer in answers], tokens)

    def first(self, prompts, tokens: int) -> None:
        pieces = self.task.generate_stream(prompts, max_new_tokens=tokens, stop_token_ids=None)
        next(pieces)
        pieces.close()


class VertebraAdapters(VertebraTexts):
    def ways(self, folder: str, dtype: str) -> dict:
        import numpy as np

        super().ways(folder, dtype)
        draws = np.random.default_rng(0)
        for number in range(ADAPTERS):
            self.task.enable_lora(RANK, name=str(number))
            for variable in self.task.backbone.trainable_variables:
                variable.assign(draws.normal(0, 0.02, variable.shape))
        return {"one": self.all, "each": self.each}

    def each(self, prompts, tokens: int) -> None:
        self.all(prompts, tokens, [str(number % ADAPTERS) for number in range(len(prompts))])


class KerasHubTexts(KerasHub, VertebraTexts):
    """Built with random weights: KerasHub 0.32 reads no preset of its own whose Llama has tied embeddings."""

    def ways(self, folder: str, dtype: str) -> dict:
        backbone = getattr(self.models, self.model.backbone)(**self.model.arguments, dtype=dtype)
        task = getattr(self.models, self.model.backbone.replace("Backbone", "CausalLM"))
        self.task = task(backbone, preprocessor=None)
        self.task.compile(sampler=SAMPLER)
        return {"all": self.all}

    def all(self, prompts, tokens: int) -> None:
        import numpy as np

        ids = np.zeros((len(prompts), PROMPT + tokens), "int32")
        ids[:, :PROMPT] = prompts
        mask = np.arange(ids.shape[1])[None] < np.full((len(prompts), 1), PROMPT)
        answers = self.task.generate({"token_ids": ids, "padding_mask": mask.astype("int32")}, stop_token_ids=None)
        wait_for(answers.values())
        require_all(np.asarray(answers["padding_mask"]).sum(axis=1).tolist(), ids.shape[1])


class TransformersTexts(Transformers):
    def ways(self, folder: str, dtype: str) -> dict:
        self.base = self.library.AutoModelForCausalLM
        self.loaded = self.load(folder, {"dtype": dtype}).eval()
        self.loaded.generation_config.eos_token_id = None  # all answers have all tokens
        return {"all": self.all, "first": lambda prompts, _: self.all(prompts, 1)}

    def prompts(self, batch: int):
        import torch

        return torch.from_numpy(token_ids(self.loaded.config.vocab_size, batch, PROMPT)).long().to(DEVICE)

    def all(self, prompts, tokens: int) -> None:
        import torch

        mask = torch.ones_like(prompts)
        answers = self.loaded.generate(prompts, attention_mask=mask, max_new_tokens=tokens, do_sample=False)
        require_all([answers.shape[1] - PROMPT], tokens)


LIBRARIES = {
    "vertebra": VertebraTexts,
    "adapters": VertebraAdapters,
    "kerashub": KerasHubTexts,
    "transformers": TransformersTexts,
}


def require_all(lengths: list, tokens: int) -> None:
    """Raises RuntimeError if an answer ended before."""
    if set(lengths) != {tokens}:
        raise RuntimeError(f"answers of {lengths} tokens, expected {tokens} each")


def main() -> None:
    library, runtime, model, dtype, folder = sys.argv[1:]
    chosen = LIBRARIES[library](runtime, model_of(model))
    ways = chosen.ways(folder, dtype)
    for line in sys.stdin:
        way, *numbers = line.split()
        batch, tokens = map(int, numbers)
        generate = partial(ways[way], chosen.prompts(batch), tokens)
        print(json.dumps(seconds(generate)), flush=True)


if __name__ == "__main__":
    main()
