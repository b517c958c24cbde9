"""Stop tokens."""

import numpy as np

from vertebra_generation.stopping.tokens import StopTokens


def test_the_tokens_that_end_an_answer_are_found():
    tokens = StopTokens([9, 2, 9])
    assert tokens.ids == (9, 2)
    assert tokens.found(np.array([2, 3, 9, -1])).tolist() == [True, False, True, False]
    assert (2 in tokens, 3 in tokens) == (True, False)
    assert StopTokens().found([1, 2]).tolist() == [False, False]
