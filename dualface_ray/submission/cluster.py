"""A cluster as its dashboard shows it: every call with a time limit, every failure as one line."""

from __future__ import annotations

import json
import logging
import os
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn
from urllib.parse import urlsplit

from dualface_ray.errors import ClusterError, ContactLostError, DualfaceError, NoSuchJobError
from dualface_ray.media import shown_address
from dualface_ray.submission.token import token_headers

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
ANSWER_TIMEOUT_S = 10.0
REQUEST_TIMEOUT_S = 120.0
"""For everything after the first answer; an upload of 100 MiB over a slow line is the longest."""
_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
_HOW_TO_GET_IN = "Put the cluster's token (`ray get-auth-token` on its head) into ~/.ray/auth_token or RAY_AUTH_TOKEN."


def dashboard_address(given: str | None, env: Mapping[str, str]) -> str:
    """The dashboard's URL: the option, else the variables that Ray's own commands read, else this machine.

    ``RAY_ADDRESS`` counts only as a URL: without one it names the cluster's inner address, for programs inside it.

    Raises:
        ClusterError: the address is none of a dashboard.
    """
    text, origin = given, "--address"
    for name in _VARIABLES:
        if not text and (name == _VARIABLES[0] or "://" in env.get(name, "")):
            text, origin = env.get(name), name
    text = (text or DEFAULT_ADDRESS).strip()
    text = text if "://" in text else f"http://{text}"
    parts = urlsplit(text)
    try:
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # a port that is no number
        sound = False
    if not sound or "@" in parts.netloc or parts.query:
        raise ClusterError(
            "not the address of a dashboard", where=f"{origin} {shown_address(text)}", remedy="Use http://HOST:8265."
        )
    text = text.rstrip("/")
    return f"{text}:8265" if parts.scheme == "http" and not parts.port and not parts.path.strip("/") else text


class Cluster:
    """A Ray cluster that takes jobs.

    Args:
        address: as for ``dashboard_address``.
        env: where addresses and tokens are looked up.
        client: makes the client from address and headers; tests put a double here.
        reach: asks the dashboard who it is; returns Ray's version there.

    Raises:
        ClusterError: nobody answers, no dashboard answers, or the token is refused.
    """

    def __init__(
        self,
        address: str | None = None,
        env: Mapping[str, str] = os.environ,
        client: Callable[[str, dict[str, str]], Any] | None = None,
        reach: Callable[[str, dict[str, str]], str] | None = None,
    ) -> None:
        self.address = dashboard_address(address, env)
        headers = token_headers(env)
        self.ray_version = (reach or ask_version)(self.address, headers)
        with self._translated(starting=True):
            self._client = (client or _ray_client)(self.address, headers)

    def submit(self, entrypoint: str, job_id: str, runtime_env: Mapping[str, Any], metadata: Mapping[str, str]) -> str:
        """Start a job and return its id."""
        with self._translated(job_id, starting=True):
            return str(
                self._client.submit_job(
                    entrypoint=entrypoint,
                    submission_id=job_id,
                    runtime_env=dict(runtime_env),
                    metadata=dict(metadata),
                )
            )

    def info(self, job_id: str) -> Any:
        """How a job stands (``JobDetails``)."""
        with self._translated(job_id):
            return self._client.get_job_info(job_id)

    def knows(self, job_id: str) -> bool:
        """Whether there is, or was, a job of that id."""
        try:
            self.info(job_id)
        except NoSuchJobError:
            return False
        return True

    def logs(self, job_id: str) -> str:
        """All that a job has said."""
        with self._translated(job_id):
            return str(self._client.get_job_logs(job_id))

    def stop(self, job_id: str) -> bool:
        """Ask a job to stop; False when it had ended already."""
        with self._translated(job_id):
            return bool(self._client.stop_job(job_id))

    def delete(self, job_id: str) -> None:
        """Take an ended job off the cluster's list."""
        with self._translated(job_id):
            self._client.delete_job(job_id)

    async def tail(self, job_id: str) -> AsyncIterator[str]:
        """What a job says, from its first line on, while it says it."""
        async for text in self._client.tail_job_logs(job_id):
            yield text

    @contextmanager
    def _translated(self, job_id: str = "", *, starting: bool = False) -> Iterator[None]:
        try:
            yield
        except DualfaceError:
            raise
        except Exception as error:  # Ray raises RuntimeError, ConnectionError and what requests raises
            _raise(error, self.address, job_id, starting)


def ask_version(address: str, headers: Mapping[str, str], timeout_s: float = ANSWER_TIMEOUT_S) -> str:
    """Ray's version as the dashboard at ``address`` says it.

    Raises:
        ClusterError: one line for each way in which this can fail.
    """
    request = urllib.request.Request(f"{address}/api/version", headers=dict(headers))  # noqa: S310 - http(s) is checked
    try:
        with urllib.request.build_opener(_StayHere()).open(request, timeout=timeout_s) as answer:
            return str(json.loads(answer.read(100_000))["ray_version"])
    except urllib.error.HTTPError as error:
        error.close()
        _raise_status(error.code, address, sent_token=bool(headers))
    except urllib.error.URLError as error:
        _raise_unreachable(error.reason, address)
    except OSError as error:
        _raise_unreachable(error, address)
    except (ValueError, KeyError, TypeError):
        raise ClusterError(
            "whatever answers there is no Ray dashboard", where=address, remedy="It usually listens on port 8265."
        ) from None


class _StayHere(urllib.request.HTTPRedirectHandler):
    """A token goes to the named host and nowhere else."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow nothing."""


def _raise_status(status: int, address: str, *, sent_token: bool) -> NoReturn:
    if status == 401:
        what = "the cluster asks for a token" + (" and did not get ours" if sent_token else ", and there is none here")
        raise ClusterError(what, where=address, remedy=_HOW_TO_GET_IN)
    if status == 403:
        raise ClusterError("the cluster refuses this token", where=address, remedy=_HOW_TO_GET_IN)
    raise ClusterError(
        f"whatever answers there is no Ray dashboard (HTTP {status})",
        where=address,
        remedy="It usually listens on port 8265 of the head.",
    )


def _raise_unreachable(reason: object, address: str) -> NoReturn:
    remedy = (
        "Is the cluster up, with ray[default] on its head, and the port forwarded (ssh -L 8265:localhost:8265 head)?"
    )
    if isinstance(reason, ConnectionRefusedError):
        what = "nobody listens there"
    elif isinstance(reason, socket.gaierror):
        what, remedy = "no machine of that name is known", "Check the address."
    elif isinstance(reason, ssl.SSLError):
        what, remedy = f"no TLS connection: {reason.reason or reason}", "Does it speak http:// or https://?"
    elif isinstance(reason, TimeoutError):
        what = f"no answer within {ANSWER_TIMEOUT_S:g} s"
    else:
        what = f"cannot be reached ({reason})"
    raise ClusterError(what, where=address, remedy=remedy)


def _raise(error: Exception, address: str, job_id: str, starting: bool) -> NoReturn:
    """One line for what Ray's client raised.

    It raises RuntimeError with the server's text for nearly everything, so the text decides.
    """
    text = str(error)
    if "ray[default]" in text:
        raise ClusterError(
            "this machine's Ray cannot send jobs", where="ray", remedy="pip install 'ray[default]'."
        ) from error
    if "No available agent" in text or "head node agent" in text:
        raise ClusterError(
            "the cluster's head has no job agent",
            where=address,
            remedy="Install ray[default] there (not plain ray), start it again, and look at dashboard_agent.log.",
        ) from error
    if "status code 404" in text or "does not exist" in text:
        raise NoSuchJobError("the cluster knows no such job", where=job_id or address) from error
    if starting and "already" in text:
        raise ClusterError(
            "a job of that name has been there already", where=job_id, remedy="Choose another, or leave it out."
        ) from error
    if type(error).__name__ == "AuthenticationError":
        raise ClusterError("the cluster refuses this token", where=address, remedy=_HOW_TO_GET_IN) from error
    if "413" in text:
        raise ClusterError("the upload is larger than the dashboard takes", where=address) from error
    line = " ".join(text.split())[:300] or type(error).__name__
    if starting:
        raise ClusterError(f"the job was not taken: {line}", where=address) from error
    raise ContactLostError(f"the cluster does not answer: {line}", where=address) from error


def _ray_client(address: str, headers: dict[str, str]) -> Any:
    """Ray's own client. It lets the environment overrule a given address, so it does not get to see that."""
    from ray.job_submission import JobSubmissionClient

    class Client(JobSubmissionClient):  # type: ignore[misc]
        """Ray's client, which waits for ever by itself, with a time limit."""

        def _do_request(self, *arguments: Any, **options: Any) -> Any:
            return super()._do_request(*arguments, **{"timeout": REQUEST_TIMEOUT_S, **options})

    for name in ("job.sdk", "dashboard_sdk"):  # they talk about web sockets and uploads
        logging.getLogger(f"ray.dashboard.modules.{name}").setLevel(logging.WARNING)
    hidden = {name: os.environ.pop(name) for name in _VARIABLES if name in os.environ}
    try:
        return Client(address, headers=headers)
    finally:
        os.environ.update(hidden)
