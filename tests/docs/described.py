"""docs/openapi.yaml or its sibling, and whether a real reply is one that it describes."""

from __future__ import annotations

import copy
from functools import cached_property
from pathlib import Path
from typing import Any

import requests
import yaml
from jsonschema import Draft202012Validator
from processes import ROOT

FILE = ROOT / "docs/openapi.yaml"
BEFORE_IT_IS_LOOKED_AT = {408, 414, 417, 431, 500, 501, 505}
"""Statuses that any call may have, and that are ``default`` of all of them; others are there by their numbers."""

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


class Described:
    """The document. To be checked against it, a reply may not hold what the document does not name."""

    def __init__(self, file: Path = FILE) -> None:
        self.document: dict[str, Any] = yaml.safe_load(file.read_text("utf-8"))

    @property
    def operations(self) -> dict[tuple[str, str], dict[str, Any]]:
        """By method and path."""
        paths = self.document["paths"]
        return {(m.upper(), path): item[m] for path, item in paths.items() for m in METHODS if m in item}

    def parameters(self, method: str, path: str) -> list[dict[str, Any]]:
        operation = self.operations[method, path]
        return [self._resolved(each) for each in operation.get("parameters", [])]

    def check(self, method: str, path: str, reply: requests.Response) -> None:
        """:raises AssertionError: the document does not describe this reply to this call."""
        responses = self.operations[method, path]["responses"]
        names = [str(reply.status_code), f"{reply.status_code // 100}XX"]
        names += ["default"] * (reply.status_code in BEFORE_IT_IS_LOOKED_AT)
        found = [responses[name] for name in names if name in responses]
        assert found, f"undescribed: {reply.status_code} of {method} {path}"
        response = self._resolved(found[0])
        for name, header in response.get("headers", {}).items():
            header = self._resolved(header)
            assert name in reply.headers or not header.get("required"), f"{name} is missing"
            if name in reply.headers:
                value = reply.headers[name]
                self._validate(int(value) if header["schema"].get("type") == "integer" else value, header["schema"])
        told = {"Retry-After", "Allow", "WWW-Authenticate", "Preference-Applied", "RateLimit", "RateLimit-Policy"}
        unsaid = told & reply.headers.keys()
        assert unsaid <= response.get("headers", {}).keys(), f"undescribed: {unsaid}"
        if reply.status_code == 204:
            return
        kind = reply.headers["Content-Type"].partition(";")[0]
        body = reply.json() if kind == "application/json" else reply.text
        self._validate(body, response["content"][kind]["schema"])
        if reply.status_code >= 400:
            assert body["result_code"] == reply.status_code

    def validate_as(self, value: Any, schema: str) -> None:
        """:raises AssertionError: this is not what ``components.schemas`` has under that name."""
        self._validate(value, {"$ref": f"#/components/schemas/{schema}"})

    def _validate(self, value: Any, schema: dict[str, Any]) -> None:
        whole = {**self._closed, **_closed(schema, frozenset())}
        errors = [
            f"{error.json_path}: {error.message[:300]}" for error in Draft202012Validator(whole).iter_errors(value)
        ]
        assert not errors, "\n".join(errors)

    @cached_property
    def _closed(self) -> dict[str, Any]:
        """The components, where no object has further members; those that others build upon stay open."""
        schemas = self.document["components"]["schemas"]
        bases = {part["$ref"] for schema in objects(schemas) for part in schema.get("allOf", ()) if "$ref" in part}
        open_names = frozenset(base.rpartition("/")[2] for base in bases)
        return {"components": {"schemas": _closed(schemas, open_names)}}

    def _resolved(self, node: dict[str, Any]) -> dict[str, Any]:
        if "$ref" not in node:
            return node
        found: Any = self.document
        for key in node["$ref"].removeprefix("#/").split("/"):
            found = found[key]
        return dict(found)


def objects(node: Any) -> list[dict[str, Any]]:
    """All mappings in a document."""
    if isinstance(node, dict):
        return [node, *(found for value in node.values() for found in objects(value))]
    return [found for value in node for found in objects(value)] if isinstance(node, list) else []


def _closed(node: dict[str, Any], open_names: frozenset[str]) -> dict[str, Any]:
    closed = {name: value if name in open_names else copy.deepcopy(value) for name, value in node.items()}
    for schema in objects({name: value for name, value in closed.items() if name not in open_names}):
        if schema.get("type") == "object" and isinstance(schema.get("properties"), dict):
            schema["unevaluatedProperties"] = False
    return closed
