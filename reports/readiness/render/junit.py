"""The card as JUnit: one test case a claim, in a suite a stage; one a clause, in a suite a stack.

An unknown is an error, what was not exercised is skipped: a reader of JUnit that counts only failures still sees both.
"""

import re
from collections.abc import Iterable
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from reports.readiness.document import CardDocument, ClauseLine

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ENDS = {"failed": "failure", "unknown": "error", "not exercised": "skipped"}
_CLAUSE_ENDS = {"fail": "failure", "unknown": "error"}


def junit(card: CardDocument) -> str:
    """The text of card.junit.xml."""
    root = Element("testsuites", name="K2 readiness")
    for stage in card.stages:
        suite = SubElement(root, "testsuite", name=_clean(f"{stage.id} {stage.title}"))
        for criterion in card.criteria:
            if criterion.stage != stage.id:
                continue
            for claim in criterion.claims:
                name = _clean(f"{claim.id} {claim.text}")
                case = SubElement(suite, "testcase", classname=f"claims.{criterion.id}", name=name, time="0")
                _end(case, _ENDS.get(claim.state), claim.reason, ())
    for stack in card.stacks:
        suite = SubElement(root, "testsuite", name=f"clauses on {stack}")
        for line in card.clauses:
            if line.stack == stack:
                case = SubElement(
                    suite,
                    "testcase",
                    classname=f"clauses.{stack}",
                    name=_clean(line.clause),
                    time=f"{line.seconds:.3f}",
                )
                _end(case, _CLAUSE_ENDS.get(line.verdict), line.reason, _details(line))
    for suite in root:
        _count(suite, [suite])
    _count(root, list(root))
    indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _end(case: Element, how: str | None, reason: str, details: Iterable[str]) -> None:
    if how is not None:
        end = SubElement(case, how, message=_clean(reason))
        end.text = _clean("\n".join(details)) or None


def _details(line: ClauseLine) -> list[str]:
    found = [f"{finding.kind}: {finding.detail} ({finding.count})" for finding in line.findings]
    return [*found, *([f"remedy: {line.remedy}"] if line.remedy else []), *([line.history] if line.history else [])]


def _count(element: Element, suites: list[Element]) -> None:
    cases = [case for suite in suites for case in suite.iter("testcase")]
    element.set("tests", str(len(cases)))
    for attribute, end in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(attribute, str(sum(case.find(end) is not None for case in cases)))
    element.set("time", f"{sum(float(case.get('time', '0')) for case in cases):.3f}")


def _clean(text: str) -> str:
    """Text without the characters XML cannot hold."""
    return _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text)
