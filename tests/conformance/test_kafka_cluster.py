"""Ids of clusters are such as every command takes."""

from conformance.stacks.containers.kafka_cluster import new_cluster_id


def test_no_cluster_id_looks_like_an_option() -> None:
    # One in 64 would begin with a dash.
    ids = {new_cluster_id() for _ in range(2_000)}
    assert len(ids) == 2_000
    assert not [made for made in ids if made.startswith("-")]
    assert {len(made) for made in ids} == {22}
