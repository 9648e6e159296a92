"""Two images are built beside each other, and a compiler they share is fetched once."""

import threading
from pathlib import Path

import pytest

from conformance.stacks.containers.build_order import chains, two_at_a_time
from conformance.stacks.containers.image_catalogue import ImageSpec, read_catalogue

ROOT = Path(__file__).resolve().parents[2]
SPECS = read_catalogue(ROOT).images


def test_images_that_begin_with_the_same_tool_are_one_chain() -> None:
    found = [[spec.name for spec in chain] for chain in chains(SPECS)]
    assert ["kafka", "schema-registry"] in found
    assert ["object-store", "toxiproxy"] in found
    assert sorted(name for chain in found for name in chain) == sorted(spec.name for spec in SPECS)


def test_every_image_is_built_once_and_two_are_under_way_together() -> None:
    together = threading.Barrier(2, timeout=30)
    first = {chain[0].name for chain in chains(SPECS)[:2]}

    def build(spec: ImageSpec) -> str:
        if spec.name in first:
            together.wait()
        return spec.name

    assert sorted(two_at_a_time(chains(SPECS), build)) == sorted(spec.name for spec in SPECS)


def test_after_an_error_nothing_more_is_begun() -> None:
    begun: list[str] = []

    def build(spec: ImageSpec) -> str:
        begun.append(spec.name)
        if spec.name == "kafka":
            raise ValueError("no disk")
        return spec.name

    with pytest.raises(ValueError, match="no disk"):
        two_at_a_time([chain for chain in chains(SPECS) if chain[0].name == "kafka"], build)
    assert begun == ["kafka"]
