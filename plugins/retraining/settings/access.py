"""How a model's tasks reach AWS: the ``aws`` section of ``model.yaml``."""

from retraining.settings.strict import Strict


class AwsAccess(Strict):
    """How to reach AWS. Without a connection the default credential chain applies, which on MWAA is the execution role.

    ``conn_id`` names an Airflow connection; ``region``, ``verify`` (a CA bundle or false) and ``endpoint_url`` override what it says.
    """

    conn_id: str | None = None
    region: str | None = None
    verify: bool | str | None = None
    endpoint_url: str | None = None
