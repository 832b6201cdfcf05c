"""BigCommerce's official descriptions of its API (OpenAPI 3.0), as something that calls can be held against.

Must not know: our calls, and what we know better.
"""

import datetime
import pathlib
import re
import urllib.parse
import uuid

import jsonschema
import yaml

KEYWORDS = {
    "type", "enum", "format", "pattern", "minLength", "maxLength", "minimum", "maximum", "multipleOf", "minItems",
    "maxItems", "uniqueItems", "minProperties", "maxProperties", "required",
}  # fmt: skip
METHODS = {"get", "post", "put", "delete", "patch", "head", "options"}

formats = jsonschema.FormatChecker(formats=())


@formats.checks("date-time", raises=ValueError)
def _is_time(value):
    if not isinstance(value, str):
        return True
    time = datetime.datetime.fromisoformat(value)
    return time.tzinfo is not None and value[10] == "T"


@formats.checks("date", raises=ValueError)
def _is_day(value):
    return not isinstance(value, str) or bool(datetime.date.fromisoformat(value))


@formats.checks("uuid", raises=ValueError)
def _is_uuid(value):
    return not isinstance(value, str) or str(uuid.UUID(value)) == value.lower()


@formats.checks("email")
def _is_email(value):
    return not isinstance(value, str) or re.fullmatch(r"[^@\s]+@[^@\s]+", value) is not None


@formats.checks("int32")
def _is_int32(value):
    return not isinstance(value, int) or -(2**31) <= value < 2**31


class _Loader(yaml.SafeLoader):
    """Dates in examples and enumerations stay the text that they are."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class Description:
    """One file."""

    def __init__(self, text):
        self.root = yaml.load(text, _Loader)

    def resolve(self, node):
        while "$ref" in node:
            target = self.root
            for step in node["$ref"].removeprefix("#/").split("/"):
                target = target[urllib.parse.unquote(step.replace("~1", "/").replace("~0", "~"))]
            node = target
        return node

    def operations(self):
        prefix = re.sub(r".*\{store_hash\}", "", self.root["servers"][0]["url"])
        for path, item in self.root["paths"].items():
            for method in METHODS & item.keys():
                shared = {(each["name"], each["in"]): each for each in map(self.resolve, item.get("parameters", []))}
                own = {
                    (each["name"], each["in"]): each for each in map(self.resolve, item[method].get("parameters", []))
                }
                yield Operation(self, method.upper(), prefix + path, item[method], list({**shared, **own}.values()))

    def validator(self, schema, hidden):
        """For values that the schema describes. `hidden`: the mark of properties that have no place in this direction."""
        plain = self._plain(schema, hidden, False, ())
        return jsonschema.Draft202012Validator(plain, format_checker=formats)

    def _plain(self, schema, hidden, within, above):
        """An OpenAPI schema as a JSON Schema that also refuses properties that are not described. `within`: it is a
        part of a composition, which says itself what is unknown."""
        if "$ref" in schema:
            # What is beside a reference does not count; what holds itself is not followed for ever.
            if schema["$ref"] in above:
                return {}
            above = (*above, schema["$ref"])
            return self._plain(self.resolve({"$ref": schema["$ref"]}), hidden, within, above)
        plain = {key: value for key, value in schema.items() if key in KEYWORDS}
        for bound in ("Minimum", "Maximum"):
            if schema.get(f"exclusive{bound}") is True:
                plain[f"exclusive{bound}"] = plain.pop(bound.lower())
        known = {
            name: part
            for name, part in schema.get("properties", {}).items()
            if not (isinstance(part, dict) and self.resolve(part).get(hidden))
        }
        if "properties" in schema:
            plain["properties"] = {name: self._plain(part, hidden, False, above) for name, part in known.items()}
            gone = schema["properties"].keys() - known.keys()
            plain["required"] = [name for name in plain.get("required", []) if name not in gone]
        if "items" in schema:
            plain["items"] = self._plain(schema["items"], hidden, False, above)
        for key in ("allOf", "anyOf", "oneOf"):
            if key in schema:
                plain[key] = [self._plain(part, hidden, True, above) for part in schema[key]]
        if "not" in schema:
            plain["not"] = self._plain(schema["not"], hidden, True, above)
        additional = schema.get("additionalProperties")
        if isinstance(additional, dict):
            plain["additionalProperties"] = self._plain(additional, hidden, False, above)
        elif additional is not None:
            plain["additionalProperties"] = additional
        if not within and self._lists_properties(schema, ()):
            plain["unevaluatedProperties"] = False
        if schema.get("nullable"):
            if isinstance(plain.get("type"), str):
                plain["type"] = [plain["type"], "null"]
            if "enum" in plain:
                plain["enum"] = [*plain["enum"], None]
        return plain

    def _lists_properties(self, schema, above):
        if schema.get("$ref") in above:
            return False
        above = (*above, schema["$ref"]) if "$ref" in schema else above
        schema = self.resolve(schema)
        parts = [part for key in ("allOf", "anyOf", "oneOf") for part in schema.get(key, [])]
        return bool(schema.get("properties")) or any(self._lists_properties(part, above) for part in parts)


class Operation:
    """A method on a path."""

    def __init__(self, description, method, path, node, parameters):
        self.method, self.path, self.parameters = method, path, parameters
        self.name = f"{method} {path}"
        words = [f"(?P<{word[1:-1]}>[^/]+)" if word[:1] == "{" else re.escape(word) for word in path.split("/")]
        self._pattern = re.compile("/".join(words))
        self.placeholders = path.count("{")
        self.validators = {
            (each["in"], each["name"]): description.validator(each["schema"], "readOnly") for each in parameters
        }
        self.schemas = {(each["in"], each["name"]): description.resolve(each["schema"]) for each in parameters}
        self.explodes = {each["name"]: each.get("explode", True) for each in parameters}
        body = description.resolve(node.get("requestBody", {}))
        self.takes_body, self.needs_body = bool(body), bool(body.get("required"))
        self.body_types = list(body.get("content", {}))
        self.body = self._content(description, body, "readOnly")
        self.answers = {
            str(status): self._content(description, description.resolve(answer), "writeOnly")
            for status, answer in node["responses"].items()
        }
        schemes = description.root.get("components", {}).get("securitySchemes", {})
        required = node.get("security", description.root.get("security", []))
        self.tokens = [
            schemes[name]["name"] for each in required for name in each if schemes.get(name, {}).get("in") == "header"
        ]

    @staticmethod
    def _content(description, holder, hidden):
        for kind, content in holder.get("content", {}).items():
            if kind.startswith("application/json") and "schema" in content:
                return description.validator(content["schema"], hidden)
        return None

    def values(self, path):
        """What stands in the path's placeholders, if it is a path of this operation."""
        met = self._pattern.fullmatch(path)
        return met and met.groupdict()


class Descriptions:
    """All files of a folder."""

    def __init__(self, folder):
        files = sorted([*pathlib.Path(folder).glob("*.yml"), *pathlib.Path(folder).glob("extra/*.yml")])
        self.operations = [each for file in files for each in Description(file.read_text()).operations()]

    def of(self, method, path):
        """The operation and what stands in its path; the one with the fewest placeholders is meant."""
        met = [(each, each.values(path)) for each in self.operations if each.method == method]
        met = [(each, values) for each, values in met if values is not None]
        return min(met, key=lambda pair: pair[0].placeholders, default=(None, {}))

    def knows(self, path):
        return any(each.values(path) is not None for each in self.operations)
