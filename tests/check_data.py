"""`cosal data check` on small jsons: what it reports, and what --fix makes of them."""

import json

from cosal_d2.cli import main


def read(json_file):
    return json.loads(json_file.read_text())


def own(content, i):
    """Co-salient annotations of picture i."""
    image = content["images"][i]
    names = {c["id"]: c["name"] for c in content["categories"]}
    entries = [a for a in content["annotations"] if a["image_id"] == image["id"]]
    return [a for a in entries if names[a["category_id"]] == image["cosalient_category"]]


def check(json_file, folder, *options):
    """Exit status and report."""
    line = ["data", "check", str(json_file), "--report", str(folder), "--workers", "1"]
    return main([*line, *options]), read(folder / f"{json_file.stem}.json")


def check_val(home, content, *options):
    """Exit status and report of `content` as the smaller split."""
    (home / "val.json").write_text(json.dumps(content))
    return check(home / "val.json", home / "report", *options)


def repaired(home, content):
    """Report and the repaired json, which is sound."""
    status, report = check_val(home, content, "--fix")
    assert status == 1 and report["errors"] and report["not_fixed"] == []
    assert check(home / "val_fixed.json", home / "again")[0] == 0
    return report, read(home / "val_fixed.json")
