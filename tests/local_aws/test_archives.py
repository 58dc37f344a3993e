"""Archives that mean harm: a job that unpacks one fails with a reason, and nothing is written outside of its folder."""

import bz2
import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from local_aws.shared import archives
from local_aws.shared.archives import extract_archive
from local_aws.shared.errors import JobError


@pytest.fixture(autouse=True, params=["with filters", "without filters"])
def python(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """This Python's tarfile, and that of Python 3.11 before its fourth patch."""
    if request.param == "without filters":
        monkeypatch.delattr(tarfile, "data_filter", raising=False)


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", body: bytes = b""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(body)
    return info, body


def packed(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for info, body in members:
            tar.addfile(info, io.BytesIO(body))
    return path


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


ESCAPES = {
    "a climbing name": [member("../out.txt", body=b"x")],
    "a climbing name within": [member("a/../../out.txt", body=b"x")],
    "an absolute name": [member("/out.txt", body=b"x")],
    "an absolute link": [member("link", tarfile.SYMTYPE, "/etc")],
    "a climbing link": [member("link", tarfile.SYMTYPE, "../.."), member("link/out.txt", body=b"x")],
    "a climbing hard link": [member("link", tarfile.LNKTYPE, "../secret.txt")],
    "a hard link to nothing": [member("link", tarfile.LNKTYPE, "none.txt")],
    "a hard link to itself": [member("link", tarfile.LNKTYPE, "link")],
    "hard links in a ring": [member("a", tarfile.LNKTYPE, "b"), member("b", tarfile.LNKTYPE, "a")],
    "a device": [member("zero", tarfile.CHRTYPE)],
    "a pipe": [member("pipe", tarfile.FIFOTYPE)],
}


@pytest.mark.parametrize("members", ESCAPES.values(), ids=ESCAPES)
def test_a_member_that_leads_out_of_the_folder_or_is_no_file_is_refused(tmp_path: Path, members: list) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    archive = packed(tmp_path / "model.tar.gz", member("good.txt", body=b"good"), *members)
    with pytest.raises(JobError, match=r"model\.tar\.gz cannot be unpacked"):
        extract_archive(archive, tmp_path / "job" / "model")
    assert everything(tmp_path) <= {
        "secret.txt", "model.tar.gz", "job", "job/model", "job/model/good.txt"
    }  # fmt: skip


def test_a_chain_of_links_longer_than_a_path_may_be_does_not_lead_out(tmp_path: Path) -> None:
    """CVE-2025-4517: past the longest path that the system resolves, the filter of older Pythons takes links at their word."""
    deep, members, path = "d" * 247, [], ""
    for letter in "abcdefghijklmnop":
        members += [member(f"{path}{deep}", tarfile.DIRTYPE), member(f"{path}{letter}", tarfile.SYMTYPE, deep)]
        path += f"{deep}/"
    short = "/".join("abcdefghijklmnop")
    members.append(member(f"{short}/{'l' * 254}", tarfile.SYMTYPE, "../" * 16))
    members.append(member("escape", tarfile.SYMTYPE, f"{short}/{'l' * 254}/../../../out"))
    members.append(member("written", tarfile.LNKTYPE, "escape"))
    members.append(member("written", body=b"pwned"))
    with pytest.raises(JobError, match="outside of its folder"):
        extract_archive(packed(tmp_path / "a.tar.gz", *members), tmp_path / "job" / "model")
    assert not (tmp_path / "out").exists()


def test_links_within_the_folder_stay(tmp_path: Path) -> None:
    archive = packed(
        tmp_path / "a.tar.gz", member("lib/x.so.1", body=b"x"), member("lib/x.so", tarfile.SYMTYPE, "x.so.1")
    )
    extract_archive(archive, tmp_path / "out")
    assert (tmp_path / "out/lib/x.so").read_bytes() == b"x"


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, bytes], ids=["gzip", "bzip2", "plain"])
def test_all_compressions_that_sagemaker_knows_are_read(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info, body = member("a.txt", body=b"a")
        tar.addfile(info, io.BytesIO(body))
    (tmp_path / "a.tar").write_bytes(compress(buffer.getvalue()))
    extract_archive(tmp_path / "a.tar", tmp_path / "out")
    assert (tmp_path / "out/a.txt").read_text() == "a"


def test_a_bomb_is_refused_before_its_contents_are_written(tmp_path: Path) -> None:
    archive = packed(tmp_path / "bomb.tar.gz", member("small", body=b"x"), member("zeros", body=bytes(5_000_000)))
    assert archive.stat().st_size < 10_000
    with pytest.raises(JobError, match=r"bomb\.tar\.gz unpacks to more than 1000000 bytes"):
        extract_archive(archive, tmp_path / "out", max_bytes=1_000_000)
    assert everything(tmp_path / "out") == {"small"}


def test_an_archive_that_would_fill_the_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = archives.RESERVED_BYTES + 1000

    monkeypatch.setattr("shutil.disk_usage", lambda folder: Usage)
    archive = packed(tmp_path / "a.tar.gz", member("a", body=bytes(1001)))
    with pytest.raises(JobError, match="unpacks to more than 1000 bytes"):
        extract_archive(archive, tmp_path / "out")
    assert everything(tmp_path / "out") == set()


def test_an_archive_of_too_many_members_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    archive = packed(tmp_path / "a.tar.gz", *[member(str(number)) for number in range(4)])
    with pytest.raises(JobError, match="or 3 members"):
        extract_archive(archive, tmp_path / "out")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE])
def test_a_header_of_any_size_is_not_read_into_memory(tmp_path: Path, kind: bytes) -> None:
    archive = packed(tmp_path / "a.tar.gz", member("header", kind, body=bytes(3_000_000)), member("a", body=b"a"))
    with pytest.raises(JobError, match="cannot be unpacked: a header of"):
        extract_archive(archive, tmp_path / "out")


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", b"\x1f\x8b broken", b"BZh broken", gzip.compress(b"x" * 600)],
    ids=["nothing", "text", "gzip", "bzip2", "no-tar"],
)
def test_what_is_no_archive_says_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar.gz").write_bytes(content)
    with pytest.raises(JobError, match=r"a\.tar\.gz cannot be unpacked"):
        extract_archive(tmp_path / "a.tar.gz", tmp_path / "out")


def test_an_archive_that_is_cut_says_so(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.tar.gz", member("a", body=bytes(range(256)) * 4000))
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(JobError, match="cannot be unpacked"):
        extract_archive(archive, tmp_path / "out")
