"""Write docs/records.md from the definitions and rules in k2/records; with --check only say whether it is current.

    python scripts/document_records.py [--check]

Exit status: 0, or 1 where the page is not current.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from k2.ingestion.registry import PackagedRegistry
from k2.records.decode import REASONS
from k2.records.definition import ASSET_CLASSES, EXCHANGES, RECORD_TYPES, Field, RecordType, topic
from k2.records.validation import Action, QualityFlag, Rule, rules_for

PAGE = Path(__file__).resolve().parent.parent / "docs" / "records.md"
_OPENING = """\
# Records

Written by `python scripts/document_records.py` from `k2/records`; a test fails where the two differ.

A record type has one definition (`k2/records/definition.py`), from which its Avro schema, its Arrow columns and its
table are derived. Prices, quantities and steps are decimal(28, 10) from the feed to the answer; whatever would have
to be rounded is refused where it is given. Times are ns since 1970 UTC, and the table has them in microseconds beside
that, as timestamps.

**What a feed does not have is null.** A feed without sequence numbers leaves `source_sequence` null: those records
are not tracked for gaps, and none is taken for a repetition, however much it equals another; `session_sequence`,
which the feed adapter counts, tells them apart. A side of a quote that is not there has neither price nor quantity.

Whoever gives a record that does not fit gets a `RecordError` of one line with the field, the value and the reason: a
value missing or of another type, a float, not a number, a lone surrogate, too many digits. Nothing of it is sent.
"""
_RULES = """\
## What records must fulfil

Whole batches are checked before anything is written, without a clock: a record is judged alike whenever the log is
read.

- **reject**: the message becomes a [dead letter](dead-letters.md) with stage `validate` and the rule as error class,
  counted in `k2_messages_rejected_total{data_type, stage, reason}`. A rule may change, and the letter be replayed.
- **flag**: the row is kept and the flag's bit set in its column `quality_flags`, counted in
  `k2_rows_flagged_total{data_type, rule}`. `WHERE quality_flags = 0` are the rows nothing is to be said of.

So rows, flagged rows among them, dead letters and duplicates add up to the messages polled:
`k2_messages_received_total` = rows + `k2_messages_rejected_total` + `k2_duplicates_detected_total`.

Known exchanges are {exchanges}, unless `K2_CONSUMER__EXCHANGES` names others, as a JSON list. A code that is not
known is refused and not flagged, because each makes a partition of the table and a label of the metrics. To bring a
new one in: name it, start the consumer again, `k2 dlq replay --error-class unknown_exchange`.

[pandera](https://pandera.readthedocs.io) states the same contract a second time for tables and batches at rest
(`conformance/contracts.py`); tests hold both against each other row by row. [Why not while
ingesting](decisions/0008-data-contracts.md).
"""
_FLAGS = """\
### Flags

The sequence rule sets two of them. A row may have several; the column holds their sum.

| bit | flag | set by |
|---|---|---|
"""
_DECODING = """\
## What cannot be read

A message that is not exactly one record is a dead letter with stage `decode`; its neighbours are not disturbed.

| error class | what it means |
|---|---|
"""
_EVOLUTION = """\
## How a definition grows

By fields that may be null. A new field has a field id that no field of any type has had, and `since`, the revision of
its record type that brings it. Then:

1. The Schema Registry takes the new schema as the next version of its subject: compatibility is BACKWARD (set on each
   subject before its first schema is registered, unless it is stricter already), so consumers are upgraded before
   producers.
2. `k2 init`, the API and the consumer add the column to the table when they start, under the definition's own field
   id. Rows that are there have null in it.
3. Messages of the earlier revision are read with null in the new field. A consumer of the earlier version reads later
   messages without it and goes on writing to the table that has grown; with packaged schema ids it does not know the
   later id, and those messages are dead letters until it is upgraded and they are replayed.

Refused, with one line and exit code 78, nothing changed: a field that cannot be null, another type, name or
nullability under an id the table has or ever had, a field gone that no row can do without. The registry refuses what
cannot read earlier messages.

Packaged schema ids (`kafka.schema_registry_url = packaged`): each later revision adds 100.

| subject | id |
|---|---|
"""


def page() -> str:
    """The page's text."""
    return "\n".join(
        (
            _OPENING,
            *(_fields(record_type) for record_type in RECORD_TYPES.values()),
            _RULES.replace("{exchanges}", ", ".join(EXCHANGES)),
            _rules(),
            _FLAGS + "".join(_flag(flag) for flag in QualityFlag),
            _DECODING + "".join(f"| `{reason}` | {meaning} |\n" for reason, meaning in REASONS.items()),
            _EVOLUTION + "".join(_subjects()),
        )
    )


def _fields(record_type: RecordType) -> str:
    topics = " and ".join(f"`{topic(asset_class, record_type.data_type)}`" for asset_class in ASSET_CLASSES)
    rows = "".join(_field(field) for field in record_type.fields)
    head = "| field | id | type | null | meaning |\n|---|---|---|---|---|\n"
    return f"## {record_type.name}\n\nTopics {topics}, table `{record_type.table}`.\n\n{head}{rows}"


def _field(field: Field) -> str:
    kind = " ".join(field.symbols) if field.symbols else field.kind.value
    return f"| `{field.name}` | {field.field_id} | {kind} | {'may be' if field.nullable else ''} | {field.doc} |\n"


def _rules() -> str:
    lines: dict[str, tuple[Rule, list[str]]] = {}
    for record_type in RECORD_TYPES.values():
        for rule in rules_for(record_type):
            lines.setdefault(rule.name, (rule, []))[1].append(record_type.data_type)
    head = "| rule | broken where | of | action |\n|---|---|---|---|\n"
    return head + "".join(
        f"| `{name}` | {rule.message} | {_of(data_types)} | {_action(rule)} |\n"
        for name, (rule, data_types) in lines.items()
    )


def _of(data_types: list[str]) -> str:
    return "all" if len(data_types) == len(RECORD_TYPES) else ", ".join(data_types)


def _action(rule: Rule) -> str:
    return "reject" if rule.action is Action.REJECT else f"flag, bit {rule.flag.value}"


def _flag(flag: QualityFlag) -> str:
    sources = {
        QualityFlag.LATE: "the sequence rule: the number lies behind and did not fill a gap",
        QualityFlag.UNKNOWN_WHETHER_SEEN: "the sequence rule: too far behind to tell whether it came before",
    }
    name = str(flag.name).lower()
    return f"| {flag.value} | `{name}` | {sources.get(flag, f'the rule `{name}`')} |\n"


def _subjects() -> Iterable[str]:
    registry = PackagedRegistry()
    for asset_class in ASSET_CLASSES:
        for record_type in RECORD_TYPES.values():
            name = topic(asset_class, record_type.data_type)
            yield f"| `{name}-value` | {registry.schema_id(asset_class, record_type)} |\n"


def main(arguments: list[str]) -> int:
    """Write the page, or check it."""
    if arguments == ["--check"]:
        if PAGE.read_text(encoding="utf-8") == page():
            return 0
        print(f"{PAGE} is not current: run python scripts/document_records.py", file=sys.stderr)
        return 1
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
