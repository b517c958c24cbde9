"""The peer's side of the conversation: calls come in on standard input, answers go out on standard output."""

import json
import os
import sys
import traceback


def serve(**functions):
    """Answers each line, a call as JSON, with a line of JSON: what the function returned, or the error's traceback."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    for line in sys.stdin:
        call = json.loads(line)
        try:
            answer = {"result": functions[call["function"]](**call["arguments"])}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)
