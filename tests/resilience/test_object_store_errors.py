"""What the object store's client raises, against servers that really answer so, is told apart by the name in it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

from k2.errors import RefusedError, UnavailableError
from k2.resilience.failures import classify, text_of, translated
from k2.resilience.rule import FailureClass

TRANSIENT, _, FATAL = FailureClass
LONG_KEY = "x" * 300


def client(endpoint: str) -> S3FileSystem:
    return S3FileSystem(
        endpoint_override=endpoint,
        access_key="key",
        secret_key="hush-hush",
        region="us-east-1",
        connect_timeout=2,
        request_timeout=2,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=1),
    )


@contextmanager
def server(status: int, body: bytes = b"") -> Iterator[str]:
    """Answers everything so; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


def error_of(endpoint: str) -> OSError:
    """What writing a file ends with."""
    with pytest.raises(OSError, match="AWS Error") as caught:  # noqa: PT012 - opening and closing are one request
        stream = client(endpoint).open_output_stream(f"bucket/{LONG_KEY}")
        stream.close()
    return caught.value


def named(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>words</Message></Error>".encode()


@pytest.mark.parametrize(
    ("status", "body", "failure_class", "reason"),
    [
        (503, named("SlowDown"), TRANSIENT, "S3_SLOW_DOWN"),
        (503, b"", TRANSIENT, "S3_HTTP_503"),
        (500, named("InternalError"), TRANSIENT, "S3_INTERNAL_FAILURE"),
        (429, b"", TRANSIENT, "S3_HTTP_429"),
        (403, b"", FATAL, "S3_ACCESS_DENIED"),
        (403, named("InvalidAccessKeyId"), FATAL, "S3_INVALID_ACCESS_KEY_ID"),
        (403, named("SignatureDoesNotMatch"), FATAL, "S3_SIGNATURE_DOES_NOT_MATCH"),
        (403, named("RequestTimeTooSkewed"), FATAL, "S3_REQUEST_TIME_TOO_SKEWED"),
        (404, named("NoSuchBucket"), FATAL, "S3_NO_SUCH_BUCKET"),
        (404, named("SomethingElse"), FATAL, "S3_HTTP_404"),
        (400, named("SomethingElse"), FATAL, "S3_HTTP_400"),
    ],
)
def test_what_the_store_answers_decides(status: int, body: bytes, failure_class: FailureClass, reason: str) -> None:
    with server(status, body) as endpoint:
        failure = classify(error_of(endpoint))
    assert (failure.failure_class, failure.reason) == (failure_class, reason)
    assert failure.rule is not None


def test_a_store_that_is_not_there_is_transient() -> None:
    assert classify(error_of("http://127.0.0.1:1")).reason == "S3_NETWORK_CONNECTION"


def test_the_error_names_what_happened_however_long_the_file_s_name_is() -> None:
    with server(403) as endpoint:
        refused = error_of(endpoint)
    away = error_of("http://127.0.0.1:1")
    assert text_of(refused).startswith("AWS Error ACCESS_DENIED during ")
    assert LONG_KEY[:50] not in text_of(refused)
    assert type(translated(refused, "writing")) is RefusedError
    assert type(translated(away, "writing")) is UnavailableError
    assert "hush-hush" not in str(translated(refused, "writing"))


@pytest.mark.parametrize("code", ["S3_HTTP_503", "S3_HTTP_429", "S3_HTTP_302"])
def test_a_file_s_own_words_are_no_code(code: str) -> None:
    assert classify(OSError(f"{code} in a name")).reason == "OSError"
