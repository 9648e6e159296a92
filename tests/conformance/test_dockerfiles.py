"""What every Dockerfile of deploy/images keeps to, read from the files."""

import re
from pathlib import Path

import pytest

from conformance.stacks.containers.image_catalogue import (
    PASSED_ON,
    ImageSpec,
    context_files,
    dockerfile_of,
    read_catalogue,
)

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = read_catalogue(ROOT)
BASE_DEFAULT = re.compile(r"^ARG BASE_IMAGE=(\S+)$", re.MULTILINE)
FROM = re.compile(r"^FROM (\S+)(?: AS (\S+))?$", re.MULTILINE)
SHARED_FOLDERS = [("kafka", "schema-registry"), ("object-store", "toxiproxy")]


def instructions(spec: ImageSpec) -> str:
    """The Dockerfile without its comments."""
    text = context_files(ROOT, spec)[dockerfile_of(spec)][1].decode()
    return re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)


def last_stage(text: str) -> str:
    return text[list(FROM.finditer(text))[-1].start() :]


def shared_part(name: str) -> str:
    """From the first stage to where the image's own version comes in."""
    text = (ROOT / "deploy" / "images" / name / "Dockerfile").read_text().split("FROM", 1)[1]
    return re.split(r"^ARG (?:KAFKA|APICURIO|VERSITYGW|TOXIPROXY)_VERSION$", text, maxsplit=1, flags=re.MULTILINE)[0]


every_image = pytest.mark.parametrize("spec", CATALOGUE.images, ids=lambda spec: spec.name)


def test_every_folder_of_images_is_in_the_catalogue() -> None:
    folders = {path.parent.name for path in (ROOT / "deploy" / "images").glob("*/Dockerfile")}
    assert folders == {spec.name for spec in CATALOGUE.images} | {"base"}


@every_image
def test_all_stages_stand_on_the_one_base(spec: ImageSpec) -> None:
    text = instructions(spec)
    assert BASE_DEFAULT.findall(text) == [CATALOGUE.base_official]
    stages: set[str] = set()
    for origin, name in FROM.findall(text):
        assert origin == "${BASE_IMAGE}" or origin in stages
        stages.add(name)


@every_image
def test_it_does_not_run_as_root_and_says_how_it_is_seen_to_be_well(spec: ImageSpec) -> None:
    final = last_stage(instructions(spec))
    users = re.findall(r"^USER (\S+)$", final, re.MULTILINE)
    assert users
    assert users[-1] not in ("root", "0")
    assert len(re.findall(r"^HEALTHCHECK ", final, re.MULTILINE)) == 1


@every_image
def test_its_versions_are_pinned_in_the_catalogue_and_nowhere_else(spec: ImageSpec) -> None:
    arguments = dict(re.findall(r"^ARG (\w+)(=.*)?$", instructions(spec), re.MULTILINE))
    pinned = {name for name in arguments if name.endswith("_VERSION")}
    assert pinned == set(spec.versions)
    assert not any(arguments[name] for name in pinned)
    assert set(arguments) - pinned <= {"BASE_IMAGE", "MAVEN_SETTINGS", *PASSED_ON}


@every_image
def test_compilers_stay_in_stages_that_are_thrown_away(spec: ImageSpec) -> None:
    text = instructions(spec)
    tools = re.compile(r"apt-get install.*\b(?:maven|golang\S*|gcc)\b|^RUN (?:mvn|go) ", re.MULTILINE)
    for stage in re.split(r"(?=^FROM )", text, flags=re.MULTILINE):
        if tools.search(stage):
            assert "LABEL k2.stage=build\n" in stage


@every_image
def test_a_step_that_installs_leaves_no_package_lists(spec: ImageSpec) -> None:
    for step in re.findall(r"^RUN (?:.*\\\n)*.*$", instructions(spec), re.MULTILINE):
        if "apt-get install" in step:
            assert "--no-install-recommends" in step
            assert "rm -rf /var/lib/apt/lists/*" in step


@pytest.mark.parametrize(("first", "second"), SHARED_FOLDERS)
def test_stages_that_are_to_be_shared_are_word_for_word_the_same(first: str, second: str) -> None:
    assert shared_part(first) == shared_part(second)
    assert shared_part(first).count("RUN ") >= 2
