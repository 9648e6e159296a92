"""Budgets add up to less than their objective, figures come from histograms, and the page is what they make."""

import re

import pytest

from scripts.latency_budget import FIGURES, PAGE, main, measured, quantile_ms, read, table

STAGE = {"path": "query", "name": "engine", "series": "seconds{query=trades}", "budget_ms": 600,
         "p50_ms": 10.0, "p99_ms": 250.0, "samples": 9}  # fmt: skip
PATH = {"name": "query", "objective_ms": 1000}
EXPOSITION = """# TYPE seconds histogram
seconds_bucket{query="trades",le="0.1"} 40
seconds_bucket{query="trades",le="0.5"} 98
seconds_bucket{query="trades",le="2.5"} 100
seconds_bucket{query="trades",le="+Inf"} 100
seconds_bucket{query="quotes",le="+Inf"} 7
"""


def test_the_page_is_what_the_figures_make() -> None:
    assert main(["--check"]) == 0
    assert len(re.findall(r"^samples = [1-9]", FIGURES.read_text(), re.MULTILINE)) == FIGURES.read_text().count(
        "[[stage]]"
    )
    assert "all, beside the objective" in PAGE.read_text()


def test_a_quantile_is_the_upper_bound_of_its_bucket() -> None:
    buckets = [(0.1, 40.0), (0.5, 98.0), (2.5, 100.0)]
    assert [quantile_ms(buckets, share) for share in (0.4, 0.5, 0.98, 0.99)] == [100, 500, 500, 2500]


def test_a_stage_is_measured_by_its_own_labels_over_all_processes() -> None:
    told = measured(STAGE, [EXPOSITION, EXPOSITION])
    assert (told["p50_ms"], told["p99_ms"], told["samples"], told["budget_ms"]) == (500, 2500, 200, 600)
    with pytest.raises(ValueError, match=r"nothing was measured of seconds\{query=gone\}"):
        measured({**STAGE, "series": "seconds{query=gone}"}, [EXPOSITION])


def test_budgets_that_add_up_to_more_than_the_objective_are_refused() -> None:
    with pytest.raises(ValueError, match="the budgets of query add up to 1200 ms, its objective is 1000 ms"):
        read({"path": [PATH], "stage": [STAGE, STAGE]})


def test_the_table_says_what_is_left_of_each_stage_and_of_the_path() -> None:
    stages, objectives = read({"path": [PATH], "stage": [STAGE]})
    assert [stage.is_kept for stage in stages] == [True]
    assert table(stages, objectives).splitlines()[2:] == [
        "| query | engine | 600 | 10 | 250 | 350 |",
        "| query | **all, beside the objective** | **1,000** | 10.0 | 250.0 | 750 |",
    ]
