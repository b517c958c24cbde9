"""One side of the benchmark of classifying: fine-tunes MiniLM with LoRA, and prints the accuracy of each seed as JSON.

    python classify.py vertebra|peft FOLDER SEEDS

Both sides have adapters of rank 8 on query and value, a new head on the pooled output, Adam without weight decay, and
batches in an order of their own. `remarks.json` next to the folder has the texts and labels.
"""

import json
import random
import sys
from pathlib import Path

RANK, ALPHA, RATE, BATCH, EPOCHS = 8, 16, 1e-3, 16, 20


def main() -> None:
    side, folder, seeds = sys.argv[1], sys.argv[2], int(sys.argv[3])
    data = json.loads((Path(folder).parent / "remarks.json").read_text(encoding="utf-8"))
    print(json.dumps({str(seed): SIDES[side](folder, seed, data["training"], data["test"]) for seed in range(seeds)}))


def vertebra(folder, seed, training, test):
    import warnings

    import keras

    import vertebra

    warnings.simplefilter("ignore")  # the head is new
    keras.utils.set_random_seed(seed)
    classifier = vertebra.models.TextClassifier.from_preset(folder, num_classes=2)
    classifier.enable_lora(RANK, alpha=ALPHA)
    classifier.compile(keras.optimizers.Adam(RATE))
    classifier.fit(*training, batch_size=BATCH, epochs=EPOCHS, verbose=0)
    return share_of_right(classifier.probabilities(test[0]).argmax(axis=1), test[1])


def peft(folder, seed, training, test):
    import torch
    import transformers
    from peft import LoraConfig, get_peft_model

    transformers.logging.set_verbosity_error()
    transformers.set_seed(seed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    config = LoraConfig(task_type="SEQ_CLS", r=RANK, lora_alpha=ALPHA, target_modules=["query", "value"])
    model = get_peft_model(model, config).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer, draw = torch.optim.Adam(trained, RATE), random.Random(seed)
    order = list(range(len(training[0])))
    for _ in range(EPOCHS):
        draw.shuffle(order)
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            inputs = tokenizer([training[0][row] for row in rows], padding=True, return_tensors="pt")
            optimizer.zero_grad()
            model(**inputs, labels=torch.tensor([training[1][row] for row in rows])).loss.backward()
            optimizer.step()
    model.eval()
    with torch.inference_mode():
        logits = model(**tokenizer(test[0], padding=True, return_tensors="pt")).logits
    return share_of_right(logits.argmax(dim=1), test[1])


def share_of_right(found, labels) -> float:
    return sum(int(one) == label for one, label in zip(found, labels, strict=True)) / len(labels)


SIDES = {"vertebra": vertebra, "peft": peft}

if __name__ == "__main__":
    main()
