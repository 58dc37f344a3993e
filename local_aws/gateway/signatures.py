"""Who may call: requests are signed with the account's keys, as on AWS (Signature Version 4).

Whoever can reach the port could otherwise run code as the user of this machine: other users of it, and pages in a browser. The
signature is made again by botocore's own signer from what arrived, and compared.
"""

from __future__ import annotations

import configparser
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/,\s]+)/(?P<date>\d{8})/(?P<region>[^/,\s]+)/(?P<service>[^/,\s]+)/aws4_request,\s*"
    r"SignedHeaders=(?P<headers>[^,\s]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)
_SIGNING = tuple(
    f"X-Amz-{name}=" for name in ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Security-Token")
)
_UNSIGNED = "UNSIGNED-PAYLOAD"
_VERSION_2 = re.compile(r"(^|&)AWSAccessKeyId=[^&]+(&.*)?&Signature=")
_SKEW = timedelta(minutes=15)
_LONGEST_SECONDS = 7 * 24 * 3600
REMEDY = (
    "'make env' prints the variables of the local stack; a local_aws of your own keeps its keys in DATA_DIR/credentials"
)


class Signed:
    """A signature as it came with a request: in the header ``Authorization`` or in the query of a presigned URL."""

    def __init__(self, headers: Mapping[str, str], query: str) -> None:
        """`headers` by lower-case name; `query` as it came, percent-encoded."""
        self.headers = headers
        pairs = [pair.partition("=") for pair in query.split("&") if pair]
        values = {name: unquote(value) for name, _, value in pairs}
        self.presigned = "X-Amz-Signature" in values
        if self.presigned:
            query = "&".join(name + equals + value for name, equals, value in pairs if name != "X-Amz-Signature")
            text = (
                f"{values.get('X-Amz-Algorithm')} Credential={values.get('X-Amz-Credential')}, "
                f"SignedHeaders={values.get('X-Amz-SignedHeaders')}, Signature={values['X-Amz-Signature']}"
            )
            self._date = values.get("X-Amz-Date", "")
            self._expires = values.get("X-Amz-Expires", "")
        else:
            text = headers.get("authorization", "")
            self._date = headers.get("x-amz-date", "")
        self._query = query
        self.authorization = text
        self.query = (
            "&".join(pair for pair in query.split("&") if not pair.startswith(_SIGNING)) if self.presigned else query
        )
        match = _AUTHORIZATION.fullmatch(text)
        self._parts = match.groupdict() if match else None

    @property
    def access_key(self) -> str | None:
        """Return the access key id, None when the request is not signed."""
        return self._parts["key"] if self._parts else None

    @property
    def service(self) -> str:
        """Return the service that the signature is for, empty when the request is not signed."""
        return self._parts["service"] if self._parts else ""

    @property
    def version_2(self) -> bool:
        """Return whether this is a URL presigned in the old way, which boto3 makes unless it is told otherwise."""
        return bool(_VERSION_2.search(self._query))

    @property
    def uncovered(self) -> list[str]:
        """Return the headers that change what is asked for and are not under the signature."""
        covered = set(self._parts["headers"].split(";")) if self._parts else set()
        return sorted(
            name for name in self.headers if (name == "host" or name.startswith("x-amz-")) and name not in covered
        )

    def out_of_time(self, now: datetime) -> str | None:
        """Return what is wrong with the time of the signature at the moment `now`, None when nothing is."""
        try:
            begun = datetime.strptime(self._date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            seconds = int(self._expires) if self.presigned else 0
        except ValueError:
            return "The request has no valid X-Amz-Date or X-Amz-Expires."
        if self._parts is None or self._parts["date"] != self._date[:8]:
            return "The date of the credential is not the date of the request."
        if self.presigned:
            if not 0 <= seconds <= _LONGEST_SECONDS:
                return "X-Amz-Expires must be between 0 and 604800 seconds."
            return "Request has expired." if now > begun + timedelta(seconds=seconds) else None
        if abs(now - begun) > _SKEW:
            return "The difference between the request time and the current time is too large."
        return None

    def is_by(self, secret_key: str, method: str, path: str, body: bytes = b"") -> bool:
        """Return whether the holder of `secret_key` signed this request; `path` as it came, percent-encoded."""
        if self._parts is None or not self._date:
            return False
        signed = {name: self.headers[name] for name in self._parts["headers"].split(";") if name in self.headers}
        request = AWSRequest(method=method, url=f"http://{self.headers.get('host', '')}{path}?{self._query}", data=body)
        for name, value in signed.items():
            request.headers[name] = value
        request.context["timestamp"] = self._date
        kind: Any = S3SigV4Auth if self._parts["service"] == "s3" else SigV4Auth
        signer = kind(Credentials(self._parts["key"], secret_key), self._parts["service"], self._parts["region"])
        canonical = "\n".join(
            (
                method.upper(),
                signer._normalize_url_path(path),
                signer.canonical_query_string(request),
                signer.canonical_headers(request.headers) + "\n",
                self._parts["headers"],
                self._payload(signer, request),
            )
        )
        expected = signer.signature(signer.string_to_sign(request, canonical), request)
        return hmac.compare_digest(expected, self._parts["signature"])

    def _payload(self, signer: Any, request: AWSRequest) -> str:
        """Return the digest that the signature must have been made with: S3's is in a header, others are of the body itself."""
        announced = self.headers.get("x-amz-content-sha256")
        if self.presigned:
            return announced or _UNSIGNED
        if self._parts and self._parts["service"] == "s3":
            return announced or str(signer.payload(request))
        digest = hashlib.sha256(request.data or b"").hexdigest()
        return digest if announced in (None, digest) else "the digest is not the body's"


def refusal(
    signed: Signed,
    secret_of: Callable[[str], str | None],
    method: str,
    path: str,
    body: bytes = b"",
    target_service: str | None = None,
) -> tuple[str, str] | None:
    """Return error code and message for a request that is not by a holder of the account's keys, None for one that is.

    Args:
        signed: the signature.
        secret_of: returns the secret of an access key, None for a key of nobody.
        method: HTTP method.
        path: as it came, percent-encoded.
        body: what the signature covers; empty for S3, whose bodies have their digest in a header.
        target_service: the service that the header ``X-Amz-Target`` names.

    """
    key = signed.access_key
    if key is None and signed.version_2:
        return "InvalidRequest", (
            "The URL is presigned with Signature Version 2; make it with Version 4: "
            "boto3.client('s3', config=Config(signature_version='s3v4'))."
        )
    if key is None:
        return "MissingAuthenticationToken", f"The request is not signed (AWS4-HMAC-SHA256): {REMEDY}."
    secret = secret_of(key)
    if secret is None:
        return "InvalidClientTokenId", f"The access key {key[:32]} is none of this account's: {REMEDY}."
    if signed.presigned and signed.service != "s3":
        return "AccessDenied", "Presigned URLs are for S3 only."
    if target_service not in (None, signed.service):
        return "SignatureDoesNotMatch", f"Credential should be scoped to correct service: '{target_service}'."
    if uncovered := signed.uncovered:
        listed = ", ".join(uncovered)[:200]
        return "AccessDenied", f"There were headers present in the request which were not signed: {listed}."
    if wrong := signed.out_of_time(datetime.now(UTC)):
        return "AccessDenied" if signed.presigned else "RequestTimeTooSkewed", wrong
    if not signed.is_by(secret, method, path, body):
        return "SignatureDoesNotMatch", f"The request was not signed with the secret key of {key[:32]}: {REMEDY}."
    return None


def read_or_make_keys(path: Path) -> dict[str, str]:
    """Return secret key by access key id of a file in the form of ``~/.aws/credentials``; made, for its owner only, when missing.

    Raises:
        ValueError: the file holds no pair of keys.

    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        text = (
            f"[default]\naws_access_key_id = {new_access_key()}\naws_secret_access_key = {secrets.token_urlsafe(30)}\n"
        )
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
    found = {section["aws_access_key_id"]: section["aws_secret_access_key"] for section in _sections(path)}
    if not found:
        raise ValueError(f"{path} holds no aws_access_key_id with its aws_secret_access_key")
    return found


def read_roles(path: Path) -> dict[str, str]:
    """Return the ARN of the role by access key id, of the keys in the file that have a ``role_arn`` beside them."""
    return {section["aws_access_key_id"]: section["role_arn"] for section in _sections(path) if "role_arn" in section}


def _sections(path: Path) -> list[configparser.SectionProxy]:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(path.read_text())
    names = ("aws_access_key_id", "aws_secret_access_key")
    return [section for section in parser.values() if all(name in section for name in names)]


def new_access_key() -> str:
    """Return a new access key id; one of 12 digits would select another account."""
    return f"LOCAL{secrets.token_hex(8).upper()}"
