"""`GenerationOptions`: how answers are generated, checked when they are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from vertebra.errors import ArgumentError, close_names
from vertebra_generation.sampling import values

FUNCTION = "generate"
"""The function whose arguments the options are, for errors."""
DEFAULT_NEW_TOKENS = 20
"""The most new tokens if no option says another number, as in transformers."""
OTHER_NAMES = {
    "num_return_sequences": "n",
    "eos_token_id": "stop_tokens",
    "stop_token_ids": "stop_tokens",
    "bad_words_ids": "bad_words",
    "max_tokens": "max_new_tokens",
    "min_tokens": "min_new_tokens",
    "stop": "stop_strings",
    "random_seed": "seed",
}
"""Names of other libraries, and those of the same options here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationOptions:
    """How answers are generated. Names, defaults and ranges are those of transformers where it has the option.

    There are four methods: greedy, sampling (`do_sample`), beam search (`num_beams` above 1) and contrastive search
    (`penalty_alpha` above 0). Two of them at once contradict each other. An option that the chosen method does not use,
    such as `temperature` without `do_sample`, has no effect: files of models hold options for several methods.

    Raises:
        ArgumentError: an option has a wrong type or value, or contradicts another one.
    """

    max_new_tokens: int | None = None
    """The most tokens of an answer, from 1; None means up to `max_length`, or 20 tokens if that is None, too."""
    max_length: int | None = None
    """The most tokens of a prompt and its answer together; `max_new_tokens` overrides it."""
    min_new_tokens: int = 0
    """An answer gets no stop token before it has so many tokens. Stop strings end it nevertheless."""
    do_sample: bool = False
    """Whether tokens are drawn at random."""
    temperature: float = 1.0
    """Sampling: logits are divided by it; above 0."""
    top_k: int = 50
    """Sampling: the number of most probable tokens to draw from, 0 for all. Contrastive search: the candidates."""
    top_p: float = 1.0
    """Sampling: draws from the fewest most probable tokens whose probabilities sum up to at least `top_p`; 0 to 1."""
    min_p: float | None = None
    """Sampling: draws from tokens of at least this probability, relative to the most probable one; 0 to 1."""
    repetition_penalty: float = 1.0
    """For tokens of prompt and answer: positive logits are divided by it, negative ones multiplied; 0.001 to 1000."""
    presence_penalty: float = 0.0
    """Subtracted from the logits of the tokens of the answer, as in the interface of OpenAI; -2 to 2."""
    frequency_penalty: float = 0.0
    """Subtracted from the logits of a token once for each time that the answer has it; -2 to 2."""
    no_repeat_ngram_size: int = 0
    """No sequence of so many tokens occurs twice in prompt and answer; 0 for no such rule."""
    bad_words: tuple[tuple[int, ...], ...] = ()
    """Sequences of token ids that no answer has; sequences that consist of one stop token are ignored."""
    stop_tokens: tuple[int, ...] = ()
    """Token ids that end an answer."""
    stop_strings: tuple[str, ...] = ()
    """Texts that end an answer; its text is cut before them."""
    num_beams: int = 1
    """The number of beams for each prompt; 1 for no beam search."""
    length_penalty: float = 1.0
    """Beam search: the sum of log-probabilities is divided by the length to this power, -10 to 10; above 0 favours
    long answers."""
    early_stopping: bool | str = False
    """Beam search: True ends once there are `num_beams` finished answers; False once the best beam, at its length, is
    no better than the worst of them; "never" once no beam can become better."""
    penalty_alpha: float | None = None
    """Contrastive search: weight of the similarity to former tokens, against that of the probability; 0 to 1."""
    n: int = 1
    """The number of answers for each prompt: sampled ones, or the best ones of `num_beams`."""
    seed: int | None = None
    """Sampling: the same seed draws the same tokens from the same logits; 0 to 2^64 - 1; None takes a random seed."""

    def __post_init__(self) -> None:
        for name, check in values.CHECKS.items():
            object.__setattr__(self, name, check(FUNCTION, name, getattr(self, name)))
        _refuse_contradictions(self)

    @classmethod
    def of(cls, given: Mapping[str, Any], defaults: GenerationOptions | None = None) -> GenerationOptions:
        """Returns options for arguments of a call.

        Args:
            given: Values by name; None means that an option was not given.
            defaults: The options that were not given, such as those of a preset.

        Raises:
            ArgumentError: an option is unknown, has a wrong type or value, or contradicts another one.
        """
        known = {field.name for field in fields(cls)}
        for name, value in given.items():
            if name not in known:
                raise ArgumentError(FUNCTION, name, value, _instead(name, known))
        base = {} if defaults is None else asdict(defaults)
        return cls(**(base | {name: value for name, value in given.items() if value is not None}))

    @property
    def method(self) -> str:
        """The method: "greedy", "sampling", "beam search" or "contrastive search"."""
        if self.num_beams > 1:
            return "beam search"
        if self.penalty_alpha:
            return "contrastive search"
        return "sampling" if self.do_sample else "greedy"

    def most_new_tokens(self, prompt_length: int) -> int:
        """Returns the most tokens of the answer to a prompt of `prompt_length` tokens.

        Raises:
            ArgumentError: `max_length` leaves no token for the answer.
        """
        if self.max_new_tokens is not None:
            return self.max_new_tokens
        if self.max_length is None:
            return DEFAULT_NEW_TOKENS
        if self.max_length <= prompt_length:
            expected = f"more than the {prompt_length:,} tokens of the prompt; or pass max_new_tokens"
            raise ArgumentError(FUNCTION, "max_length", self.max_length, expected)
        return self.max_length - prompt_length


def _instead(name: str, known: set[str]) -> str:
    if name in OTHER_NAMES:
        return f"the name {OTHER_NAMES[name]}, which this option has here"
    found = close_names(name, known)
    if found:
        return f"a known option: did you mean {' or '.join(found)}?"
    return f"a known option: {', '.join(sorted(known))}"


def _refuse_contradictions(options: GenerationOptions) -> None:
    def refuse(name: str, expected: str) -> None:
        raise ArgumentError(FUNCTION, name, getattr(options, name), expected)

    if options.num_beams > 1 and options.do_sample:
        refuse("do_sample", "False with num_beams above 1: beam search draws nothing; or num_beams=1")
    if options.penalty_alpha and options.num_beams > 1:
        refuse("penalty_alpha", "0 with num_beams above 1: contrastive search has no beams; or num_beams=1")
    if options.penalty_alpha and options.do_sample:
        refuse("penalty_alpha", "0 with do_sample=True: contrastive search draws nothing; or do_sample=False")
    if options.penalty_alpha and options.top_k < 2:
        refuse("top_k", "at least 2 candidates for contrastive search (penalty_alpha above 0)")
    if options.n > 1 and options.method in ("greedy", "contrastive search"):
        refuse("n", f"1 for {options.method}, all answers of which are equal; or do_sample=True, or num_beams of n")
    if options.num_beams > 1 and options.n > options.num_beams:
        refuse("n", f"at most num_beams={options.num_beams}: there is one answer of each beam")
    if options.max_new_tokens is not None and options.min_new_tokens > options.max_new_tokens:
        refuse("min_new_tokens", f"at most max_new_tokens={options.max_new_tokens}")
