"""Every configuration that ships or stands in the documentation fits the JSON Schema, and what is wrong does not."""

import json
import pathlib
import re
import sys
import tomllib

from jsonschema import Draft202012Validator

ROOT = pathlib.Path(__file__).parents[2]

MINIMAL = (ROOT / "config/minimal.toml").read_text()

# What the schema must refuse: (what stands there, what is put in its place).
WRONG = [
    ('kind  = "sql"', 'kind  = "sqlite"'),
    ('crm          = "erp"', 'crm          = "erp"\npol = "30s"'),
    ('crm          = "erp"', 'crm          = "erp"\npoll = 30'),
    ('crm          = "erp"', 'crm          = "erp"\npoll = "30 seconds"'),
    ('{ credential = "acme" }', '"literal"'),
    ('{ credential = "acme" }', '{ credential = "acme", env = "A" }'),
    ('"customer:email"', '"customer:mail"'),
    ('direction = "to_store"', 'direction = "store"'),
    ('table = "contacts"', ''),
]


def main():
    schema = json.loads((ROOT / "config/schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    right = {
        str(path.relative_to(ROOT)): path.read_text()
        for path in [*(ROOT / "config").glob("*.toml"), ROOT / "tests/configuration/everything.toml"]
    }
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")]:
        for number, block in enumerate(re.findall(r"```toml complete\n(.*?)```", page.read_text(), re.S)):
            right[f"{page.relative_to(ROOT)}, configuration {number + 1}"] = block
    failed = False
    for name, text in right.items():
        for error in validator.iter_errors(tomllib.loads(text)):
            print(f"{name}: {error.json_path}: {error.message}")
            failed = True
    for old, new in WRONG:
        assert old in MINIMAL, old
        if validator.is_valid(tomllib.loads(MINIMAL.replace(old, new, 1))):
            print(f"the schema takes {new!r} in place of {old!r}")
            failed = True
    print(f"{len(right)} configurations fit the schema, {len(WRONG)} wrong ones do not" if not failed else "failed")
    sys.exit(failed)


main()
