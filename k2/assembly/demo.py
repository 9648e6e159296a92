"""The mark that says: what this data directory leads to is a demo, and may be thrown away.

It names the servers it was set for, so that a directory whose settings lead elsewhere since is no demo any more.
"""

import json
from pathlib import Path

from k2.errors import RefusedError
from k2.settings import Settings, without_password

MARK = "demo.json"
_FORGETFUL = "embedded"
_REMEDY = "`k2 up` marks its own; for a deployment: DEMO=true make up"


def mark_demo(directory: Path, settings: Settings, *, broker_forgets: bool = False) -> None:
    """Mark a data directory.

    Args:
        directory: of the settings.
        settings: what they are now.
        broker_forgets: the broker keeps nothing when it stops, and has another address each time.
    """
    named = _servers(settings)
    if broker_forgets:
        named["bootstrap_servers"] = _FORGETFUL
    (directory / MARK).write_text(json.dumps(named, indent=2) + "\n")


def check_demo(directory: Path, settings: Settings) -> bool:
    """Refuse what is not marked, or leads elsewhere than when it was marked.

    Returns:
        whether the broker keeps what it was sent.

    Raises:
        RefusedError: it is no demo.
    """
    try:
        marked = json.loads((directory / MARK).read_text())
    except (OSError, ValueError):
        raise RefusedError(f"{directory} is not marked as a demo, so nothing of it is touched: {_REMEDY}") from None
    keeps = bool(marked.get("bootstrap_servers") != _FORGETFUL)
    for name, value in _servers(settings).items():
        if marked.get(name) != value and (keeps or name != "bootstrap_servers"):
            raise RefusedError(
                f"{directory} was marked as a demo of {name} {marked.get(name)}, and its settings say {value}: "
                "nothing is touched; take the setting back, or mark it again"
            )
    return keeps


def _servers(settings: Settings) -> dict[str, str]:
    return {
        "bootstrap_servers": settings.kafka.bootstrap_servers,
        "topic_prefix": settings.kafka.topic_prefix,
        "catalog": without_password(settings.storage.catalog_uri),
        "catalog_name": settings.storage.catalog_name,
        "warehouse": settings.storage.warehouse,
        "s3_endpoint": settings.storage.s3_endpoint or "",
    }
