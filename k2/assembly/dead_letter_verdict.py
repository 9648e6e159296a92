"""What would become of a dead letter if it came now."""

from dataclasses import dataclass
from typing import Any

from k2.ingestion.dead_letters import DeadLetter
from k2.ingestion.registry import open_registry
from k2.records.decode import BatchDecoder
from k2.records.definition import RECORD_TYPES
from k2.records.validation import Action, rules_for
from k2.settings import Settings


@dataclass(frozen=True, slots=True)
class Verdict:
    """What would become of a letter if it came now.

    Attributes:
        stage: the step that refuses it; None if none does.
        error_class: short stable code; None if it is accepted.
        message: one line for a person.
        record: the record it decodes to; None if it does not.
    """

    stage: str | None
    error_class: str | None
    message: str
    record: dict[str, Any] | None


def judge_now(settings: Settings, letter: DeadLetter) -> Verdict:
    """What decoding and validation say about a letter now. Duplicates are not looked for.

    Raises:
        UnavailableError: the schema registry does not answer.
    """
    record_type = RECORD_TYPES.get(letter.data_type)
    if record_type is None:
        return Verdict("decode", "unknown_data_type", f"{letter.topic} holds no record type of this version", None)
    decoded = BatchDecoder(record_type, open_registry(settings.kafka).writer_schema).decode([letter.value])
    for reject in decoded.rejects:
        return Verdict(reject.stage, reject.reason, reject.detail, None)
    (record,) = decoded.columns.to_pylist()
    for rule in rules_for(record_type, settings.consumer.exchanges):
        if rule.action is Action.REJECT and rule.broken(decoded.columns)[0]:
            return Verdict("validate", rule.name, rule.message, record)
    return Verdict(None, None, "accepted: a replay makes it a row", record)
