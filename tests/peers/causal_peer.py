"""transformers' causal language models in a child process: answers, scores of completions, and training steps."""

import torch
import torch.nn.functional as F
import transformers
from serving import serve

transformers.utils.logging.disable_progress_bar()
IGNORED = -100


def make(folder, config, model="AutoModelForCausalLM", generation=None, noise=0.2):
    """Saves a model with random weights next to the tokenizer of a folder."""
    torch.manual_seed(0)
    kind = getattr(transformers, model)
    configured = transformers.AutoConfig.for_model(**config)
    made = kind.from_config(configured) if model.startswith("Auto") else kind(configured)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
    if generation is not None:
        made.generation_config = transformers.GenerationConfig(**generation)
    made.save_pretrained(folder)
    return type(made).__name__


def opened(folder):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="float32", attn_implementation="eager")
    return tokenizer, model.eval()


def generate(folder, prompts, **options):
    """Returns the new tokens of each answer, the scores of beams, and for greedy answers the least margin of a token.

    Prompts are padded on the left.
    """
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="float32", attn_implementation="eager")
    length = max(map(len, prompts))
    ids = torch.tensor([[0] * (length - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (length - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    with torch.no_grad():
        found = model.eval().generate(
            ids,
            attention_mask=mask,
            pad_token_id=0,
            return_dict_in_generate=True,
            output_scores=True,
            **options,
        )
    beams = getattr(found, "sequences_scores", None)
    best = torch.stack(found.scores).topk(2).values
    return {
        "tokens": found.sequences[:, length:].tolist(),
        "scores": None if beams is None else beams.tolist(),
        "margin": (best[..., 0] - best[..., 1]).min().item() if beams is None else None,
    }


def encoded(tokenizer, prompt, completion):
    """Returns the ids of a text, and how many of them are the prompt's."""
    return tokenizer(prompt + completion)["input_ids"], len(tokenizer(prompt)["input_ids"])


def score(folder, pairs):
    """Returns the log-probability of each token of each completion, one text after the other."""
    tokenizer, model = opened(folder)
    found = []
    for prompt, completion in pairs:
        ids, count = encoded(tokenizer, prompt, completion)
        with torch.no_grad():
            scores = F.log_softmax(model(torch.tensor([ids])).logits[0], dim=-1)
        found.append([scores[place - 1, ids[place]].item() for place in range(count, len(ids))])
    return found


def batch_of(tokenizer, pairs):
    """Returns inputs and labels as libraries for fine-tuning make them: prompts and padding do not count."""
    rows = []
    for prompt, completion in pairs:
        ids, count = encoded(tokenizer, prompt, completion)
        ids = [*ids, tokenizer.eos_token_id]
        rows.append((ids, [IGNORED] * count + ids[count:]))
    length = max(len(ids) for ids, _ in rows)
    return {
        "input_ids": torch.tensor([ids + [0] * (length - len(ids)) for ids, _ in rows]),
        "attention_mask": torch.tensor([[1] * len(ids) + [0] * (length - len(ids)) for ids, _ in rows]),
        "labels": torch.tensor([labels + [IGNORED] * (length - len(labels)) for _, labels in rows]),
    }


def train(folder, pairs, rate, steps):
    """Trains on completions with gradient descent, all of them in one batch; returns the loss before each step."""
    tokenizer, model = opened(folder)
    return descended(model, batch_of(tokenizer, pairs), rate, steps)


def train_on_chats(folder, chats, template, rate, steps):
    """Trains on the assistant's messages, as `train`."""
    tokenizer, model = opened(folder)
    tokenizer.chat_template, tokenizer.pad_token = template, tokenizer.eos_token
    options = {"tokenize": True, "return_dict": True, "return_assistant_tokens_mask": True, "padding": True}
    made = tokenizer.apply_chat_template(chats, padding_side="right", return_tensors="pt", **options)
    mask = torch.as_tensor(made["assistant_masks"]).bool()
    labels = torch.where(mask, made["input_ids"], IGNORED)
    batch = {"input_ids": made["input_ids"], "attention_mask": made["attention_mask"], "labels": labels}
    return descended(model, batch, rate, steps)


def descended(model, batch, rate, steps):
    """Returns the losses of steps of gradient descent."""
    optimizer, losses = torch.optim.SGD(model.parameters(), rate), []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


if __name__ == "__main__":
    serve(make=make, generate=generate, score=score, train=train, train_on_chats=train_on_chats)
