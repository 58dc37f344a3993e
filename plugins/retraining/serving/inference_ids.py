"""How the inference ids of requests begin that are no use of the model, so that the watch can leave them out of what is captured."""

from __future__ import annotations

TRYING = "ui-"
"""Of somebody who tries the model in the form of the Airflow UI."""
VERIFICATION = "smoke-"
"""Of a deployment, which asks whether the endpoint answers as the evaluation did."""
NO_USE = (TRYING, VERIFICATION)
