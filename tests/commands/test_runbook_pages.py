"""A runbook's page is read into parts, links, prose and marked blocks."""

from pathlib import Path

from k2.commands.runbooks.pages import PARTS, Runbook, parse_runbook

PAGE = """# ConsumerLagCritical

## Severity

**critical**, pages. See [lag](kafka-consumer-lag.md#diagnosis).

## Symptoms

`k2_consumer_lag_messages` is high.

## Diagnosis

```bash runbook=diagnosis needs=deployment
compose ps
```

## Resolution

### Start again

```bash runbook=resolution needs=deployment given=A,B exit=76 destructive
echo "$A" "$B"
```

## Prevention

None.

## Related Monitoring

A dashboard.
"""


def page(text: str) -> Runbook:
    return parse_runbook(Path("page.md"), text)


def test_a_page_is_read_whole() -> None:
    read = page(PAGE)
    assert not read.problems
    assert (read.title, read.severity) == ("ConsumerLagCritical", "critical")
    assert tuple(part.title for part in read.parts) == PARTS
    assert all(part.has_text for part in read.parts)
    assert read.links == ((5, "kafka-consumer-lag.md#diagnosis"),)
    assert {"severity", "start-again", "related-monitoring"} <= read.anchors


def test_a_block_says_what_running_it_takes() -> None:
    diagnosis, resolution = page(PAGE).blocks
    assert (diagnosis.line, diagnosis.text, diagnosis.phase, diagnosis.needs) == (
        14,
        "compose ps",
        "diagnosis",
        "deployment",
    )
    assert (diagnosis.given, diagnosis.exit_code, diagnosis.is_destructive) == ((), 0, False)
    assert (resolution.given, resolution.exit_code, resolution.is_destructive) == (("A", "B"), 76, True)


def test_a_block_without_marks_or_with_unknown_ones_is_a_problem() -> None:
    text = "# T\n```bash\nls\n```\n```sh runbook=cure needs=luck exit=much loud=yes quiet\nls\n```\n"
    assert [(problem.line, problem.what) for problem in page(text).problems] == [
        (2, "the block is not marked with runbook="),
        (2, "the block is not marked with needs="),
        (5, "the block is marked 'loud', which says nothing"),
        (5, "the block is marked 'quiet', which says nothing"),
        (5, "the block is runbook=cure"),
        (5, "the block is needs=luck"),
        (5, "exit=much is no exit code"),
    ]


def test_other_languages_are_no_commands() -> None:
    assert page("# T\n```yaml\na: 1\n```\n").blocks == ()


def test_a_block_that_does_not_end_and_a_second_title_are_problems() -> None:
    assert [problem.line for problem in page("# A\n\n# B\n```bash\nls\n").problems] == [3, 4]


def test_an_empty_part_is_told_from_one_with_text() -> None:
    assert [part.has_text for part in page("# A\n## Severity\n\n## Symptoms\nyes\n").parts] == [False, True]


def test_the_severity_must_come_first_and_be_one() -> None:
    assert page("# A\n## Severity\nIt is **high**.\n").severity == ""
    assert page("# A\n## Severity\n**urgent**\n").severity == ""
    assert page("# A\n## Severity\n**high**. Late.\n").severity == "high"


def test_a_block_may_say_why_no_test_can_run_it() -> None:
    marked = page(PAGE.replace("needs=deployment\n", 'needs=deployment untested="it deletes for others"\n', 1))
    assert not marked.problems
    assert [block.untested for block in marked.blocks] == ["it deletes for others", ""]


def test_a_reason_that_is_empty_or_never_ends_is_a_problem() -> None:
    empty = page(PAGE.replace("needs=deployment\n", 'needs=deployment untested=""\n', 1))
    assert [problem.what for problem in empty.problems] == ["untested= gives no reason"]
    endless = page(PAGE.replace("needs=deployment\n", 'needs=deployment untested="it never\n', 1))
    assert [problem.what for problem in endless.problems] == ["the block is marked 'never', which says nothing"]
