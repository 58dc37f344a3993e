"""Command line of promotions: ``python -m retraining.command.promote abalone --from staging --to prod``, or ``make promote``.

It works in the account and region of the standard AWS variables, in which both deployments live. Exit codes: 0 promoted, or nothing to do;
1 the model was rejected, or a step failed; 2 refused before anything was changed.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from retraining.aws.clients import client
from retraining.aws.platform_parameter import PlatformError, UnreachableError, reach_platform
from retraining.command.alone import act_alone
from retraining.command.piped import until_nobody_reads
from retraining.contract.plain_text import plain_lines
from retraining.settings.access import AwsAccess
from retraining.settings.environment import EnvironmentNameError, checked, platform_parameter
from retraining.settings.model_config import ConfigError, load_model_config

LATENCY_MS = 1000.0
"""Limit of the latency test when nobody gives another: a second is as long as a person follows without waiting."""
MODELS = Path(__file__).resolve().parents[4] / "dags" / "models"


def main(arguments: Sequence[str] | None = None) -> int:
    """Promote a model; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m retraining.command.promote", description=__doc__)
    parser.add_argument("model", help="name of the model folder")
    parser.add_argument("--from", dest="origin", required=True, metavar="ENV", help="deployment that it serves in")
    parser.add_argument("--to", dest="target", required=True, metavar="ENV", help="deployment that it goes to")
    parser.add_argument("--plan", action="store_true", help="only say what would be done")
    parser.add_argument(
        "--latency-ms", type=float, default=LATENCY_MS, help="of the system tests (default: %(default)s)"
    )
    parser.add_argument(
        "--uncompared",
        action="store_true",
        help="where there is no data set to compare on, let it replace the champion by the guards alone",
    )
    parser.add_argument(
        "--models", type=Path, default=MODELS, help="folder of the model folders (default: dags/models)"
    )
    chosen = parser.parse_args(arguments)
    quiet = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with tempfile.TemporaryDirectory(prefix="promotion-") as home:
            act_alone(chosen.target, "promotion", home)
            return _promote(chosen)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on where it ended\n")
        return 130
    finally:
        logging.disable(quiet)


def _promote(chosen: argparse.Namespace) -> int:
    # Airflow reads its settings from the environment when it is imported.
    from airflow.sdk.exceptions import AirflowException

    from retraining.command.promote.promotion import Promotion
    from retraining.dag.tasks.promotion import PromotionTasks
    from retraining.serving.promoting.source import PromotionError

    begun = False
    try:
        if checked(chosen.origin) == checked(chosen.target):
            raise PromotionError(
                f"{chosen.origin} is both the deployment that the model comes from and the one it goes to"
            )
        access = AwsAccess()
        for deployment in (chosen.origin, chosen.target):
            reach_platform(platform_parameter(chosen.model, deployment), access)
        folder = chosen.models / chosen.model
        config = load_model_config(folder / "model.yaml").model_copy(update={"aws": access})
        who = str(client("sts", access).get_caller_identity()["Arn"])
        promotion = Promotion(
            PromotionTasks(config, folder, chosen.origin, who), _say, chosen.latency_ms, chosen.uncompared
        )
        if not chosen.plan:
            promotion.settle()
        found = promotion.find()
        if chosen.plan or found.plan is None:
            for line in promotion.told(found):
                _say(line)
            return 0
        begun = True
        summary = promotion.play(found)
    except (PromotionError, EnvironmentNameError, UnreachableError, PlatformError, ConfigError) as error:
        return _failed(error, 1 if begun else 2)
    except (AirflowException, BotoCoreError, ClientError, LookupError, RuntimeError) as error:
        return _failed(error, 1 if begun else 2)
    if summary["promoted"]:
        _say(f"promoted: {summary['model_package']} serves in {chosen.target}; report {summary['report']}")
        return 0
    _say(f"not promoted, what served in {chosen.target} still does; report {summary['report']}")
    return 1


def _say(line: str) -> None:
    sys.stdout.write(plain_lines(line, sys.maxsize) + "\n")
    sys.stdout.flush()


def _failed(error: Exception, code: int) -> int:
    words = error.args[0] if isinstance(error, LookupError) and error.args else error
    sys.stderr.write(f"error: {plain_lines(words)}\n")
    return code


if __name__ == "__main__":
    sys.exit(until_nobody_reads(main))
