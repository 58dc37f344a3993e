"""Airflow's simple auth manager with rights by DAG, as other auth managers have them: `outsider` may see no DAG but `oyster_retraining`."""

from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager


class AuthByDag(SimpleAuthManager):
    def is_authorized_dag(self, *, method: Any, user: Any, access_entity: Any = None, details: Any = None) -> bool:
        if user.get_name() == "outsider" and (details is None or details.id != "oyster_retraining"):
            return False
        return super().is_authorized_dag(method=method, user=user, access_entity=access_entity, details=details)
