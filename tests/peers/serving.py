"""The server side of a peer process: reads calls from standard input, and writes results to standard output."""

import json
import os
import sys
import traceback


def serve(**functions):
    """Answers each line, a call as JSON, with a line of JSON: the function's result, or the traceback of its error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # keeps the libraries' own output apart from the answers
    for line in sys.stdin:
        call = json.loads(line)
        try:
            answer = {"result": functions[call["function"]](**call["arguments"])}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)
