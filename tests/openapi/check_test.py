#!/usr/bin/env python3
"""That the check finds what is wrong with a call, by a small description of its own: one mistake at a time."""

import copy
import json
import pathlib
import tempfile
import unittest

import check
from descriptions import Descriptions
from exceptions import Excepted

DESCRIPTION = """
openapi: 3.0.0
servers: [{url: 'https://example.com/stores/{store_hash}/v3'}]
security: [{Token: []}]
components:
  securitySchemes: {Token: {type: apiKey, in: header, name: X-Auth-Token}}
  schemas:
    Row:
      type: object
      required: [id, name]
      properties:
        id: {type: integer, format: int32, readOnly: true}
        name: {type: string, minLength: 1, maxLength: 5}
        note: {type: string, nullable: true}
        made: {type: string, format: date-time}
        secret: {type: string, writeOnly: true}
        parent: {$ref: '#/components/schemas/Row'}
        tags: {type: array, maxItems: 2, items: {enum: [2026-01-01, b]}}
    Either:
      oneOf:
        - {type: object, required: [number], properties: {number: {type: integer}}}
        - {type: object, required: [word], properties: {word: {type: string}}}
    Whole:
      allOf:
        - {$ref: '#/components/schemas/Row'}
        - {type: object, required: [more], properties: {more: {type: number, minimum: 0, exclusiveMinimum: true}}}
paths:
  /things:
    parameters: [{name: Accept, in: header, required: true, schema: {type: string}}]
    get:
      parameters:
        - {name: 'id:in', in: query, explode: false, schema: {type: array, items: {type: integer}}}
        - {name: 'word:in', in: query, schema: {type: array, items: {type: string}}}
        - {name: 'made:min', in: query, schema: {type: string, format: date-time}}
        - {name: sort, in: query, schema: {type: string, enum: ['id:asc']}}
        - {name: all, in: query, required: true, schema: {type: boolean}}
        - {name: limit, in: query, schema: {type: number, maximum: 250}}
      responses:
        200: {content: {application/json: {schema: {type: array, items: {$ref: '#/components/schemas/Row'}}}}}
        204: {description: nothing}
    post:
      requestBody: {required: true, content: {application/json: {schema: {$ref: '#/components/schemas/Whole'}}}}
      responses: {4XX: {description: refused}}
    put:
      requestBody: {content: {application/json: {schema: {$ref: '#/components/schemas/Either'}}}}
      responses: {default: {description: any}}
  /things/{thing_id}:
    get:
      parameters: [{name: thing_id, in: path, required: true, schema: {type: integer}}]
      responses: {200: {description: fine}}
  /things/special:
    get: {responses: {200: {description: fine}}}
"""

HEADERS = {"accept": "application/json", "content-type": "application/json", "x-auth-token": "not recorded"}
ROW = {"id": 1, "name": "a", "note": None, "made": "2026-01-01T00:00:00Z", "tags": ["2026-01-01"]}
NEW = {"name": "a", "more": 1, "secret": "s"}


def call(method, path, query=None, body=None, status=200, answer=None, fault=None, headers=HEADERS):
    def text(value):
        return value if value is None or isinstance(value, str) else json.dumps(value)

    body, answer = text(body), text(answer)
    return {
        "method": method, "path": path, "query": query, "headers": headers, "fault": fault, "status": status,
        "request": body, "request_bytes": len(body or ""), "answer": answer, "answer_bytes": len(answer or ""),
    }  # fmt: skip


def without(name):
    return {key: value for key, value in HEADERS.items() if key != name}


LIST, NEW_ONE, EITHER = ("GET", "/v3/things"), ("POST", "/v3/things"), ("PUT", "/v3/things")
GOOD = [
    call(*LIST, "all=true&id:in=1,2&word%3Ain=a&word:in=b&made:min=2026-01-01T00:00:00Z&sort=id:asc&limit=250", answer=[ROW]),
    call(*LIST, "all=false", status=204),
    call(*NEW_ONE, body=NEW, status=422),
    call(*EITHER, body={"word": "x"}, status=500),
    call("GET", "/v3/things/7"),
    call("GET", "/v3/things/special"),
    call(*LIST, "all=true", answer="<html>", fault="html"),
    call(*LIST, "all=true", status=0, fault="reset-after"),
]
# One mistake each: the call, where it is found, what is said.
BAD = [
    (call("GET", "/v3/nothing"), "the path", "is not described"),
    (call("GET", "/v2/things"), "the path", "is not described"),
    (call("DELETE", "/v3/things"), "the method", "is not described"),
    (call("GET", "/v3/things/seven"), "path thing_id", "is string, not integer"),
    (call(*LIST, "all=true&colour=red", answer=[]), "query colour", "is not described"),
    (call(*LIST, "all=true&id:in=", answer=[]), "query id:in", "is empty"),
    (call(*LIST, "all=true&id:in=1,x", answer=[]), "query id:in[]", "is string, not integer"),
    (call(*LIST, "all=true&id:in=1&id:in=2", answer=[]), "query id:in", "is given twice"),
    (call(*LIST, "all=true&sort=id:asc&sort=id:asc", answer=[]), "query sort", "is given twice"),
    (call(*LIST, "all=true&sort=name", answer=[]), "query sort", "breaks enum ['id:asc']"),
    (call(*LIST, "all=true&made:min=2026-01-01", answer=[]), "query made:min", "breaks format date-time"),
    (call(*LIST, "all=true&limit=251", answer=[]), "query limit", "breaks maximum 250"),
    (call(*LIST, "all=yes", answer=[]), "query all", "is string, not boolean"),
    (call(*LIST, answer=[]), "query all", "is missing"),
    (call(*LIST, "all=true", answer=[], headers=without("accept")), "header accept", "is missing"),
    (call(*LIST, "all=true", answer=[], headers={**HEADERS, "accept": "text/html"}), "header accept",
     "leaves out application/json"),
    (call(*LIST, "all=true", answer=[], headers=without("x-auth-token")), "header x-auth-token", "is missing"),
    (call(*LIST, "all=true", body=[1], answer=[]), "body", "is not described"),
    (call(*NEW_ONE, body=NEW, status=422, headers=without("content-type")), "header content-type",
     "is none of ['application/json']"),
    (call(*NEW_ONE, status=422), "body", "is missing"),
    (call(*NEW_ONE, body="{", status=422), "body", "is no JSON"),
    (call(*NEW_ONE, body={**NEW, "id": 1}, status=422), "body.id", "is not described"),
    (call(*NEW_ONE, body={**NEW, "colour": 1}, status=422), "body.colour", "is not described"),
    (call(*NEW_ONE, body={"name": "a"}, status=422), "body.more", "is missing"),
    (call(*NEW_ONE, body={**NEW, "more": 0}, status=422), "body.more", "breaks exclusiveMinimum 0"),
    (call(*NEW_ONE, body={**NEW, "name": "abcdef"}, status=422), "body.name", "breaks maxLength 5"),
    (call(*NEW_ONE, body={**NEW, "name": None}, status=422), "body.name", "is null, not string"),
    (call(*EITHER, body={"number": 1, "word": 1}), "body", "mixes several forms"),
    (call(*EITHER, body={"number": 1, "word": "x"}), "body", "fits several forms of which it may fit one"),
    (call(*EITHER, body={"number": "x"}), "body.number", "is string, not integer"),
    (call(*LIST, "all=true", status=418), "answer 418", "is not described"),
    (call(*LIST, "all=true"), "answer 200", "has no body"),
    (call(*LIST, "all=true", answer="<html>", fault="slow"), "answer 200", "is no JSON"),
    (call(*LIST, "all=true", answer={}), "answer 200", "is object, not array"),
    (call(*LIST, "all=true", answer=[{**ROW, "colour": 1}]), "answer 200[].colour", "is not described"),
    (call(*LIST, "all=true", answer=[{**ROW, "secret": "s"}]), "answer 200[].secret", "is not described"),
    (call(*LIST, "all=true", answer=[{"id": 1}]), "answer 200[].name", "is missing"),
    (call(*LIST, "all=true", answer=[{**ROW, "id": 2**31}]), "answer 200[].id", "breaks format int32"),
    (call(*LIST, "all=true", answer=[{**ROW, "made": "2026-01-01 00:00:00"}]), "answer 200[].made",
     "breaks format date-time"),
    (call(*LIST, "all=true", answer=[{**ROW, "tags": ["b", "b", "b"]}]), "answer 200[].tags", "breaks maxItems 2"),
]  # fmt: skip


class CheckTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        pathlib.Path(folder.name, "things.yml").write_text(DESCRIPTION)
        self.descriptions = Descriptions(folder.name)

    def found(self, *calls):
        held = check.Check(self.descriptions)
        for each in calls:
            held.call(copy.deepcopy(each), "here")
        return held

    def test_what_is_right_is_left_alone(self):
        held = self.found(*GOOD)
        self.assertEqual(held.problems, {})
        self.assertEqual([held.counts["GET /v3/things"].answers, held.counts["GET /v3/things"].left_out], [2, 2])
        self.assertEqual(set(held.counts) & {"GET /v3/things/special"}, {"GET /v3/things/special"})

    def test_each_mistake_is_found_alone(self):
        for bad, where, says in BAD:
            with self.subTest(where=where, says=says):
                problems = self.found(bad).problems
                self.assertEqual([(each.where, each.says) for each in problems], [(where, says)])

    def test_an_exception_explains_its_place_alone_and_must_be_needed(self):
        held = self.found(call(*LIST, "all=true", status=418), call(*LIST, "all=true&colour=red", answer=[]))
        teapot = Excepted("*", "answer 418", "is not described", "a reason", "a source")
        elsewhere = Excepted("POST /v3/things", "query colour", "is not described", "a reason", "a source")
        left, unused = held.unexplained([teapot, elsewhere])
        self.assertEqual([each.where for each in left], ["query colour"])
        self.assertEqual(unused, [elsewhere])


if __name__ == "__main__":
    unittest.main()
