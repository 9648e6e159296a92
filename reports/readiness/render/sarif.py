"""Failed clauses as SARIF 2.1.0, so that a code host shows them beside the promises they break."""

import json
from typing import Any

from reports.readiness.document import CardDocument, ClaimLine, ClauseLine

REQUIREMENTS = "conformance/requirements.toml"
_SCHEMA = "json.schemastore.org/sarif-2.1.0.json"


def sarif(card: CardDocument) -> str:
    """The text of card.sarif: a rule for each claim that failed, a result for each clause that failed and cites it."""
    claims = {claim.id: claim for criterion in card.criteria for claim in criterion.claims}
    failed = [line for line in card.clauses if line.verdict == "fail"]
    broken = list(dict.fromkeys(claim for line in failed for claim in line.claims if claim in claims))
    run = {
        "tool": {
            "driver": {
                "name": "K2 readiness",
                "version": card.ruler.version,
                "rules": [_rule(claims[claim]) for claim in broken],
            }
        },
        "invocations": [{"executionSuccessful": not card.problems, "exitCode": card.verdict.exit_code}],
        "results": [
            _result(line, claims[claim], broken.index(claim))
            for line in failed
            for claim in line.claims
            if claim in claims
        ],
    }
    return json.dumps({"$schema": f"https://{_SCHEMA}", "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rule(claim: ClaimLine) -> dict[str, Any]:
    return {
        "id": claim.id,
        "shortDescription": {"text": claim.text},
        "help": {"text": f"python -m reports explain {claim.id}"},
        "defaultConfiguration": {"level": "error"},
    }


def _result(line: ClauseLine, claim: ClaimLine, rule: int) -> dict[str, Any]:
    found = "".join(f"\n- {finding.kind}: {finding.detail} ({finding.count})" for finding in line.findings)
    remedy = f"\nRemedy: {line.remedy}" if line.remedy else ""
    place = {"artifactLocation": {"uri": REQUIREMENTS}, "region": {"startLine": claim.line}}
    return {
        "ruleId": claim.id,
        "ruleIndex": rule,
        "level": "error",
        "message": {"text": f"{line.clause} on the {line.stack} stack: {line.reason}{found}{remedy}"},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"clause/v1": f"{line.stack}:{line.clause}:{claim.id}"},
        "properties": {"history": line.history, "historySha256": line.history_sha256, "samples": line.samples},
    }
