"""What deploy/images.toml says, and the name each image gets from the content it is made of.

Reads files and changes nothing. An image is called k2/<name>:<hash of its context, versions and base>: the same content
has the same name, so an image that is there need not be built.
"""

import hashlib
import io
import os
import re
import tarfile
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.stacks.containers.errors import CatalogueError

PREFIX = "k2/"
BASE = "base"
HOST_CERTIFICATES = "host-certificates.crt"
_FORMAT = 1
_SOURCES = ("build", "official")
_HASH_LENGTH = 12
_IGNORED_FOLDERS = {"__pycache__"}
_ARGUMENT = re.compile(r"^ARG\s+(\w+)", re.MULTILINE)
_LOOPBACK = re.compile(r"//(?:[^/@]*@)?(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])")
_CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_CERTIFICATE_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")
PREDEFINED = (*_PROXIES, *(name.upper() for name in _PROXIES))
"""Build arguments a Dockerfile takes without naming them."""
PASSED_ON = (
    *("GOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GOINSECURE"),
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST"),
    "MAVEN_ARGS",
)
"""How this host reaches packages: handed to the Dockerfiles that ask for them, part of no name and no final image."""

Files = Mapping[str, tuple[int, bytes]]
"""A build context: path in it -> permissions and content."""


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """One image, as it is described.

    Attributes:
        official: name of an image that can stand in for it.
        prefers_official: use that wherever it can be pulled.
        versions: build arguments that pin what goes in.
        context: paths of the repository; none means the Dockerfile's own folder.
    """

    name: str
    official: str | None
    prefers_official: bool
    versions: Mapping[str, str]
    context: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Everything that is described. `suite` is the Debian release that debootstrap makes the base of."""

    base_official: str
    suite: str
    images: tuple[ImageSpec, ...]

    def named(self, names: Iterable[str]) -> tuple[ImageSpec, ...]:
        """Some of the images, in the order of the file.

        Raises:
            CatalogueError: there is none of that name.
        """
        wanted = set(names)
        known = {spec.name for spec in self.images}
        if unknown := sorted(wanted - known):
            raise CatalogueError(f"no image called {', '.join(unknown)}; there are {', '.join(sorted(known))}")
        return tuple(spec for spec in self.images if spec.name in wanted)


def read_catalogue(root: Path) -> Catalogue:
    """Read deploy/images.toml of a checkout.

    Raises:
        CatalogueError: it is missing or cannot be used; the message names the place.
    """
    path = root / "deploy" / "images.toml"
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise CatalogueError(f"{path}: {error}") from error
    if document.get("format") != _FORMAT:
        raise CatalogueError(f"{path}: format {document.get('format')!r} is not {_FORMAT}")
    default = document.get("source", _SOURCES[0])
    specs = tuple(_spec(path, name, table, default) for name, table in document.get("image", {}).items())
    for spec in specs:
        if not (folder_of(root, spec.name) / "Dockerfile").is_file():
            raise CatalogueError(f"{path}: image.{spec.name} has no deploy/images/{spec.name}/Dockerfile")
    try:
        return Catalogue(document["base"]["official"], document["base"]["suite"], specs)
    except KeyError as error:
        raise CatalogueError(f"{path}: base lacks {error}") from None


def _spec(path: Path, name: str, table: Mapping[str, Any], default_source: str) -> ImageSpec:
    if unknown := sorted(set(table) - {"official", "source", "versions", "context"}):
        raise CatalogueError(f"{path}: image.{name} has {', '.join(unknown)}, which nobody reads")
    source = table.get("source", default_source)
    if source not in _SOURCES:
        raise CatalogueError(f"{path}: image.{name} has source {source!r}: choose {' or '.join(_SOURCES)}")
    official = table.get("official")
    if "source" in table and source == "official" and official is None:
        raise CatalogueError(f"{path}: image.{name} has source 'official' and no official image")
    prefers_official = source == "official" and official is not None
    return ImageSpec(name, official, prefers_official, table.get("versions", {}), tuple(table.get("context", ())))


def folder_of(root: Path, name: str) -> Path:
    """Where an image's Dockerfile is."""
    return root / "deploy" / "images" / name


def context_files(root: Path, spec: ImageSpec) -> dict[str, tuple[int, bytes]]:
    """What a build of the image sees: paths in the context -> permissions and content.

    Raises:
        CatalogueError: a path that is named is not there.
    """
    folder = folder_of(root, spec.name)
    if not spec.context:
        return _files_below(folder, folder)
    found: dict[str, tuple[int, bytes]] = {}
    for part in spec.context:
        path = root / part
        if not path.exists():
            raise CatalogueError(f"deploy/images.toml: context of image.{spec.name} names {part}, which is not there")
        found |= {part: _file(path)} if path.is_file() else _files_below(path, root)
    return found


def dockerfile_of(spec: ImageSpec) -> str:
    """Path of the Dockerfile in the image's context."""
    return f"deploy/images/{spec.name}/Dockerfile" if spec.context else "Dockerfile"


def _files_below(folder: Path, relative_to: Path) -> dict[str, tuple[int, bytes]]:
    paths = (path for path in folder.rglob("*") if path.is_file() and not _IGNORED_FOLDERS & set(path.parts))
    return {path.relative_to(relative_to).as_posix(): _file(path) for path in paths}


def _file(path: Path) -> tuple[int, bytes]:
    # Only what git keeps of the permissions, so that two checkouts agree.
    return (0o755 if path.stat().st_mode & 0o100 else 0o644), path.read_bytes()


def content_hash(files: Files, versions: Mapping[str, str], base: str) -> str:
    """The tag of an image made of these files and versions on this base; also what any of them would change."""
    digest = hashlib.sha256()
    for name, (mode, content) in sorted(files.items()):
        digest.update(f"file {name} {mode:o} {hashlib.sha256(content).hexdigest()}\n".encode())
    for name, version in sorted(versions.items()):
        digest.update(f"version {name} {version}\n".encode())
    digest.update(f"base {base}\n".encode())
    return digest.hexdigest()[:_HASH_LENGTH]


def reference(name: str, tag: str) -> str:
    """Name and tag of an image of ours."""
    return f"{PREFIX}{name}:{tag}"


def archive(files: Files) -> io.BytesIO:
    """A tar archive of a context, the same bytes for the same files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, (mode, content) in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.mode, member.size = mode, len(content)
            tar.addfile(member, io.BytesIO(content))
    buffer.seek(0)
    return buffer


def build_arguments(dockerfile: str, spec: ImageSpec, base: str, settings: Mapping[str, str]) -> dict[str, str]:
    """What a build is told: its base, its versions, and of the host's package settings those it asks for."""
    asked_for = {*_ARGUMENT.findall(dockerfile), *PREDEFINED}
    passed_on = {name: value for name, value in settings.items() if name in asked_for}
    return {**passed_on, **spec.versions, "BASE_IMAGE": base}


def package_settings(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """How this host reaches packages, from its environment and the user's Maven settings."""
    settings = {name: environment[name] for name in (*PREDEFINED, *PASSED_ON) if environment.get(name)}
    maven = Path(environment.get("HOME", "/nonexistent")) / ".m2" / "settings.xml"
    if maven.is_file():
        settings["MAVEN_SETTINGS"] = maven.read_text()
    return settings


def network_of_builds(arguments: Mapping[str, str]) -> str | None:
    """The host's network where a build is sent to the host's own loopback, which its own network does not reach."""
    return "host" if any(_LOOPBACK.search(value) for value in arguments.values()) else None


def host_certificates(environment: Mapping[str, str] = os.environ, files: Iterable[str] = _CERTIFICATE_FILES) -> bytes:
    """The bundle of certificates this host trusts; empty if it has none in a file.

    Raises:
        CatalogueError: a variable names a file that cannot be read.
    """
    for variable in _CERTIFICATE_VARIABLES:
        if file := environment.get(variable):
            try:
                return Path(file).read_bytes()
            except OSError as error:
                raise CatalogueError(f"{variable}={file}: {error.strerror}; correct or unset it") from None
    return next((Path(file).read_bytes() for file in files if Path(file).is_file()), b"")
