"""Where an engine is looked for, and when one may be installed."""

import dataclasses
from pathlib import Path

import pytest

from conformance.stacks.containers.engine_search import (
    HostFacts,
    Remedy,
    endpoints,
    forbidden,
    host_facts,
    remedy,
)
from conformance.stacks.containers.errors import CatalogueError

BARE_DEBIAN = HostFacts(is_root=True, distribution=frozenset({"debian"}), has_package_manager=True, has_daemon=False)


def test_the_address_the_user_names_is_the_only_one() -> None:
    assert endpoints({"DOCKER_HOST": "tcp://10.0.0.7:2375", "HOME": "/h"}) == ("tcp://10.0.0.7:2375",)


def test_without_one_the_usual_sockets_are_tried_in_order() -> None:
    assert endpoints({"HOME": "/h", "XDG_RUNTIME_DIR": "/run/user/7"}) == (
        "unix:///var/run/docker.sock",
        "unix:///run/user/7/docker.sock",
        "unix:///h/.docker/run/docker.sock",
    )
    assert endpoints({"DOCKER_HOST": ""}) == ("unix:///var/run/docker.sock",)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, Remedy.INSTALL_AND_START),
        ({"distribution": frozenset({"linuxmint", "ubuntu"})}, Remedy.INSTALL_AND_START),
        ({"has_daemon": True}, Remedy.START),
        ({"has_daemon": True, "distribution": frozenset({"fedora"}), "has_package_manager": False}, Remedy.START),
        ({"distribution": frozenset({"fedora"})}, Remedy.NOTHING),
        ({"has_package_manager": False}, Remedy.NOTHING),
        ({"is_root": False}, Remedy.NOTHING),
        ({"is_root": False, "has_daemon": True}, Remedy.NOTHING),
    ],
)
def test_an_engine_is_installed_only_by_root_on_debian_and_its_kin(change: dict[str, object], expected: Remedy) -> None:
    assert remedy({}, dataclasses.replace(BARE_DEBIAN, **change)) is expected  # type: ignore[arg-type]


def test_none_is_installed_where_the_user_named_another() -> None:
    assert remedy({"DOCKER_HOST": "tcp://10.0.0.7:2375"}, BARE_DEBIAN) is Remedy.NOTHING


@pytest.mark.parametrize(("choice", "expected"), [(None, False), ("", False), ("auto", False), ("none", True)])
def test_an_engine_can_be_forbidden(choice: str | None, expected: bool) -> None:
    assert forbidden({} if choice is None else {"K2_ENGINE": choice}) is expected


def test_a_choice_nobody_knows_is_refused() -> None:
    with pytest.raises(CatalogueError, match="K2_ENGINE=podman: choose auto or none"):
        forbidden({"K2_ENGINE": "podman"})


@pytest.mark.parametrize(
    ("text", "distribution"),
    [
        ('ID=debian\nVERSION_ID="12"\n', {"debian"}),
        ('NAME="Linux Mint"\nID=linuxmint\nID_LIKE="ubuntu debian"\n', {"linuxmint", "ubuntu", "debian"}),
        ("", set()),
    ],
)
def test_the_distribution_is_read_from_os_release(tmp_path: Path, text: str, distribution: set[str]) -> None:
    (tmp_path / "os-release").write_text(text)
    assert host_facts(tmp_path / "os-release").distribution == distribution


def test_a_host_without_os_release_is_of_no_distribution(tmp_path: Path) -> None:
    assert host_facts(tmp_path / "missing").distribution == frozenset()
