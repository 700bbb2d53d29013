#!/usr/bin/env python3
"""Writes tests/golden/text/json_schema.jsonl: JSON Schemas with texts, and whether jsonschema (Python) finds them valid.

    apt-get install json-schema-test-suite; python tools/dump_json_schema_golden.py

A line is {"schema", "texts": [[text, is valid], ...], "exact"}. Those of JSON-Schema-Test-Suite (draft 7, MIT, (c) 2012 Julian Berman; the
verdicts there are part of the suite and are checked here) stand for all keywords, supported or not. "exact" marks the schemas below, whose
texts keep the order and the spelling that a grammar writes: it must take the valid ones and no others.
"""
import json
import sys
from pathlib import Path

from jsonschema import Draft7Validator, Draft202012Validator, FormatChecker

ROOT = Path(__file__).resolve().parent.parent
SUITE = Path("/usr/share/json-schema-test-suite/tests/draft7")
FORMATS = ["date", "time", "date-time", "email", "hostname", "uri", "ipv4", "ipv6"]

RECEIPT = {"type": "object", "additionalProperties": False, "required": ["shop", "total", "items"],
           "properties": {"shop": {"type": "string", "minLength": 1, "maxLength": 5}, "date": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
                          "total": {"type": "number", "minimum": 0},
                          "items": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"$ref": "#/$defs/Item"}}},
           "$defs": {"Item": {"type": "object", "title": "Item", "required": ["name"],
                              "properties": {"name": {"type": "string"}, "count": {"type": "integer", "minimum": 1, "maximum": 99, "default": 1}}}}}
TREE = {"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "required": ["value"], "additionalProperties": False, "properties": {
    "value": {"enum": ["a", "b"]}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}}}}}
UNION = {"oneOf": [{"$ref": "#/$defs/cat"}, {"$ref": "#/$defs/dog"}], "discriminator": {"propertyName": "kind"},
         "$defs": {"cat": {"type": "object", "properties": {"kind": {"const": "cat"}, "lives": {"type": "integer", "exclusiveMinimum": 0, "maximum": 9}},
                           "required": ["kind", "lives"], "additionalProperties": False},
                   "dog": {"type": "object", "properties": {"kind": {"const": "dog"}, "name": {"type": "string"}}, "required": ["kind"],
                           "additionalProperties": False}}}
BOXES = {"type": "array", "items": {"type": "object", "required": ["label", "box"], "properties": {
    "label": {"type": "string", "enum": ["cat", "dog", "a \"bird\"", "häß"]},
    "box": {"type": "array", "prefixItems": [{"type": "integer", "minimum": 0, "maximum": 1000}] * 2, "items": {"type": "number"}, "minItems": 4, "maxItems": 4}}}}


def numbers(kind, texts="0 -0.5 0.5 1 1.0 1.5 2 -1 -2 9.99 10 10.01 99 100 0.1 0.10 0.09 0.11 0.25 0.249 0.2501 -3.5 -3.51 -3.4 3.14159 31 123456789", **bounds):
    # 1.0 is an integer of JSON Schema; it is not written where one is asked for.
    return ({"type": kind, **bounds}, [text for text in texts.split() if kind == "number" or not text.endswith(".0")])


# Schemas and texts; the texts of objects keep the order of the schema.
OWN = [
    (RECEIPT, ['{"shop":"Aldi","total":12.5,"items":[{"name":"milk"}]}', '{"shop":"Aldi","date":null,"total":0,"items":[{"name":"","count":2}]}',
               '{"shop":"Aldi","date":"2024-02-28","total":3.25,"items":[{"name":"a"},{"name":"b","count":99}]}', '{"shop":"","total":1,"items":[{"name":"a"}]}',
               '{"shop":"Aldi!!","total":1,"items":[{"name":"a"}]}', '{"shop":"\u00e4\u4e2d\U0001f600xy","total":1,"items":[{"name":"a"}]}',
               '{"shop":"Aldi","total":-1,"items":[{"name":"a"}]}', '{"shop":"Aldi","total":1,"items":[]}', '{"shop":"Aldi","total":1}',
               '{"shop":"Aldi","total":1,"items":[{"name":"a"},{"name":"a"},{"name":"a"}]}', '{"shop":"Aldi","total":1,"items":[{"count":1}]}',
               '{"shop":"Aldi","total":1,"items":[{"name":"a","count":0}]}', '{"shop":"Aldi","total":1,"items":[{"name":"a","count":100}]}',
               '{"shop":"Aldi","date":"2024-02-30","total":1,"items":[{"name":"a"}]}', '{"shop":"Aldi","date":"soon","total":1,"items":[{"name":"a"}]}',
               '{"shop":1,"total":1,"items":[{"name":"a"}]}', '{"shop":"Aldi","total":"1","items":[{"name":"a"}]}', '[]', 'null',
               '{"shop":"Aldi","total":1,"items":[{"name":"a"}],"tip":1}']),
    (TREE, ['{"value":"a"}', '{"value":"b","children":[]}', '{"value":"b","children":[{"value":"a","children":[{"value":"b"}]},{"value":"a"}]}', '{"value":"c"}', '{}',
            '{"value":"b","children":[{}]}', '{"value":"b","children":{}}', '{"value":"b","more":1}']),
    (UNION, ['{"kind":"cat","lives":9}', '{"kind":"dog"}', '{"kind":"dog","name":"Rex"}', '{"kind":"cat","lives":0}', '{"kind":"cat","lives":10}', '{"kind":"cat"}',
             '{"kind":"cat","name":"Rex"}', '{"kind":"dog","lives":1}', '{"kind":"cow"}', '{"name":"Rex"}']),
    (BOXES, ['[]', '[{"label":"cat","box":[0,1000,3.5,-4]}]', '[{"label":"a \\"bird\\"","box":[1,2,3,4]},{"label":"h\u00e4\u00df","box":[1,2,3,4]}]',
             '[{"label":"cow","box":[1,2,3,4]}]', '[{"label":"cat","box":[1,2,3]}]', '[{"label":"cat","box":[1,2,3,4,5]}]', '[{"label":"cat","box":[1001,2,3,4]}]',
             '[{"label":"cat","box":[1,2.5,3,4]}]', '[{"label":"cat","box":[1,2,3,"4"]}]', '{}']),
    ({"type": "object", "additionalProperties": {"type": "integer"}}, ['{}', '{"a":1}', '{"a":1,"b c":-2}', '{"\u00fc\\n":0}', '{"a":1.5}', '{"a":null}', '[1]']),
    ({"type": "object", "properties": {"ab": {"type": "boolean"}, "abc": {"type": "null"}}, "additionalProperties": {"type": "string"}, "required": ["abc"]},
     ['{"abc":null}', '{"ab":true,"abc":null}', '{"abc":null,"a":"x","abcd":"y","b":"z"}', '{"ab":true}', '{"ab":"x","abc":null}', '{"abc":null,"abd":1}']),
    ({"type": "object", "required": ["id"], "properties": {"name": {"type": "string"}}, "additionalProperties": {"type": "integer"}},
     ['{"id":3}', '{"name":"x","id":3}', '{"name":"x"}', '{"id":"3"}']),
    ({"type": "object", "properties": {"gone": False, "kept": {"type": "integer"}}}, ['{}', '{"kept":1}', '{"gone":1}']),
    ({"type": ["string", "null"], "minLength": 2}, ['null', '"ab"', '"a"', '"\\u00e4b"', '"\\n\\n"', '"\\n"', '1', '"\U0001f600"', '"\U0001f600\U0001f600"']),
    ({"type": ["number", "string"], "minimum": 5}, ['5', '5.5', '"x"', '4', '-6', '4.9']),
    ({"anyOf": [{"type": "boolean"}, {"const": "maybe"}, {"const": 1}]}, ['true', '"maybe"', '1', '"no"', '2']),
    ({"type": "string", "anyOf": [{"maxLength": 1}, {"pattern": "^x+$"}]}, ['""', '"a"', '"xxx"', '"ab"', '1']),
    ({"oneOf": [{"type": "integer"}, {"type": "string"}, {"type": "null"}]}, ['1', '"1"', 'null', '1.5', 'true']),
    ({"allOf": [{"type": "string", "maxLength": 2}]}, ['""', '"ab"', '"abc"']),
    ({"enum": [1, "a", None, {"b": [True, "\u20ac"]}]}, ['1', '"a"', 'null', '{"b":[true,"\u20ac"]}', '2', '"b"', '{"b":[true]}']),
    ({"const": "say \"\u00e4\"\n"}, ['"say \\"\u00e4\\"\\n"', '"say"']),
    ({"definitions": {"a/b": {"type": "integer"}, "c%d": {"type": "boolean"}}, "type": "array", "prefixItems": [{"$ref": "#/definitions/a~1b"}, {"$ref": "#/definitions/c%25d"}],
      "items": False, "minItems": 2}, ['[1,true]', '[true,1]', '[1,true,2]', '[1]']),
    ({"type": "array", "items": {"type": "array", "items": {"type": "integer"}, "maxItems": 1}, "minItems": 1}, ['[[]]', '[[1],[]]', '[]', '[[1,2]]', '[1]']),
    ({"type": "array", "maxItems": 0}, ['[]', '[1]']),
    ({"pattern": "^[A-Z]{2}-\\d{3}$"}, ['"AB-123"', '"AB-1234"', '"xAB-123"', '"ab-123"']),
    ({"type": "string", "pattern": "b+"}, ['"b"', '"abba"', '"aa"', '""', '"\\nb\\""']),
    ({"type": "string", "pattern": "^(?:a|\u00e9[^x\\s]?)*$"}, ['""', '"aa\u00e9y"', '"\u00e9\u00e9"', '"\u00e9x"', '"b"']),
    ({"type": "string", "pattern": "^[\u0430-\u044f]{1,3}[^\\w]$"}, ['"\u0436!"', '"\u0430\u0431\u0432 "', '"a!"', '"\u0436\u0436\u0436\u0436!"', '"\u0436\u20ac"']),
    ({"type": "string", "pattern": "^\\\\\"/$"}, ['"\\\\\\"/"', '"x"']),
    ({"type": "boolean"}, ['true', 'false', '0', '"true"']),
    ({"properties": {"a b": {"type": "integer"}, "\"": {"type": "integer"}}}, ['{}', '{"a b":1}', '{"a b":1,"\\"":2}', '{"a b":"x"}']),
    numbers("integer", minimum=1), numbers("integer", maximum=-1), numbers("integer", minimum=0.5, exclusiveMaximum=10), numbers("integer", exclusiveMinimum=-3, maximum=31),
    numbers("integer", minimum=-2, maximum=100), numbers("integer", exclusiveMinimum=-2.5, exclusiveMaximum=99.5),
    numbers("number", minimum=0, maximum=1), numbers("number", exclusiveMinimum=0, exclusiveMaximum=1), numbers("number", minimum=0.1, maximum=0.25),
    numbers("number", exclusiveMinimum=0.1, exclusiveMaximum=0.25), numbers("number", minimum=-3.5, maximum=-0.5), numbers("number", exclusiveMaximum=9.99),
    numbers("number", minimum=-3.5, exclusiveMaximum=10.01), numbers("number", exclusiveMinimum=1.5), numbers("number", minimum=10, exclusiveMinimum=9, maximum=31, exclusiveMaximum=31),
    numbers("number", texts="0.3 0.30000000000001 0.29999999999999 0.4 -1 0", maximum=0.3),
] + [({"type": "string", "format": name}, [json.dumps(text) for text in texts.split()]) for name, texts in {
    "date": "2024-02-28 1999-12-31 2024-02-30 2024-13-01 2024-00-10 24-01-01 today",
    "time": "10:20:30Z 23:59:59.5+01:00 24:00:00Z 10:61:00Z 10:20 x",
    "date-time": "2024-02-28T10:20:30Z 2001-01-01T00:00:00.125-05:30 2024-02-28 2024-02-28T25:00:00Z",
    "email": "joe.bloggs@example.com 2962", "hostname": "www.example.com -a-host-name-that-starts-with-- not_a_valid_host_name",
    "ipv4": "192.168.0.1 127.0.0.0.1 256.256.256.256 127.0", "ipv6": "1:2:3:4:5:6:7:8 12345::  1::1::1 :2:3:4:5:6:7:8",
    "uuid": "2eb8aa08-aa98-11ea-b4aa-73b441d16380 2eb8-aa08-aa98-11ea-b4aa73b44-1d16380 zzzzzzzz-aa98-11ea-b4aa-73b441d16380",
    "uri": "https://example.com/a_b/c.html http://www.example.org:8080/ //foo.bar bar,baz"}.items()]


def suite():
    files = [*sorted(SUITE.glob("*.json")), *(SUITE / "optional/format" / f"{name}.json" for name in FORMATS)]
    for path in files:
        if path.name == "refRemote.json" or not path.exists():
            continue
        for group in json.loads(path.read_text()):
            texts = []
            for test in group["tests"]:
                text = json.dumps(test["data"], ensure_ascii=False, separators=(",", ":"))
                # What the suite says is checked, where the library can follow it (remote schemas need the network, formats packages).
                if "format" not in path.parent.name and "http://" not in json.dumps(group["schema"]) and "file:" not in json.dumps(group["schema"]):
                    assert Draft7Validator(group["schema"]).is_valid(test["data"]) == test["valid"], (path, group["description"], test)
                texts.append([text, test["valid"]])
            yield {"schema": group["schema"], "texts": texts, "exact": False}


def own():
    for schema, texts in OWN:
        Draft202012Validator.check_schema(schema)
        judge = Draft202012Validator(schema, format_checker=FormatChecker())
        checks_format = schema.get("format") not in ("uri", "hostname", "time", "date-time")  # those need more packages: the suite has them
        verdicts = [[text, judge.is_valid(json.loads(text))] for text in texts]
        if checks_format:
            assert {v for _, v in verdicts} == {True, False}, schema
            yield {"schema": schema, "texts": verdicts, "exact": True}


def main():
    if not SUITE.is_dir():
        sys.exit(f"{SUITE} is missing; hint: apt-get install json-schema-test-suite")
    lines = [json.dumps(line, ensure_ascii=False) for line in [*own(), *suite()]]
    out = ROOT / "tests/golden/text/json_schema.jsonl"
    out.write_text("\n".join(lines) + "\n")
    print(len(lines), "schemas,", out.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
