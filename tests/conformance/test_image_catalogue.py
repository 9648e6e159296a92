"""images.toml is read strictly, and an image's name changes with everything the image is made of."""

import tarfile
from pathlib import Path

import pytest

from conformance.stacks.containers.errors import CatalogueError
from conformance.stacks.containers.image_catalogue import (
    ImageSpec,
    archive,
    build_arguments,
    content_hash,
    context_files,
    dockerfile_of,
    host_certificates,
    network_of_builds,
    package_settings,
    read_catalogue,
)

BASE = '[base]\nofficial = "debian:trixie-slim"\nsuite = "trixie"\n'
FILES = {"Dockerfile": (0o644, b"FROM x\n"), "start": (0o755, b"#!/bin/sh\n")}


def checkout(folder: Path, toml: str, *services: str) -> Path:
    for service in services:
        (folder / "deploy" / "images" / service).mkdir(parents=True)
        (folder / "deploy" / "images" / service / "Dockerfile").write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n")
    (folder / "deploy").mkdir(exist_ok=True)
    (folder / "deploy" / "images.toml").write_text(toml)
    return folder


def spec(**changes: object) -> ImageSpec:
    plain: dict[str, object] = {"official": None, "prefers_official": False, "versions": {}, "context": ()}
    return ImageSpec(**{"name": "redis", **plain, **changes})  # type: ignore[arg-type]


def test_images_are_built_unless_an_official_one_is_preferred(tmp_path: Path) -> None:
    toml = (
        f'format = 1\n{BASE}[image.redis]\nofficial = "redis:8"\n[image.kafka]\nofficial = "k:4"\nsource = "official"\n'
    )
    catalogue = read_catalogue(checkout(tmp_path, toml, "redis", "kafka"))
    assert [(image.name, image.official, image.prefers_official) for image in catalogue.images] == [
        ("redis", "redis:8", False),
        ("kafka", "k:4", True),
    ]
    assert (catalogue.base_official, catalogue.suite) == ("debian:trixie-slim", "trixie")


def test_a_preference_for_all_leaves_alone_what_has_no_official_image(tmp_path: Path) -> None:
    toml = f'format = 1\nsource = "official"\n{BASE}[image.redis]\nofficial = "redis:8"\n[image.k2]\n'
    catalogue = read_catalogue(checkout(tmp_path, toml, "redis", "k2"))
    assert [image.prefers_official for image in catalogue.images] == [True, False]


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("format = 2\n", "format 2 is not 1"),
        ("format = \n", "Invalid value"),
        ("format = 1\n", "base lacks 'base'"),
        (f"format = 1\n{BASE}[image.redis]\nversion = '8'\n", "image.redis has version, which nobody reads"),
        (f"format = 1\n{BASE}[image.redis]\nsource = 'pull'\n", "source 'pull': choose build or official"),
        (f"format = 1\n{BASE}[image.redis]\nsource = 'official'\n", "source 'official' and no official image"),
        (f"format = 1\n{BASE}[image.gone]\n", "image.gone has no deploy/images/gone/Dockerfile"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(tmp_path: Path, toml: str, said: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        read_catalogue(checkout(tmp_path, toml, "redis"))
    assert str(caught.value).startswith(f"{tmp_path}/deploy/images.toml: ")
    assert said in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=r"images\.toml: .*No such file"):
        read_catalogue(tmp_path)


def test_a_name_nobody_knows_is_refused_with_those_there_are(tmp_path: Path) -> None:
    catalogue = read_catalogue(checkout(tmp_path, f"format = 1\n{BASE}[image.redis]\n[image.k2]\n", "redis", "k2"))
    with pytest.raises(CatalogueError, match="no image called minio; there are k2, redis"):
        catalogue.named(["minio", "redis"])


def test_the_same_content_has_the_same_name() -> None:
    reordered = dict(reversed(FILES.items()))
    assert content_hash(FILES, {"A": "1", "B": "2"}, "base") == content_hash(reordered, {"B": "2", "A": "1"}, "base")


@pytest.mark.parametrize(
    ("files", "versions", "base"),
    [
        ({**FILES, "Dockerfile": (0o644, b"FROM y\n")}, {"A": "1"}, "base"),
        ({**FILES, "start": (0o644, b"#!/bin/sh\n")}, {"A": "1"}, "base"),
        ({**FILES, "more": (0o644, b"")}, {"A": "1"}, "base"),
        ({"Dockerfile": FILES["Dockerfile"]}, {"A": "1"}, "base"),
        (FILES, {"A": "2"}, "base"),
        (FILES, {}, "base"),
        (FILES, {"A": "1"}, "another base"),
    ],
)
def test_whatever_the_image_is_made_of_changes_its_name(
    files: dict[str, tuple[int, bytes]], versions: dict[str, str], base: str
) -> None:
    assert content_hash(files, versions, base) != content_hash(FILES, {"A": "1"}, "base")


def test_a_context_is_the_dockerfiles_folder_without_caches(tmp_path: Path) -> None:
    root = checkout(tmp_path, "", "redis")
    folder = root / "deploy" / "images" / "redis"
    (folder / "start").write_text("#!/bin/sh\n")
    (folder / "start").chmod(0o775)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "start.pyc").touch()
    files = context_files(root, spec())
    assert {name: mode for name, (mode, _) in files.items()} == {"Dockerfile": 0o644, "start": 0o755}
    assert dockerfile_of(spec()) == "Dockerfile"


def test_a_context_can_be_parts_of_the_repository(tmp_path: Path) -> None:
    root = checkout(tmp_path, "", "redis")
    (root / "k2").mkdir()
    (root / "k2" / "cli.py").write_text("")
    (root / "README.md").write_text("")
    parts = spec(context=("deploy/images/redis", "k2", "README.md"))
    assert set(context_files(root, parts)) == {"deploy/images/redis/Dockerfile", "k2/cli.py", "README.md"}
    assert dockerfile_of(parts) == "deploy/images/redis/Dockerfile"
    with pytest.raises(CatalogueError, match=r"context of image\.redis names gone, which is not there"):
        context_files(root, spec(context=("gone",)))


def test_an_archive_is_the_same_bytes_each_time() -> None:
    first, second = archive(FILES), archive(dict(reversed(FILES.items())))
    assert first.getvalue() == second.getvalue()
    with tarfile.open(fileobj=first) as tar:
        assert [(member.name, member.mode) for member in tar] == [("Dockerfile", 0o644), ("start", 0o755)]


def test_a_build_is_told_only_what_its_dockerfile_asks_for() -> None:
    settings = {"GOPROXY": "https:" + "//proxy.example", "PIP_INDEX_URL": "x", "https_proxy": "http://proxy:3128"}
    arguments = build_arguments(
        "ARG BASE_IMAGE\nARG GOPROXY\nFROM x\n", spec(versions={"V": "1"}), "k2/base:1", settings
    )
    assert arguments == {
        "BASE_IMAGE": "k2/base:1",
        "GOPROXY": settings["GOPROXY"],
        "V": "1",
        "https_proxy": "http://proxy:3128",
    }


def test_the_hosts_package_settings_come_from_its_environment_and_mavens_file(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "GOPROXY": "direct", "PIP_INDEX_URL": "", "PASSWORD": "hidden"}
    assert package_settings(environment) == {"GOPROXY": "direct"}
    (tmp_path / ".m2").mkdir()
    (tmp_path / ".m2" / "settings.xml").write_text("<settings/>")
    assert package_settings(environment) == {"GOPROXY": "direct", "MAVEN_SETTINGS": "<settings/>"}


@pytest.mark.parametrize(
    ("value", "network"),
    [
        ("http://127.0.0.1:3128", "host"),
        ("http://user:word@localhost:3128", "host"),
        ("http://[::1]:3128", "host"),
        ("http://proxy.example:3128", None),
        ("localhost,127.0.0.1", None),
    ],
)
def test_a_build_sent_to_this_hosts_loopback_uses_this_hosts_network(value: str, network: str | None) -> None:
    assert network_of_builds({"a": value, "b": ""}) == network


def test_certificates_come_from_the_named_bundle_or_the_first_usual_one(tmp_path: Path) -> None:
    named, usual = tmp_path / "named.crt", tmp_path / "usual.crt"
    named.write_bytes(b"named")
    usual.write_bytes(b"usual")
    places = [str(tmp_path / "missing.crt"), str(usual)]
    assert host_certificates({"SSL_CERT_FILE": str(named)}, places) == b"named"
    assert host_certificates({}, places) == b"usual"
    assert host_certificates({}, places[:1]) == b""


def test_a_named_bundle_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    missing = tmp_path / "missing.crt"
    with pytest.raises(CatalogueError, match=r"SSL_CERT_FILE=.*: No such file or directory; correct or unset it"):
        host_certificates({"SSL_CERT_FILE": str(missing)}, [])
