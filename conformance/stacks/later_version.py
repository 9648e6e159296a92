"""K2 one version ahead: its trades have one more field, which may be null. Runs the command it is given.

python -m conformance.stacks.later_version --data-dir D consume --data-type trades
"""

from dataclasses import replace

from k2 import cli
from k2.records.definition import RECORD_TYPES, TRADE, Field, Kind

TAPE = Field(60, "tape", Kind.STRING, "Tape that reported the trade.", nullable=True, since=2)
LATER_TRADE = replace(TRADE, fields=(*TRADE.fields, TAPE))


def main() -> None:
    """Know the later trades instead of this version's, and run the command."""
    RECORD_TYPES[TRADE.data_type] = LATER_TRADE
    cli.main()


if __name__ == "__main__":
    main()
