"""What a candidate with a container of one's own needs of the model around it."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from retraining.contract.notation.training_format import CSV_WITHOUT_HEADER
from retraining.settings.training.step import Training


def check_containers(training: Training, evaluation_script: str | None, sdk: Collection[str], mode: str) -> None:
    """Check a model with a container of one's own among its candidates.

    Args:
        training: the section.
        evaluation_script: ``evaluation.script``.
        sdk: steps in the form ``sdk``.
        mode: ``deployment.mode``.

    Raises:
        ValueError: the container could not be trained, judged or served so; the message names the key.

    """
    own = next((candidate.name for candidate in training.candidates if candidate.container), None)
    for fault in _faults(training, evaluation_script, sdk, mode) if own else ():
        raise ValueError(f"candidate {own!r} has a container: {fault}")


def _faults(training: Training, evaluation_script: str | None, sdk: Collection[str], mode: str) -> Iterator[str]:
    if sdk:
        yield f"steps.{next(iter(sdk))} cannot be sdk, because sdk_jobs.py makes the request of every candidate"
    if evaluation_script:
        yield f"evaluation.script {evaluation_script} cannot score it, a transform job asks it: leave the script out"
    if training.script:
        yield f"training.script {training.script} trains in place of the library, and not in a container: leave it out"
    if training.format != CSV_WITHOUT_HEADER:
        yield (
            f"training.format is {training.format}, but a transform job sends it the test rows as lines of CSV without a header: write "
            f"format: {CSV_WITHOUT_HEADER}"
        )
    if mode == "none":
        yield "deployment.mode none scores files with the library's code, which it does not have: give it an endpoint"
    tuned = training.tuning and (training.tuning.candidate or training.candidates[0].name)
    if tuned and training.container_of(tuned):
        yield "trials are compared by losses that the library writes: let training.tuning search another candidate"
