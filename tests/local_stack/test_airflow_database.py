"""The database of the local Airflow."""

import asyncio

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from local_stack import airflow_settings, layout


@pytest.fixture
def address(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "SECRETS", tmp_path / "secrets.json")
    monkeypatch.setattr(layout, "AIRFLOW_HOME", tmp_path / "air flow")
    layout.AIRFLOW_HOME.mkdir()
    return airflow_settings.airflow_environment()["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]


def test_a_writer_waits_for_another_as_long_as_a_busy_machine_takes(address):
    engine = create_engine(address)
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA busy_timeout")).scalar() == airflow_settings.LOCK_SECONDS * 1000
    engine.dispose()
    assert (layout.AIRFLOW_HOME / "airflow.db").exists()


def test_so_do_the_asynchronous_ones(address):
    """Airflow makes their address of the other by the name of the driver alone."""

    async def waits():
        engine = create_async_engine(address.replace("sqlite:", "sqlite+aiosqlite:", 1))
        async with engine.connect() as connection:
            found = (await connection.execute(text("PRAGMA busy_timeout"))).scalar()
        await engine.dispose()
        return found

    assert asyncio.run(waits()) == airflow_settings.LOCK_SECONDS * 1000
