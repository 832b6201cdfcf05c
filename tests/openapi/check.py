#!/usr/bin/env python3
"""Holds recorded calls and their answers against BigCommerce's official descriptions.

    check.py DESCRIPTIONS RECORDS

DESCRIPTIONS is a folder of OpenAPI files, RECORDS a folder of what `attune simulate --record` and the tests write. It ends
with 1 if a request or an answer is not as described and `exceptions.py` does not say why, or if an exception is not needed.

Must not know: how the calls came about.
"""

import collections
import json
import pathlib
import re
import sys
import time
import urllib.parse

import jsonschema

from descriptions import Descriptions
from exceptions import EXCEPTIONS, OURS

# Answers of these faults are BigCommerce's own, only late.
FAITHFUL_FAULTS = {None, "slow", "slow-after"}

Problem = collections.namedtuple("Problem", "operation where says")


def schema_problems(where, error):
    """What is wrong, without the values, so that the same mistake is the same problem."""
    at = where + "".join("[]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
    if error.validator in ("anyOf", "oneOf") and error.context:
        branches = collections.defaultdict(list)
        for part in error.context:
            branches[part.schema_path[0]].append(part)
        nearest = min(branches.values(), key=len)
        return [each for part in nearest for each in schema_problems(where, part)]
    if error.validator == "oneOf":
        return [(at, "fits several forms of which it may fit one")]
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return [(f"{at}.{name}", "is missing") for name in missing]
    if error.validator in ("unevaluatedProperties", "additionalProperties"):
        known = described(error.schema)
        unknown = sorted(set(error.instance) - known)
        # In a form that does not fit for another reason, all looks unknown.
        rest = {key: part for key, part in error.schema.items() if key != "unevaluatedProperties"}
        if not unknown and jsonschema.Draft202012Validator(rest).is_valid(error.instance):
            return [(at, "mixes several forms")]
        return [(f"{at}.{name}", "is not described") for name in unknown]
    says = {"type": f"is {named(error.instance)}, not {error.validator_value}"}
    return [(at, says.get(error.validator, f"breaks {error.validator} {error.validator_value}"))]


def described(schema):
    parts = [part for key in ("allOf", "anyOf", "oneOf") for part in schema.get(key, [])]
    return set(schema.get("properties", ())).union(*map(described, parts))


def named(value):
    names = {type(None): "null", bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    return names.get(type(value), "object")


def read(schema, text):
    """A parameter's text as a value of its type; as it is, if it is none."""
    kind = schema.get("type")
    if kind in ("integer", "number") and re.fullmatch(r"-?\d+", text):
        return int(text)
    if kind == "number" and re.fullmatch(r"-?\d+\.\d+", text):
        return float(text)
    if kind == "boolean" and text in ("true", "false"):
        return text == "true"
    return text


def path_problems(operation, values):
    for name, text in values.items():
        schema = operation.schemas.get(("path", name), {})
        validator = operation.validators.get(("path", name))
        for error in validator.iter_errors(read(schema, text)) if validator else ():
            yield from schema_problems(f"path {name}", error)


def query_problems(operation, query):
    sent = collections.defaultdict(list)
    for pair in query.split("&") if query is not None else ():
        name, _, text = pair.partition("=")
        sent[urllib.parse.unquote(name)].append(text)
    for name, texts in sent.items():
        where = f"query {name}"
        schema = operation.schemas.get(("query", name))
        if schema is None:
            yield where, "is not described"
            continue
        if "" in texts:
            yield where, "is empty"
            continue
        if schema.get("type") == "array":
            exploded = operation.explodes[name]
            items = texts if exploded else [item for text in texts for item in text.split(",")]
            if not exploded and len(texts) > 1:
                yield where, "is given twice"
            value = [read(schema.get("items", {}), urllib.parse.unquote_plus(item)) for item in items]
        else:
            if len(texts) > 1:
                yield where, "is given twice"
            value = read(schema, urllib.parse.unquote_plus(texts[0]))
        for error in operation.validators["query", name].iter_errors(value):
            yield from schema_problems(where, error)
    for parameter in operation.parameters:
        if parameter["in"] == "query" and parameter.get("required") and parameter["name"] not in sent:
            yield f"query {parameter['name']}", "is missing"


def header_problems(operation, headers, has_body):
    for parameter in operation.parameters:
        name = parameter["name"].lower()
        if parameter["in"] == "header" and parameter.get("required") and name not in headers:
            yield f"header {name}", "is missing"
    for token in operation.tokens:
        if token.lower() not in headers:
            yield f"header {token.lower()}", "is missing"
    kinds = [kind.strip() for kind in headers.get("accept", "*/*").split(",")]
    if not {"application/json", "*/*"}.intersection(kinds):
        yield "header accept", "leaves out application/json"
    if has_body and operation.takes_body and headers.get("content-type") not in operation.body_types:
        yield "header content-type", f"is none of {operation.body_types}"


def request_problems(operation, values, call):
    yield from path_problems(operation, values)
    yield from query_problems(operation, call["query"])
    yield from header_problems(operation, call["headers"], call["request_bytes"] > 0)
    if call["request_bytes"] == 0:
        if operation.needs_body:
            yield "body", "is missing"
    elif not operation.takes_body:
        yield "body", "is not described"
    elif operation.body is not None and call["request"] is not None:
        try:
            body = json.loads(call["request"])
        except ValueError:
            yield "body", "is no JSON"
            return
        for error in operation.body.iter_errors(body):
            yield from schema_problems("body", error)


def answer_problems(operation, call):
    status = str(call["status"])
    described_as = next((key for key in (status, f"{status[0]}XX", "default") if key in operation.answers), None)
    if described_as is None:
        yield f"answer {status}", "is not described"
        return
    validator = operation.answers[described_as]
    if call["answer_bytes"] == 0:
        if validator is not None:
            yield f"answer {status}", "has no body"
    elif validator is not None and call["answer"] is not None:
        try:
            body = json.loads(call["answer"])
        except ValueError:
            yield f"answer {status}", "is no JSON"
            return
        for error in validator.iter_errors(body):
            yield from schema_problems(f"answer {status}", error)


class Counts:
    """Of one operation."""

    def __init__(self):
        self.calls = self.answers = self.left_out = 0


class Check:
    """What was found so far."""

    def __init__(self, descriptions):
        self.descriptions = descriptions
        self.counts = collections.defaultdict(Counts)
        self.problems = {}
        self._known = {}

    def call(self, call, source):
        operation, values = self.descriptions.of(call["method"], call["path"])
        if operation is None:
            what = "the method" if self.descriptions.knows(call["path"]) else "the path"
            path = re.sub(r"/\d+(?=/|$)", "/{number}", call["path"])
            self._add(Problem(f"{call['method']} {path}", what, "is not described"), source)
            return
        counts = self.counts[operation.name]
        counts.calls += 1
        key = (operation.name, *values.values(), call["query"], call["request"], str(call["headers"]))
        found = [("request", *key)]
        if call["status"] != 0 and call["fault"] in FAITHFUL_FAULTS:
            counts.answers += 1
            found.append(("answer", operation.name, call["status"], call["answer"], call["answer_bytes"]))
        else:
            counts.left_out += 1
        for key in found:
            # Much is said more than once.
            if key not in self._known:
                of = request_problems(operation, values, call) if key[0] == "request" else answer_problems(operation, call)
                self._known[key] = [Problem(operation.name, *each) for each in of]
            for problem in self._known[key]:
                self._add(problem, source)

    def _add(self, problem, source):
        self.problems.setdefault(problem, []).append(source)

    def unexplained(self, exceptions):
        """Problems that no exception explains, and exceptions that explain nothing."""
        used = set()
        left = {}
        for problem, sources in self.problems.items():
            explaining = [each for each in exceptions if each.explains(problem)]
            used.update(explaining)
            if not explaining:
                left[problem] = sources
        return left, [each for each in exceptions if each not in used]


def main(descriptions, records):
    started = time.monotonic()
    check = Check(Descriptions(descriptions))
    for file in sorted(pathlib.Path(records).glob("*.jsonl")):
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                check.call(json.loads(line), f"{file.name}:{number}")
    total = sum(counts.calls for counts in check.counts.values())
    print(f"{'calls':>8}{'answers':>9}{'left out':>10}  operation")
    for name, counts in sorted(check.counts.items()):
        print(f"{counts.calls:>8}{counts.answers:>9}{counts.left_out:>10}  {name}")
    print(f"{total} calls held against {len(check.descriptions.operations)} operations in {time.monotonic() - started:.1f} s;")
    print("left out are answers that were spoilt on purpose, or never came")
    never = [name for name in OURS if name not in check.counts]
    print("of ours never met: " + (", ".join(never) or "none"))

    failed = total == 0
    if failed:
        print("nothing was recorded: was ATTUNE_TEST_TRAFFIC set?")
    for name in check.counts.keys() - set(OURS):
        print(f"{name}: called, but not in the list of ours in exceptions.py")
        failed = True
    unexplained, unused = check.unexplained(EXCEPTIONS)
    for problem, sources in sorted(unexplained.items()):
        print(f"{problem.operation}: {problem.where} {problem.says} ({len(sources)} calls, first {sources[0]})")
        failed = True
    for each in unused:
        print(f"an exception explains nothing and must go: {each.operation}: {each.where} {each.says}")
        failed = True
    if not failed:
        print(f"all is as described, but for {len(check.problems)} differences that {len(EXCEPTIONS)} exceptions explain")
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
