"""Dead letter files: what counted as kept is in them whole, and no writer harmed another's.

Verified:
- lost: every letter that counted as kept is in a whole line.
- altered: the lines of a letter hold the bytes that were written.
- unexpected: no line holds a letter that nobody wrote.
- repeated: where `each_once` is set, no letter is in two lines.
- torn_line: every line is one whole letter; where writers were `killed`, but for the last line of a file.
- shared_file: no file has letters of two writers.
- oversized_file: no file is larger than `max_size_bytes`, but for one of a single line.
- rotated_early: no file ends where its writer's next line would have fitted.
- rewritten_file: a file that was looked at before is the same afterwards.
- that a limit was reached by some writer, and that there were as many writers as planned; otherwise unknown.

Not verified:
- keys, headers, error and time of a letter (see `dead_letters`).
- that "synced" means that the disk has it: a driver can only say what was asked of the system.

Reads the stages
    written       topic, kafka_partition, kafka_offset, sha256 (of the bytes), is_kept
    lines         file, line (from 1), size_bytes (with its end), is_whole, run, and for a whole line topic,
                  kafka_partition, kafka_offset, sha256; by file and line
    files, files_before (optional)   file, size_bytes, sha256
and the parameters killed, each_once (default: no), max_size_bytes (default: sizes do not matter), writer_column (of
`lines`: what tells writers apart, default run) and required_writers (default 1).
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from conformance.checkers.verdict import Finding, Verdict, conclude, doubt, unknown
from conformance.history import History

Row = Mapping[str, Any]
Place = tuple[str, int, int]


def check(history: History) -> Verdict:
    """The verdict on a history of dead letter files; samples are the letters that counted as kept."""
    missing = [stage for stage in ("written", "lines") if not history.of_stage(stage)]
    if missing:
        return unknown("missing_stage", f"stages were not followed: {', '.join(missing)}")
    parameters = history.header.parameters
    written = {_place(row): row for row in history.rows("written")}
    kept = {place for place, row in written.items() if row["is_kept"]}
    files: dict[str, list[Row]] = defaultdict(list)
    for line in history.rows("lines"):
        files[line["file"]].append(line)
    whole = [line for lines in files.values() for line in lines if line["is_whole"]]
    writer_column = str(parameters.get("writer_column", "run"))
    findings = [
        *_letters(written, kept, whole),
        *(_repeated(whole) if parameters.get("each_once") else ()),
        *_torn(files, bool(parameters.get("killed"))),
        *_shared(files, writer_column),
        *_sizes(files, writer_column, parameters.get("max_size_bytes")),
        *_rewritten(history),
        *_too_few_writers(whole, writer_column, int(parameters.get("required_writers", 1))),
    ]
    return conclude(len(kept), findings, f"{len(kept)} letters whole in {len(files)} files, each its writer's own")


def _place(row: Row) -> Place:
    return row["topic"], row["kafka_partition"], row["kafka_offset"]


def _found(kind: str, detail: str, examples: Sequence[str]) -> Iterator[Finding]:
    if examples:
        yield Finding(kind, detail, len(examples), tuple(examples))


def _letters(written: Mapping[Place, Row], kept: set[Place], whole: Sequence[Row]) -> Iterator[Finding]:
    lost = kept - {_place(line) for line in whole}
    yield from _found("lost", "a letter that counted as kept is in no whole line", [str(place) for place in lost])
    known = [line for line in whole if _place(line) in written]
    altered = [_words(line) for line in known if line["sha256"] != written[_place(line)]["sha256"]]
    yield from _found("altered", "a line does not hold the bytes that were written", altered)
    unexpected = [_words(line) for line in whole if _place(line) not in written]
    yield from _found("unexpected", "a line holds a letter that nobody wrote", unexpected)


def _repeated(whole: Sequence[Row]) -> Iterator[Finding]:
    lines = Counter(_place(line) for line in whole)
    repeated = [f"{place} in {count} lines" for place, count in lines.items() if count > 1]
    yield from _found("repeated", "a letter is in several lines", repeated)


def _torn(files: Mapping[str, Sequence[Row]], killed: bool) -> Iterator[Finding]:
    judged = (line for lines in files.values() for line in (lines[:-1] if killed else lines))
    torn = [_words(line) for line in judged if not line["is_whole"]]
    yield from _found("torn_line", "a line is not one whole letter", torn)


def _shared(files: Mapping[str, Sequence[Row]], writer_column: str) -> Iterator[Finding]:
    writers = {name: {line[writer_column] for line in lines if line["is_whole"]} for name, lines in files.items()}
    shared = [f"{name}: {sorted(found)}" for name, found in writers.items() if len(found) > 1]
    yield from _found("shared_file", "a file has letters of several writers", shared)


def _sizes(files: Mapping[str, Sequence[Row]], writer_column: str, limit_bytes: int | None) -> Iterator[Finding]:
    if limit_bytes is None:
        return
    sizes = {name: sum(line["size_bytes"] for line in lines) for name, lines in files.items()}
    oversized = [name for name, lines in files.items() if sizes[name] > limit_bytes and len(lines) > 1]
    detail = f"a file of several lines is larger than {limit_bytes} bytes"
    yield from _found("oversized_file", detail, [f"{name}: {sizes[name]} bytes" for name in oversized])
    # Of a file that holds half a line alone nobody can tell whose it is.
    begun = {name: lines[0] for name, lines in files.items() if lines[0]["is_whole"]}
    in_turn = sorted(begun, key=lambda name: (str(begun[name][writer_column]), name))
    rotations = [
        (name, following)
        for name, following in pairwise(in_turn)
        if begun[name][writer_column] == begun[following][writer_column]
    ]
    early = [
        f"{name}: {sizes[name]} bytes, {following} begins with {begun[following]['size_bytes']}"
        for name, following in rotations
        if sizes[name] + begun[following]["size_bytes"] <= limit_bytes
    ]
    yield from _found("rotated_early", "a file ended where the next line would have fitted", early)
    if not rotations:
        yield doubt("never_rotated", "no writer had two files, so no limit was reached")


def _rewritten(history: History) -> Iterator[Finding]:
    after = {row["file"]: (row["size_bytes"], row["sha256"]) for row in history.rows("files")}
    changed = [
        f"{row['file']}: {'changed' if row['file'] in after else 'gone'}"
        for row in history.rows("files_before")
        if after.get(row["file"]) != (row["size_bytes"], row["sha256"])
    ]
    yield from _found("rewritten_file", "a file of an earlier writer is not what it was", changed)


def _too_few_writers(whole: Sequence[Row], writer_column: str, required: int) -> Iterator[Finding]:
    writers = {line[writer_column] for line in whole}
    if len(writers) < required:
        yield doubt("too_few_writers", f"{len(writers)} writers wrote files, {required} were to")


def _words(line: Row) -> str:
    return f"{line['file']} line {line['line']}"
