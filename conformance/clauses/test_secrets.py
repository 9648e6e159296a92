"""A secret is read where its reference says, and stands in nothing that K2 writes.

Settings MUST take secrets from the environment, from files and from AWS Secrets Manager. A secret MUST NOT appear in
any output, log or error: not where it works, not where the dependency it is for is away, and not where the setting
itself is damaged (RES-4).
"""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import feed_records, wait_until_drained
from conformance.drivers.planted_secrets import PlantedSecrets, everything_said, planted_secrets, read_by_a_process
from conformance.history import HistoryWriter
from conformance.stacks.base import Stack
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.records.definition import TRADE
from k2.settings import SETTINGS_FILE

CLOSED_PORT = "127.0.0.1:9"
REMEDY = "see k2/secrets.py and k2/settings.py; the fact names the command whose output holds a secret"
RECORDS = 50


@pytest.mark.clause(
    name="secrets",
    claims=("RES-4c",),
    checker="facts",
    title="Secrets come from environment, file and Secrets Manager, and no output, log or error ever holds one",
    minimum_samples=15,
    remedy=REMEDY,
)
def test_secrets_are_read_and_never_shown(stack: Stack, clause: ClauseRun, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with planted_secrets(tmp_path) as planted, clause.history() as history:
        environment = {**planted.environment, **named_everywhere(planted)}
        places = {
            "storage.catalog_uri": "env",
            "storage.s3_access_key": "file",
            "storage.s3_secret_key": "aws",
            "state.redis_password": "file",
            "kafka.password": "env",
        }
        read = read_by_a_process(elsewhere, environment)
        for setting, place in places.items():
            record_fact(history, f"{setting} from {place}", planted.digest(place), read.get, setting)
        shown = everything_said(
            elsewhere, ("settings",), {**planted.environment, "K2_KAFKA__GROUP_ID": planted.values["env"]}
        )
        record_fact(
            history,
            "one that is planted in a setting that is no secret is seen",
            True,
            lambda: planted.shown_in(shown[1]) > 0,
        )
        for name, (arguments, changes, expected) in commands(planted).items():
            code, said = everything_said(elsewhere, arguments, {**environment, "K2_LOG_LEVEL": "DEBUG", **changes})
            record_fact(history, f"exit code of {name}", expected, lambda code=code: code)
            record_fact(history, f"secrets shown by {name}", 0, planted.shown_in, said)
        damaged(history, planted, elsewhere)
        consumed(history, planted, stack)
    clause.judge()


def named_everywhere(planted: PlantedSecrets) -> dict[str, str]:
    """Settings whose secrets are given by reference, of servers that are not there."""
    return {
        "K2_STORAGE__CATALOG_URI": f"postgresql+psycopg://k2:{{{planted.references['env']}}}@{CLOSED_PORT}/k2",
        "K2_STORAGE__WAREHOUSE": "s3://bucket/warehouse",
        "K2_STORAGE__S3_ENDPOINT": f"http://{CLOSED_PORT}",
        "K2_STORAGE__S3_ACCESS_KEY": planted.references["file"],
        "K2_STORAGE__S3_SECRET_KEY": planted.references["aws"],
        "K2_STATE__KIND": "redis",
        "K2_STATE__REDIS_ADDRESS": CLOSED_PORT,
        "K2_STATE__REDIS_USER": "k2",
        "K2_STATE__REDIS_PASSWORD": planted.references["file"],
        "K2_KAFKA__PASSWORD": planted.references["env"],
    }


def commands(planted: PlantedSecrets) -> dict[str, tuple[tuple[str, ...], Mapping[str, str], int]]:
    """Commands by what they meet, with changes of the environment and the exit code that is due."""
    return {
        "k2 settings": (("settings",), {}, 0),
        "k2 init without a catalog": (("init",), {}, 69),
        "k2 init without an object store": (("init",), {"K2_STORAGE__CATALOG_URI": "sqlite://"}, 69),
        "a secret for a setting that is shown": (
            ("settings",),
            {"K2_KAFKA__GROUP_ID": planted.references["env"]},
            64,
        ),
        "an entry that is not there": (
            ("settings",),
            {"K2_KAFKA__PASSWORD": f"{planted.references['env']}#absent"},
            64,
        ),
        "a secret that is not there": (("settings",), {"K2_KAFKA__PASSWORD": "secret://aws/k2/absent"}, 78),
        "a secret where a section belongs": (("settings",), {"K2_KAFKA": json.dumps([planted.values["env"]])}, 64),
    }


def damaged(history: HistoryWriter, planted: PlantedSecrets, directory: Path) -> None:
    """Facts: settings files that cannot be used, with the secret itself where it should not be."""
    secret = planted.values["env"]
    for name, values in {
        "a list for a password": {"kafka": {"password": [secret]}},
        "a password under a misspelt name": {"storage": {"s3_secretkey": secret}},
        "an object for an address": {"storage": {"catalog_uri": {"uri": f"postgresql://k2:{secret}@db/k2"}}},
    }.items():
        (directory / SETTINGS_FILE).write_text(json.dumps(values))
        code, said = everything_said(directory, ("settings",), planted.environment)
        record_fact(history, f"exit code of {name}", 64, lambda code=code: code)
        record_fact(history, f"secrets shown by {name}", 0, planted.shown_in, said)
    (directory / SETTINGS_FILE).unlink()


def consumed(history: HistoryWriter, planted: PlantedSecrets, stack: Stack) -> None:
    """Facts: a consumer takes records in while its Redis is away, and what it logs at the most talkative level."""
    environment = {
        **planted.environment,
        "K2_LOG_LEVEL": "DEBUG",
        **{name: value for name, value in named_everywhere(planted).items() if "STATE__" in name},
    }
    consumer = stack.start_consumer(TRADE.data_type, environment=environment)
    trades = SyntheticExchange(SyntheticSettings(seed=5, records=RECORDS, trade_share=1.0))
    fed = feed_records(stack, iter(trades))
    wait_until_drained(stack, history, fed.acknowledged_ends(), lambda: consumer.returncode() is None)
    record_fact(history, "exit code of a consumer without its Redis", 0, consumer.stop)
    said = consumer.log_path.read_text(errors="replace")
    record_fact(history, "it says that Redis is away", True, lambda: "state cache without a store" in said)
    record_fact(history, "secrets shown by a consumer without its Redis", 0, planted.shown_in, said)
