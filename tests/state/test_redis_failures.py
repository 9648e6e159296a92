"""Redis that is away, slow, foreign or lies: an error of ours within the time limit, and work again when it is back."""

import datetime
import ipaddress
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from k2.errors import CircuitOpenError, K2Error, RefusedError, UnavailableError
from k2.observability.metrics import Metrics
from k2.resilience.circuit_breaker import BreakerState, CircuitBreaker
from k2.settings import BreakerSettings, StateSettings
from k2.state.redis_server import RedisStore
from tests.resilience.manual_clock import ManualClock
from tests.state.redis_double import PASSWORD, RedisDouble, redis_double

TIMEOUT_SECONDS = 0.2
# Far beyond the limit of a call, far below what any of these servers would otherwise take.
PATIENCE_SECONDS = 5.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def breaker(clock: ManualClock) -> CircuitBreaker:
    return CircuitBreaker("redis", BreakerSettings(failures_to_open=3), Metrics(), clock)


@pytest.fixture
def server() -> Iterator[RedisDouble]:
    with redis_double() as running:
        yield running


class Opened:
    """Opens stores, all behind one breaker."""

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._breaker = breaker
        self.stores: list[RedisStore] = []

    def __call__(self, settings: StateSettings, timeout_seconds: float = PATIENCE_SECONDS) -> RedisStore:
        chosen = settings.model_copy(update={"redis_timeout_seconds": timeout_seconds})
        self.stores.append(RedisStore(chosen, self._breaker))
        return self.stores[-1]


@pytest.fixture
def opened(breaker: CircuitBreaker) -> Iterator[Opened]:
    opener = Opened(breaker)
    yield opener
    for store in opener.stores:
        store.close()


def failure(store: RedisStore) -> K2Error:
    started = time.monotonic()
    with pytest.raises(K2Error) as caught:
        store.get("key")
    assert time.monotonic() - started < 2 * PATIENCE_SECONDS
    return caught.value


def test_nobody_at_the_address(opened: Opened, server: RedisDouble) -> None:
    server.close()
    error = failure(opened(server.settings))
    assert isinstance(error, UnavailableError)
    assert f"127.0.0.1:{server.port}" in str(error)


def test_a_wrong_password_is_refused_and_not_told(opened: Opened, server: RedisDouble, breaker: CircuitBreaker) -> None:
    wrong = server.settings.model_copy(update={"redis_password": SecretStr("hush")})
    errors = [failure(opened(wrong)) for _ in range(4)]
    assert all(isinstance(error, RefusedError) and "hush" not in str(error) for error in errors)
    # It answers, so there is nothing to be left alone.
    assert breaker.state is BreakerState.CLOSED


def test_it_says_who_it_is_and_nothing_it_need_not(opened: Opened, server: RedisDouble) -> None:
    opened(server.settings).look()
    assert server.commands == ["AUTH", "PING"]


def silent(command: bytes) -> Iterator[bytes]:
    yield from ()


def dripping(command: bytes) -> Iterator[bytes]:
    yield b"$1000000\r\n"
    for _ in range(int(2 * PATIENCE_SECONDS / 0.02)):
        yield b"x"
        threading.Event().wait(0.02)


@pytest.mark.parametrize("answer", [silent, dripping])
def test_one_that_is_slow_is_given_up_at_the_limit(
    opened: Opened, server: RedisDouble, answer: Callable[[bytes], Iterator[bytes]]
) -> None:
    server.answer = answer
    store = opened(server.settings, TIMEOUT_SECONDS)
    started = time.monotonic()
    with pytest.raises(UnavailableError, match=r"no answer within 0\.2 s|No answer in time|look at the server"):
        store.get("key")
    assert time.monotonic() - started < PATIENCE_SECONDS


def test_the_next_call_after_one_that_was_given_up_is_a_new_one(opened: Opened, server: RedisDouble) -> None:
    server.values[b"key"] = b"right", time.monotonic() + 60
    late = threading.Event()

    def answers_another(command: bytes) -> Iterator[bytes]:
        late.wait(1)
        yield b"$5\r\nwrong\r\n"

    store = opened(server.settings, TIMEOUT_SECONDS)
    server.answer = answers_another
    with pytest.raises(UnavailableError):
        store.get("other")
    server.answer = None
    late.set()
    # An answer that comes late belongs to nobody.
    for _ in range(20):
        try:
            assert store.get("key") == b"right"
            return
        except UnavailableError:
            continue
    raise AssertionError("it never answered again")


@pytest.mark.parametrize(
    "lie",
    [
        b"anything\r\n",
        b":not a number\r\n",
        b"$-7\r\n",
        b"$ten\r\n",
        b"*2\r\n",
        b"-ERR no\r\n",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        b"$99999999999999\r\nx",
        b"",
    ],
)
def test_an_answer_that_is_none_is_an_error_of_ours(opened: Opened, server: RedisDouble, lie: bytes) -> None:
    def answers(command: bytes) -> Iterator[bytes]:
        yield lie

    server.answer = answers
    with pytest.raises(K2Error):
        opened(server.settings, TIMEOUT_SECONDS).put("key", b"value", 60)


def test_it_is_left_alone_after_failures_in_a_row_and_asked_again_after_the_wait(
    opened: Opened, server: RedisDouble, breaker: CircuitBreaker, clock: ManualClock
) -> None:
    store = opened(server.settings)

    def hangs_up(command: bytes) -> Iterator[bytes]:
        yield b""
        raise ConnectionResetError

    server.answer = hangs_up
    assert [type(failure(store)) for _ in range(4)] == [UnavailableError] * 3 + [CircuitOpenError]
    asked = len(server.commands)
    failure(store)
    assert len(server.commands) == asked
    server.answer = None
    clock.advance(10)
    store.look()
    store.look()
    assert breaker.state is BreakerState.CLOSED
    assert store.get("key") is None


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that vouches for itself, with its key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return path


def test_tls_is_spoken_and_the_server_must_be_vouched_for(opened: Opened, certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with redis_double(context) as server:
        over_tls = server.settings.model_copy(update={"redis_tls": True})
        trusting = opened(over_tls.model_copy(update={"redis_ca_file": certificate}))
        trusting.put("key", b"value", 60)
        assert trusting.get("key") == b"value"
        with pytest.raises(UnavailableError):
            opened(over_tls).look()
        with pytest.raises(UnavailableError):
            opened(server.settings, TIMEOUT_SECONDS).look()
    assert PASSWORD not in str(failure(trusting))
