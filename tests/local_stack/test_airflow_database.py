"""The database of the local Airflow."""

import asyncio
import subprocess

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from local_stack import airflow_database, airflow_settings, layout


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


@pytest.fixture
def migrations(tmp_path, monkeypatch):
    """Return the commands that ran, and the codes with which the next ones end."""
    ran, codes = [], [0]
    for name in ("LOGS", "AIRFLOW_HOME", "SECRETS"):
        monkeypatch.setattr(layout, name, tmp_path / name)
    layout.AIRFLOW_HOME.mkdir()

    def run(command, **options):
        ran.append(command[1:])
        options["stdout"].write(b"what Airflow said\n")
        return subprocess.CompletedProcess(command, codes[0])

    monkeypatch.setattr(subprocess, "run", run)
    return ran, codes


def test_the_database_is_made_once(migrations):
    ran, _ = migrations
    said = []
    airflow_database.migrate(said.append)
    airflow_database.migrate(said.append)
    assert airflow_database.main() == 0
    assert ran == [["-m", "airflow", "db", "migrate"]]
    assert said == ["creating the Airflow database"]


def test_what_goes_wrong_is_told_at_the_start_and_tried_again(migrations):
    ran, codes = migrations
    codes[0] = 3
    assert airflow_database.main() == 1
    with pytest.raises(airflow_database.DatabaseError, match=r"db-migrate.log:\nwhat Airflow said"):
        airflow_database.migrate(print)
    codes[0] = 0
    assert airflow_database.main() == 0
    assert len(ran) == 3
