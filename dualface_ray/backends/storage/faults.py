"""Faults: what storage libraries raise, told apart and put into words without any secret in them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from enum import Enum
from typing import TypeVar

from dualface_ray.errors import AddressError, DualfaceError, InputError, InputMissingError, OutputError
from dualface_ray.media import shown_address, shown_text

T = TypeVar("T")
PAUSE_S = 0.5
MAX_PAUSE_S = 8.0
CHANGED_TEXT = "it was replaced while it was fetched"
_NO_CREDENTIALS = {
    "CredentialRetrievalError",
    "DefaultCredentialsError",
    "NoAuthTokenError",
    "NoCredentialsError",
    "PartialCredentialsError",
    "ProfileNotFound",
    "RefreshError",
    "SSOTokenLoadError",
    "TokenRetrievalError",
    "UnauthorizedSSOTokenError",
}
"""Names of classes of botocore and google.auth; the libraries need not be here for them to be known."""
_UNTRUSTED = {"CertificateError", "ClientConnectorCertificateError", "SSLCertVerificationError"}
"""Names of classes of ssl and aiohttp."""
_CERTIFICATE_REMEDY = "Check the address; SSL_CERT_FILE names the authorities that are trusted, on every node."
_STATUS = {
    **dict.fromkeys((401, 403), "denied"),
    **dict.fromkeys((404, 410), "missing"),
    **dict.fromkeys((400, 405, 414, 416), "refused"),
}
CREDENTIALS_REMEDY = {
    "s3": "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, on every node (FSSPEC_S3_ANON=true for a "
    "public bucket).",
    "gs": "Run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS, on every node "
    "(FSSPEC_GS_TOKEN=anon for a public bucket).",
}


class Fault(str, Enum):
    """What kind of trouble it is."""

    MISSING = "missing"
    DENIED = "denied"
    CREDENTIALS = "credentials"
    REFUSED = "refused"
    """The place understood and said no; asking again gives the same."""
    UNTRUSTED = "untrusted"
    """Its certificate says that it is somebody else, or nobody known vouches for it."""
    CHANGED = "changed"
    """It is not the file any more that it was at first."""
    PASSING = "passing"
    """Network, time-outs, an overloaded server: worth another try."""


class StoreFault(Exception):  # noqa: N818 - an error only once it is known what was being done
    """Trouble of one call, before it is known whether an input or an output suffers.

    Args:
        kind: which.
        text: for people, without secrets.
        scheme: of the address.
    """

    def __init__(self, kind: Fault, text: str, scheme: str) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text
        self.scheme = scheme

    def redirected(self, host: str) -> StoreFault:
        """The same of where a redirect led; ``host`` = "" when there was none."""
        return StoreFault(self.kind, f"redirected to {host}: {self.text}", self.scheme) if host else self


def status_fault(status: int, scheme: str) -> StoreFault:
    """The trouble that an HTTP status means."""
    kind = Fault(_STATUS.get(status, "passing" if status >= 400 else "refused"))
    texts = {Fault.MISSING: "no such file", Fault.DENIED: "access is denied"}
    return StoreFault(kind, texts.get(kind, f"the server answers {status}"), scheme)


def fault_of(error: BaseException, scheme: str) -> StoreFault:
    """Tell a library's error apart."""
    if isinstance(error, StoreFault):
        return error
    scheme = {"gcs": "gs", "s3a": "s3"}.get(scheme, scheme)
    names = {cls.__name__ for each in _chain(error) for cls in type(each).__mro__}
    status = next((code for each in _chain(error) if (code := _status(each))), 0)
    if names & _NO_CREDENTIALS:
        return StoreFault(Fault.CREDENTIALS, "there are no credentials for it", scheme)
    if names & _UNTRUSTED:
        why = next((text for each in _chain(error) if (text := getattr(each, "verify_message", ""))), "")
        return StoreFault(Fault.UNTRUSTED, f"its certificate is not trusted{f': {why}' if why else ''}", scheme)
    if isinstance(error, FileNotFoundError) or _STATUS.get(status) == "missing":
        return StoreFault(Fault.MISSING, "no such file", scheme)
    if isinstance(error, PermissionError) or _STATUS.get(status) == "denied":
        return StoreFault(Fault.DENIED, "access is denied", scheme)
    if isinstance(error, (NotImplementedError, IsADirectoryError, NotADirectoryError, FileExistsError)):
        return StoreFault(Fault.REFUSED, _words(error), scheme)
    if _STATUS.get(status) == "refused":
        return status_fault(status, scheme)
    return StoreFault(Fault.PASSING, _words(error), scheme)


def already_there(error: BaseException) -> bool:
    """Whether "create it only if it is not there" was refused because it is."""
    return isinstance(error, FileExistsError) or any(_status(each) in (409, 412) for each in _chain(error))


def again(
    call: Callable[[], T],
    attempts: int,
    pause: Callable[[float], object] = time.sleep,
    kind: Fault = Fault.PASSING,
) -> T:
    """Call until it succeeds; passing trouble is waited out with growing pauses, anything else comes out at once.

    Args:
        call: what is to be done.
        attempts: how often at most.
        pause: waits for so many seconds, or raises when nobody wants it any more.
        kind: of the trouble that is waited out.

    Raises:
        StoreFault: the last one.
    """
    for attempt in range(attempts):
        try:
            return call()
        except StoreFault as fault:
            if fault.kind is not kind or attempt + 1 == attempts:
                raise
        pause(min(MAX_PAUSE_S, PAUSE_S * 2**attempt) * random.uniform(0.7, 1.3))  # noqa: S311 - no secret
    raise AssertionError


def input_fault(fault: StoreFault, url: str) -> DualfaceError:
    """The error of an input that cannot be had."""
    where = shown_address(url)
    if fault.kind is Fault.MISSING:
        return InputMissingError(fault.text, where=where, remedy="Check the address.")
    if fault.kind is Fault.DENIED:
        return InputMissingError(fault.text, where=where, remedy="Check its permissions and the credentials.")
    if fault.kind is Fault.CREDENTIALS:
        return InputMissingError(fault.text, where=where, remedy=CREDENTIALS_REMEDY.get(fault.scheme, ""))
    if fault.kind is Fault.CHANGED:
        remedy = "Run again when nobody writes to it any more."
        if fault.scheme in ("http", "https"):
            remedy += " If nobody does, its address leads to servers that name it differently (ETag): name one of them."
        return InputError(fault.text, where=where, remedy=remedy)
    if fault.kind is Fault.UNTRUSTED:
        return InputError(fault.text, where=where, remedy=_CERTIFICATE_REMEDY)
    if fault.kind is Fault.REFUSED:
        return InputError(f"cannot be fetched ({fault.text})", where=where, remedy="Check the address.")
    return InputError(
        f"cannot be fetched ({fault.text})", where=where, remedy="Check the network; run again to try once more."
    )


def output_fault(fault: StoreFault, url: str) -> DualfaceError:
    """The error of a result that cannot be delivered."""
    where = shown_address(url)
    if fault.kind is Fault.CREDENTIALS:
        return OutputError(fault.text, where=where, remedy=CREDENTIALS_REMEDY.get(fault.scheme, ""))
    if fault.kind in (Fault.DENIED, Fault.MISSING):
        what = "access is denied" if fault.kind is Fault.DENIED else "there is no such place"
        return OutputError(what, where=where, remedy="Check the address and what its credentials may write.")
    if fault.kind is Fault.UNTRUSTED:
        return OutputError(fault.text, where=where, remedy=_CERTIFICATE_REMEDY)
    return OutputError(f"cannot be uploaded ({fault.text})", where=where, remedy="Check the network and run again.")


def request_fault(fault: StoreFault, url: str) -> DualfaceError:
    """The error of an address that stops the whole request."""
    what = fault.text if fault.kind is not Fault.PASSING else f"cannot be reached ({fault.text})"
    remedy = CREDENTIALS_REMEDY.get(fault.scheme, "") if fault.kind is Fault.CREDENTIALS else "Check the address."
    if fault.kind is Fault.UNTRUSTED:
        remedy = _CERTIFICATE_REMEDY
    return AddressError(what, where=shown_address(url), remedy=remedy)


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and step not in found:
        found.append(step)
        step = step.__cause__ or step.__context__
    return found


def _status(error: BaseException) -> int:
    answer = getattr(error, "response", None)
    if isinstance(answer, dict):  # botocore's
        return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    for name in ("status", "code", "status_code"):
        value = getattr(error, name, None)
        if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()):
            return int(value)
    return 0


def _words(error: BaseException) -> str:
    """At most a line of what a library says, with every secret of an address blotted out."""
    text = " ".join(shown_text(str(getattr(error, "strerror", None) or error)).split())
    name = type(error).__name__
    return (text if name in ("OSError", "StoreFault") and text else f"{name}: {text}" if text else name)[:200]
