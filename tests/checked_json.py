"""Validates JSON against the schemas that Vertebra ships."""

from typing import Any

from jsonschema import Draft202012Validator

from vertebra.cli.controls.schema import schema_of


def check(name: str, value: Any, closed: bool = False) -> None:
    """Checks a value against a schema; `closed` refuses keys that an open schema leaves to later releases."""
    schema = schema_of(name)
    problems = Draft202012Validator(close(schema) if closed else schema).iter_errors(value)
    found = [f"{error.json_path}: {error.message[:300]}" for error in problems]
    if found:
        raise AssertionError(f"{name}: {found}")


def close(schema: Any) -> Any:
    """Returns a schema in which no object with properties has further ones."""
    if isinstance(schema, list):
        return [close(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: close(value) for key, value in schema.items()}
    return closed | {"additionalProperties": False} if isinstance(schema.get("properties"), dict) else closed
