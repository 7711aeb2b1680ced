"""Calls that can be copied, for each call of an OpenAPI document: in curl, and in Python.

What they are made of stands in the document. The value of a parameter that is needed is its example, or that of a
variable of the environment: ``x-variable``, or the parameter's own name in capitals. ``x-sample`` of an operation names
more values (``query``, ``path``), and what a customer calls on `ngpu.client` instead (``python``), or is ``null`` where
nobody calls this by hand.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
JSON = "application/json"


def with_samples(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document, of its own, with ``x-codeSamples`` at each operation."""
    whole: dict[str, Any] = json.loads(json.dumps(document))  # where YAML has one mapping in several places, as many
    for path, item in whole["paths"].items():
        for method in METHODS:
            if method in item and item[method].get("x-sample", {}) is not None:
                call = _call(whole, path, item, method)
                item[method]["x-codeSamples"] = [
                    {"lang": "Shell", "label": "curl", "source": call.curl()},
                    {"lang": "Python", "label": "Python", "source": call.python()},
                ]
    return whole


@dataclass(frozen=True)
class Variable:
    """A value that stands in the environment under this name."""

    name: str


@dataclass(frozen=True)
class SampleCall:
    """One call; what stands in ``path``, ``query`` and ``headers`` may hold variables."""

    method: str
    root: str
    path: tuple[str | Variable, ...]
    query: Mapping[str, str | Variable] = field(default_factory=dict)
    headers: Mapping[str, tuple[str | Variable, ...]] = field(default_factory=dict)
    body: Any = None
    streams: bool = False
    client: str = ""
    key: Variable | None = None

    def curl(self) -> str:
        """The command."""
        how = "curl -sI" if self.method == "HEAD" else "curl -sN" if self.streams else "curl -s"
        implied = "GET" if self.body is None else "POST"
        method = f" -X {self.method}" if self.method not in (implied, "HEAD") else ""
        query = "&".join(f"{name}={_for_shell(value)}" for name, value in self.query.items())
        path = "".join(_for_shell(part, "/") for part in self.path)
        lines = [f'{how}{method} "{self.root}{path}{query and "?" + query}"']
        for name, parts in self.headers.items():
            lines.append(f'-H "{name}: {"".join(_for_shell(part, " ") for part in parts)}"')
        if self.body is not None:
            lines += [f'-H "Content-Type: {JSON}"', f"-d {shlex.quote(json.dumps(self.body, ensure_ascii=False))}"]
        return " \\\n    ".join(lines)

    def python(self) -> str:
        """The program."""
        return "\n".join(self._with_client() if self.client else self._with_httpx()) + "\n"

    def _with_client(self) -> Iterator[str]:
        key = "" if self.key is None else f', os.environ["{self.key.name}"]'
        calls = self.client.replace("{METHOD}", self.method).rstrip().split("\n")
        if key or "os.environ" in self.client:
            yield from ("import os", "")
        yield from ("from ngpu.client import Client", "", f'with Client("{self.root}"{key}) as client:')
        yield from (f"    {line}" for line in calls)

    def _with_httpx(self) -> Iterator[str]:
        path = "".join(part if isinstance(part, str) else _in_python(part) for part in self.path)
        url = f'{"f" if any(isinstance(part, Variable) for part in self.path) else ""}"{self.root}{path}"'
        more = {"params": _mapping(self.query), "headers": _mapping(self.headers)}
        asked = [f'"{self.method}"', url, *(f"{name}={value}" for name, value in more.items() if value)]
        if self.body is not None:
            asked.append(f"json={self.body!r}")
        if any("os.environ" in each for each in asked):
            yield from ("import os", "")
        yield from ("import httpx", "")
        if self.streams:
            yield f"with httpx.stream({', '.join(asked)}, timeout=None) as reply:"
            yield from ("    for line in reply.iter_lines():", "        print(line)")
        else:
            yield from ("reply = httpx.request(", *(f"    {each}," for each in asked), ")")
            yield "print(reply.raise_for_status().text)"


def _call(document: Mapping[str, Any], path: str, item: Mapping[str, Any], method: str) -> SampleCall:
    operation = item[method]
    sample = operation.get("x-sample", {})
    values: dict[str, dict[str, str | Variable]] = {"path": {}, "query": {}, "header": {}}
    for told in (*item.get("parameters", ()), *operation.get("parameters", ())):
        parameter = _resolved(document, told)
        place, name = parameter["in"], parameter["name"]
        if name in sample.get(place, {}):
            values[place][name] = str(sample[place][name])
        elif parameter.get("required"):
            variable = Variable(parameter.get("x-variable", name.upper()))
            values[place][name] = str(parameter["example"]) if "example" in parameter else variable
    server, *_ = operation.get("servers") or item.get("servers") or document["servers"]
    headers, key = _credential(document, operation)
    return SampleCall(
        method.upper(),
        server["url"],
        tuple(values["path"].get(part[1:-1], part) if part[:1] == "{" else part for part in _parts(path)),
        values["query"],
        headers | {name: (value,) for name, value in values["header"].items()},
        _body(document, operation),
        any("text/event-stream" in reply.get("content", {}) for reply in operation["responses"].values()),
        sample.get("python", ""),
        key,
    )


def _credential(
    document: Mapping[str, Any], operation: Mapping[str, Any]
) -> tuple[dict[str, tuple[str | Variable, ...]], Variable | None]:
    """The first of those that would do: as header fields, and where it is."""
    for name in next(iter(operation.get("security", document.get("security", ()))), {}):
        scheme = document["components"]["securitySchemes"][name]
        variable = Variable(scheme["x-variable"])
        if scheme["type"] == "http":
            return {"Authorization": ("Bearer ", variable)}, variable
        return {scheme["name"]: (variable,)}, variable
    return {}, None


def _body(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Any:
    content = _resolved(document, operation.get("requestBody", {})).get("content", {}).get(JSON)
    if content is None:
        return None
    if "example" in content:
        return content["example"]
    return _resolved(document, content["schema"]).get("examples", [{}])[0]


def _resolved(document: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Any = node
    while "$ref" in found:
        names = found["$ref"].removeprefix("#/").split("/")
        found = document
        for name in names:
            found = found[name]
    return dict(found)


def _parts(path: str) -> Iterator[str]:
    """What stands between braces, braces included, and what stands around it."""
    while path:
        before, brace, rest = path.partition("{")
        name, closing, path = rest.partition("}")
        yield from (part for part in (before, brace + name + closing) if part)


def _for_shell(value: str | Variable, safe: str = "/:,") -> str:
    """As a part of a text between double quotes; values of variables are taken to need no escapes in URLs."""
    return f"${value.name}" if isinstance(value, Variable) else quote(value, safe=safe)


def _in_python(part: str | Variable) -> str:
    """As a part of a text between double quotes with an ``f`` before it."""
    return part if isinstance(part, str) else f"{{os.environ['{part.name}']}}"


def _mapping(values: Mapping[str, str | Variable | tuple[str | Variable, ...]]) -> str:
    """A ``dict`` as Python writes it; empty for an empty one."""
    pairs = []
    for name, value in values.items():
        parts = value if isinstance(value, tuple) else (value,)
        if len(parts) == 1 and isinstance(parts[0], Variable):
            shown = f'os.environ["{parts[0].name}"]'
        elif any(isinstance(part, Variable) for part in parts):
            shown = 'f"' + "".join(_in_python(part) for part in parts) + '"'
        else:
            shown = json.dumps("".join(map(str, parts)))
        pairs.append(f'"{name}": {shown}')
    return "{" + ", ".join(pairs) + "}" if pairs else ""
