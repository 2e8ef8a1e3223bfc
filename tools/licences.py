"""Checks the licences of every dependency against the list in deny.toml: what `cargo deny check licenses` does, for
machines without it. Only the standard library."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path


def satisfied(expression: str, allowed: set[str]) -> bool:
    """Whether an SPDX expression can be met: AND and OR without nested parentheses, or with one level of them."""
    inner = re.search(r"\(([^()]*)\)", expression)
    if inner:
        met = "\0yes" if satisfied(inner.group(1), allowed) else "\0no"
        return satisfied(expression.replace(inner.group(0), met, 1), allowed)
    known = allowed | {"\0yes"}
    alternatives = re.split(r"\s+OR\s+|/", expression)
    return any(all(part.strip() in known for part in re.split(r"\s+AND\s+", one)) for one in alternatives)


def main() -> int:
    root = Path(__file__).resolve().parent.parent
    allowed = set(tomllib.loads((root / "deny.toml").read_text())["licenses"]["allow"])
    command = ["cargo", "metadata", "--format-version", "1", "--filter-platform", "x86_64-unknown-linux-gnu"]
    metadata = json.loads(subprocess.run(command, cwd=root, check=True, capture_output=True).stdout)
    refused = [
        f"{package['name']} {package['version']}: {package['license'] or 'no licence stated'}"
        for package in metadata["packages"]
        if package["source"] and not satisfied(package["license"] or "", allowed)
    ]
    print(f"{len(metadata['packages'])} packages, {len(refused)} with a licence that deny.toml does not list")
    for line in refused:
        print(" ", line)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
