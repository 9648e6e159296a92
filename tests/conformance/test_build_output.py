"""A build's words become seconds of fetching and building, and a failure one line with its remedy."""

import pytest

from conformance.stacks.containers.build_output import BuildSeconds, BuildWatch, failure, remedy_for, without_colours


def test_seconds_go_to_fetching_or_building_by_step() -> None:
    watch = BuildWatch(100.0)
    watch.feed("Step 1/4 : FROM k2/base:1\n ---> 0123\n", 100.5)
    watch.feed("Step 2/4 : RUN apt-get update     && apt-get install x\n", 101.0)
    watch.feed("Get:1 trixie\nSetting up x\n", 109.0)
    watch.feed("Step 3/4 : RUN go build -o /x\n", 111.0)
    watch.feed("Step 4/4 : RUN /opt/installer/bin/pip --python /opt/k2 install -r requirements.txt\n", 115.0)
    assert watch.step == "4/4 RUN /opt/installer/bin/pip --python /opt/k2 install -r requirements.txt"
    assert watch.finish(118.0) == BuildSeconds(download=13.0, build=5.0)


@pytest.mark.parametrize(
    ("instruction", "fetches"),
    [
        ("RUN mvn --batch-mode package", True),
        ("RUN go get example.org/server@v1", True),
        ("RUN go build -o /x example.org/server", False),
        ("COPY apt-get /usr/bin/", False),
        ("RUN useradd --system kafka", False),
    ],
)
def test_only_package_managers_fetch(instruction: str, fetches: bool) -> None:
    watch = BuildWatch(0.0)
    watch.feed(f"Step 1/1 : {instruction}\n", 0.0)
    seconds = watch.finish(1.0)
    assert (seconds.download, seconds.build) == ((1.0, 0.0) if fetches else (0.0, 1.0))


@pytest.mark.parametrize(
    ("output", "remedy"),
    [
        ("E: Version '17.*' for 'postgresql-17' was not found", "another version by now: set it in deploy/images.toml"),
        ("write /out: no space left on device", "free disk space"),
        ("tls: failed to verify certificate: x509: unknown authority", "name a complete bundle with SSL_CERT_FILE"),
        ("PKIX path building failed", "SSL_CERT_FILE"),
        ("Temporary failure resolving 'mirror.example'", "set HTTPS_PROXY, GOPROXY"),
        ("dial tcp: lookup proxy.example: no such host", "set HTTPS_PROXY, GOPROXY"),
        ("undefined: main", "the log has the whole output"),
    ],
)
def test_known_failures_have_a_remedy(output: str, remedy: str) -> None:
    assert remedy in remedy_for(f"Step 1/2\n{output}\nRemoving intermediate container\n")


def test_a_failure_is_one_line_with_step_status_remedy_and_log() -> None:
    error = "The command '/bin/sh -c apt-get update &&\napt-get install x' returned a non-zero code: 100"
    line = failure("kafka", "4/26 RUN apt-get update", error, "No space left on device", "build/images/kafka.log")
    assert line == (
        "image kafka cannot be built, step 4/26 RUN apt-get update: exit status 100; free disk space where the engine "
        "keeps its images; log in build/images/kafka.log"
    )


def test_a_failure_before_the_first_step_quotes_the_engine() -> None:
    line = failure("kafka", "", "dockerfile parse error on line 3:\nunknown instruction: RUM", "", "log")
    assert line.startswith(
        "image kafka cannot be built, before the first step: dockerfile parse error on line 3: unknown"
    )


def test_the_terminals_colours_are_left_out_of_the_log() -> None:
    assert without_colours("\x1b[91mE: broken\x1b[0m\n") == "E: broken\n"
