"""Runs the `aws` command line again and again in one process: a line of JSON with arguments in, a line with the outcome out.

What runs is `awscli.clidriver`, as the `aws` script calls it. Only the start of Python and the reading of service models are saved.
"""

import contextlib
import io
import json
import sys

from awscli.clidriver import create_clidriver

DRIVER = create_clidriver()


def run(arguments: list[str]) -> dict[str, object]:
    """Return exit code, standard output and standard error of one command."""
    output, errors = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            code = DRIVER.main(arguments)
        except SystemExit as end:
            code = end.code
    texts = [stream.buffer.getvalue().decode() for stream in (output, errors)]
    return {"code": code, "output": texts[0], "errors": texts[1]}


if __name__ == "__main__":
    answers = sys.stdout
    for line in sys.stdin:
        answers.write(json.dumps(run(json.loads(line))) + "\n")
        answers.flush()
