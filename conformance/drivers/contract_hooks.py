"""What Schemathesis has to know of K2's API beside its OpenAPI document; loaded by it, see drivers/contract.py.

A cursor cannot be made up, so one the API has given is used.
"""

import os
from typing import Any

import schemathesis
from hypothesis import strategies as st

from conformance.drivers.contract_rules import keeps_rules

schemathesis.openapi.format("k2-cursor", st.just(os.environ["K2_CONTRACT_CURSOR"]))


@schemathesis.hook
def filter_case(_context: object, case: Any) -> bool:
    """Whether a generated request keeps the rules between parameters."""
    return keeps_rules(case.query, case.body)
