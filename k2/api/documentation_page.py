"""The documentation as one page of HTML that loads nothing: written from the OpenAPI document."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from k2.api.problems import PROBLEMS

PAGE_HEADERS = {
    # The browser is told, too, that there is nothing to load.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
}
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1c2330 }
h2 { border-top: 1px solid #d5dae3; padding-top: 1.2rem } h2 code { font-size: 1.05rem }
code, pre { font-family: ui-monospace, monospace; font-size: .88rem }
pre { background: #f3f5f9; padding: .8rem; overflow-x: auto } th, td { text-align: left; padding: .2rem .9rem .2rem 0 }
table { border-collapse: collapse } td { vertical-align: top; border-top: 1px solid #e6e9ef }
@media (prefers-color-scheme: dark) { body { background: #12161d; color: #dfe4ec } pre { background: #1b212b } }
"""


def documentation_page(document: Mapping[str, Any]) -> str:
    """The page of an OpenAPI document."""
    info = document["info"]
    paths = document["paths"]
    operations = [(path, method, operation) for path in paths for method, operation in paths[path].items()]
    contents = "".join(
        f'<li><a href="#{_anchor(path, method)}"><code>{method.upper()} {escape(path)}</code></a> '
        f"{escape(operation['summary'])}</li>"
        for path, method, operation in operations
    )
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(info['title'])} API {escape(info['version'])}</h1><p>{escape(info['summary'])}</p>",
        f"<p>{escape(info['description'])}</p>",
        '<p>The same for programs: <a href="/openapi.json">/openapi.json</a>.</p>',
        f'<ul>{contents}<li><a href="#errors">Errors</a></li></ul>',
    ]
    for path, method, operation in operations:
        parts += _operation(document, path, method, operation)
    parts += [*_errors(), "</body></html>"]
    return "".join(parts)


def _anchor(path: str, method: str) -> str:
    return method + path.replace("/", "-")


def _operation(document: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f'<h2 id="{_anchor(path, method)}"><code>{method.upper()} {escape(path)}</code></h2>'
    yield f"<p>{escape(operation['summary'])}</p>"
    if operation.get("parameters"):
        yield "<table><tr><th>parameter</th><th></th><th>values</th><th></th></tr>"
        for parameter in operation["parameters"]:
            yield _row(
                f"<code>{escape(parameter['name'])}</code>",
                "required" if parameter.get("required") else "",
                _values(parameter["schema"]),
                escape(parameter.get("description", "")),
            )
        yield "</table>"
    for content in operation.get("requestBody", {}).get("content", {}).values():
        yield f"<p>Body</p><pre>{_shown(content['example'])}</pre>"
    for status, response in operation["responses"].items():
        if int(status) < 400:
            yield f"<p>{status} {escape(response['description'])}</p>"
            for content in response["content"].values():
                yield f"<pre>{_shown(content['example'])}</pre>"
    failures = [status for status in operation["responses"] if int(status) >= 400]
    yield f'<p>Fails with {", ".join(failures)}, see <a href="#errors">errors</a>.</p>'


def _errors() -> Iterator[str]:
    yield '<h2 id="errors">Errors</h2><p>The <code>type</code> of an error leads to its line here.</p>'
    yield "<table><tr><th>status</th><th>code</th><th>title</th><th>meaning</th></tr>"
    for problem in PROBLEMS:
        code = f'<code id="{problem.code.lower()}">{problem.code}</code>'
        yield _row(str(problem.status), code, escape(problem.title), escape(problem.meaning))
    yield "</table>"


def _row(*cells: str) -> str:
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _values(schema: Mapping[str, Any]) -> str:
    """What a value may be, in few words."""
    if "anyOf" in schema:
        return " or ".join(_values(option) for option in schema["anyOf"])
    if "enum" in schema:
        return escape(", ".join(str(value) for value in schema["enum"]))
    words = [str(schema.get("format") or schema.get("type", ""))]
    for name, text in (("minLength", "from"), ("maxLength", "to"), ("minimum", "from"), ("maximum", "to")):
        if name in schema and schema.get("format") != "int64":
            words.append(f"{text} {schema[name]:,}{' characters' if name == 'maxLength' else ''}")
    if "default" in schema:
        words.append(f"({schema['default']} unless given)")
    return escape(" ".join(words))


def _shown(example: object) -> str:
    return escape(example if isinstance(example, str) else json.dumps(example, indent=2), quote=False)
