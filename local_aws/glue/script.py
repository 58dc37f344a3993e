"""What runs when a Glue job runs: its script with the libraries, arguments and buckets that it is given."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from local_aws.glue.arguments import check_arguments, libraries, listed
from local_aws.glue.spark import spark_environment
from local_aws.glue.staging import STAGED, StagedBucket, Staging
from local_aws.shared.clients import Clients
from local_aws.shared.errors import JobError
from local_aws.shared.job_keys import JobKey
from local_aws.shared.running.processes import job_environment
from local_aws.shared.sandbox import S3Files, parse_s3_uri, safe_join
from local_aws.shared.settings import Settings

_BUCKET = re.compile(r"s3[an]?://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?=/|$|[^a-z0-9.-])")
_NAME = re.compile(r"(?<![a-z0-9.-])[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?![a-z0-9.-])")
_LIBRARIES = Path(__file__).with_name("libraries")
_CATALOG = "--enable-glue-datacatalog"
_NO_BOOKMARK = "job-bookmark-disable"

Document = dict[str, Any]


class Script:
    """The script of one run, fetched into the folder `work`, with the buckets that it works on.

    Raises:
        JobError: there is no such script, no environment for it, or the job's command is of another kind.

    """

    def __init__(
        self,
        settings: Settings,
        clients: Clients,
        job: Document,
        run: Document,
        work: Path,
        ahead: Mapping[str, StagedBucket] | None = None,
    ) -> None:
        """`ahead` are buckets that lie in `work` already, as they were a while ago."""
        self._settings = settings
        self._job, self._run, self._work = job, run, work
        self._arguments = job.get("DefaultArguments", {}) | run["Arguments"] | job.get("NonOverridableArguments", {})
        self._python = settings.python("jobs")
        if not self._python.exists():
            raise JobError(f"the virtual environment 'jobs' is missing below {settings.environments}")
        command = job["Command"]["Name"]
        if command not in ("glueetl", "pythonshell"):
            raise JobError(f"the command {command} is not available in local_aws (glueetl, pythonshell)")
        check_arguments(self._arguments, self._python)
        location = job["Command"].get("ScriptLocation", "")
        client = clients.s3_as(job.get("Role"))
        files = S3Files(client)
        self._script = _file_of(location, work / "script")
        files.download_uri(location, self._script)
        self._extra_path = _libraries(files, libraries(self._arguments), work / "script")
        #: Where the script starts; its extra files lie there.
        self.folder = work / "here"
        self.folder.mkdir(exist_ok=True)  # a spare driver has started there
        for uri in listed(self._arguments, "--extra-files"):
            files.download_uri(uri, _file_of(uri, self.folder))
        self.staging: Staging | None = None
        if command == "glueetl":
            named = self._named_buckets(clients, [location, *map(str, self._arguments.values())])
            self.staging = Staging(settings, clients.s3, client, work / STAGED, named, ahead)
            self.staging.refresh()

    def _named_buckets(self, clients: Clients, texts: list[str]) -> list[str]:
        """Return the buckets in the arguments, those of the account that the code names, and those of tables if it reads the catalog."""
        code = [path.read_text(errors="replace") for path in sorted((self._work / "script").rglob("*.py"))]
        named = _buckets(texts)
        present = {bucket["Name"] for bucket in clients.s3.list_buckets()["Buckets"]}
        words = {word for text in code for word in _NAME.findall(text)}
        named += sorted((words | set(_buckets(code))) & present)
        if self._with_catalog or any("from_catalog" in text for text in code):
            named += sorted(set(_buckets(_locations(clients.catalog))) & present)
        return list(dict.fromkeys(named))

    @property
    def _with_catalog(self) -> bool:
        return str(self._arguments.get(_CATALOG, "false")).lower() != "false"

    def command(self, key: JobKey, variables: dict[str, str]) -> tuple[list[str], dict[str, str]]:
        """Return command and environment of the script's process; `variables` are for those that ask for bookmarks."""
        env = job_environment(self._settings, self._python, self._work, key, {})
        if self._arguments.get("--job-bookmark-option", _NO_BOOKMARK) != _NO_BOOKMARK:
            env |= variables
        env["PYTHONPATH"] = ":".join([str(_LIBRARIES), *self._extra_path])
        if self.staging:
            folders = {bucket.bucket: bucket.folder for bucket in self.staging.buckets}
            env |= spark_environment(self._settings, self._work, folders, self._arguments.get("--conf", ""))
        session = [str(_LIBRARIES / "glue_rows" / "session.py")] if self.staging and self._with_catalog else []
        argv = [str(self._python), *session, str(self._script)]
        run_id = self._run["Id"]
        own = {"--JOB_NAME": self._job["Name"], "--JOB_RUN_ID": run_id, "--JOB_ID": f"j_{run_id[3:]}"}
        for name, value in (own | self._arguments).items():
            argv += [name, *([str(value)] if value != "" else [])]
        return argv, env


def _libraries(files: S3Files, uris: list[str], folder: Path) -> list[str]:
    paths = []
    for uri in uris:
        target = _file_of(uri, folder)
        files.download_uri(uri, target)
        paths.append(str(target if target.suffix in (".zip", ".whl", ".egg") else target.parent))
    return paths


def _file_of(uri: str, folder: Path) -> Path:
    """Return where a script lies in the job's folder; JobError when its URI names no file."""
    name = parse_s3_uri(uri)[1].rpartition("/")[2]
    if not name:
        raise JobError(f"{uri} names no file")
    return safe_join(folder, name)


def _buckets(texts: Iterable[str]) -> list[str]:
    """Return the buckets that are named by s3:// paths in the texts, each once."""
    return list(dict.fromkeys(bucket for text in texts for bucket in _BUCKET.findall(text)))


def _locations(catalog: Any) -> list[str]:
    """Return where the tables and databases of the catalog lie."""
    found = []
    for database in (one for page in catalog.get_paginator("get_databases").paginate() for one in page["DatabaseList"]):
        found.append(database.get("LocationUri") or "")
        for page in catalog.get_paginator("get_tables").paginate(DatabaseName=database["Name"]):
            found += [table.get("StorageDescriptor", {}).get("Location") or "" for table in page["TableList"]]
    return found
