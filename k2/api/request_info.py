"""What is known of a request before anything handles it: its id, and the names it is counted under."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from starlette.routing import compile_path
from starlette.types import Scope

REQUEST_ID_HEADER = "x-request-id"
UNMATCHED = "unmatched"
OTHER_METHOD = "OTHER"

_SCOPE_KEY = "k2.request_info"
_STANDARD_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
_USABLE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """One request, for logs, metrics and envelopes.

    Attributes:
        request_id: the client's, if it sent a usable one.
        method: a standard method or "OTHER": clients cannot invent metric labels.
        endpoint: the route's template or "unmatched", for the same reason.
    """

    request_id: str
    method: str
    endpoint: str


class EndpointNames:
    """Finds the route template of a path, whatever the method."""

    def __init__(self, templates: Iterable[str]) -> None:
        self._patterns = [(compile_path(template)[0], template) for template in dict.fromkeys(templates)]

    def name(self, path: str) -> str:
        """The template, or "unmatched"."""
        return next((template for pattern, template in self._patterns if pattern.match(path)), UNMATCHED)


def attach_request_info(scope: Scope, endpoints: EndpointNames, new_request_id: Callable[[], str]) -> RequestInfo:
    """Work out a request's info and leave it in its scope."""
    given = next((value for name, value in scope["headers"] if name == REQUEST_ID_HEADER.encode()), b"")
    text = given.decode("latin-1")
    info = RequestInfo(
        request_id=text if _USABLE_ID.fullmatch(text) else new_request_id(),
        method=scope["method"] if scope["method"] in _STANDARD_METHODS else OTHER_METHOD,
        endpoint=endpoints.name(scope["path"]),
    )
    scope[_SCOPE_KEY] = info
    return info


def request_info(scope: Scope) -> RequestInfo:
    """What `attach_request_info` left in the scope."""
    info: RequestInfo = scope[_SCOPE_KEY]
    return info
