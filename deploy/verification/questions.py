"""What a verification asks of AWS: each question with its stage, and whether only AWS itself can answer it."""

from __future__ import annotations

from dataclasses import dataclass

AS_EXPECTED, DIFFERS, NEEDS_AWS, NOT_REACHED = "as expected", "differs", "needs AWS", "not reached"


@dataclass(frozen=True)
class Question:
    """A question. ``only_aws``: a local account has nothing that could answer it, so it is never asked there."""

    name: str
    stage: str
    asks: str
    only_aws: bool = False


QUESTIONS = (
    Question(
        "account",
        "preflight",
        "The account has the quotas, rights and instance types that the deployment needs",
        only_aws=True,
    ),
    Question("images", "preflight", "SageMaker's images of model.yaml exist in their registry", only_aws=True),
    Question("repeated", "platform", "A first creation of the data platform that fails half-way can be repeated"),
    Question("unchanged", "platform", "A second deployment finds nothing to change"),
    Question("policies", "platform", "IAM Access Analyzer finds no error in the policies of the DAGs", only_aws=True),
    Question("role", "guard", "A role with the policies of the DAGs, and nothing else, can be taken on"),
    Question("event", "land", "S3 tells the queue of a new file, and the DAG's watcher understands it"),
    Question("crawl", "crawl", "The crawler makes a table of the plain file with the columns of the contract"),
    Question(
        "files", "merge", "Glue says of each file what `make check-file` says here: six layouts, one of them refused"
    ),
    Question("merge", "merge", "Every row of the merged files is accepted, a repetition, or quarantined"),
    Question("staging", "merge", "The merge leaves nothing in its staging folder"),
    Question("artifact", "train", "The artifact lies at OUTPUT/JOB/output/model.tar.gz"),
    Question("metrics", "train", "The description of the training job has the metrics that the log tells"),
    Question("evaluation", "evaluate", "The evaluation's files lie where the next step reads them"),
    Question("slashes", "evaluate", "No service writes a key with two slashes"),
    Question("analysis", "judge", "The Lambda function analyses the evaluation, and the gate decides"),
    Question("package", "register", "A registration that is repeated gives the same model package"),
    Question("service", "serve", "The endpoint comes into service and answers as the evaluation did"),
    Question(
        "requests", "ask", "Wrong requests are refused with a 4xx and a sentence, good ones answered together as alone"
    ),
    Question("accept", "ask", "A request without Accept is answered as JSON"),
    Question("longest", "ask", "A request of more than 6 MiB is refused, one that is a little shorter is taken"),
    Question("message", "report", "Report, summary and message of the run are written"),
    Question("timer", "timer", "The timer in the account deletes the endpoint without this command", only_aws=True),
    Question(
        "denied", "denied", "CloudTrail knows of no call of the deployment's roles that was refused", only_aws=True
    ),
    Question("leftovers", "close", "Nothing of the verification is left in the account"),
)
