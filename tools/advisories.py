"""Checks Cargo.lock against a copy of the RustSec advisory database, offline: what `cargo deny check advisories` does, for
machines without it. Only the standard library.

    tools/advisories.py [--db DIR] [--lock FILE] [--required]

The database is a checkout of rustsec/advisory-db: --db, RUSTSEC_DB, or where cargo-audit and cargo-deny keep theirs. Where
there is none, the check is left out with a line that says so; with --required that is an error. Vulnerabilities and
unsound crates end with 1; what is only unmaintained is printed. deny.toml's `[advisories] ignore` counts here too."""

import argparse
import os
import re
import sys
import tomllib
from pathlib import Path

Version = tuple[tuple[int, int, int], tuple]


def parsed(text: str) -> Version:
    """A version as a key that sorts by Semantic Versioning: a pre-release comes before its release."""
    match = re.fullmatch(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:-([0-9A-Za-z.-]+))?(?:\+.*)?", text.strip())
    if not match:
        raise ValueError(f"expected a version, found {text!r}")
    numbers = tuple(int(part or 0) for part in match.groups()[:3])
    if match.group(4) is None:
        return numbers, ((2,),)
    parts = match.group(4).split(".")
    return numbers, tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)


def meets(version: str, requirement: str) -> bool:
    """Whether a version is in a range of RustSec's form: comparisons joined by commas.

    >>> [meets("1.6.1", r) for r in (">= 1.6.1", "> 1.6.1", "< 1.6.1", "<= 1.6.1", "= 1.6.1", ">= 0.6.14, < 1.0.0")]
    [True, False, False, True, True, False]
    >>> [meets(v, "^1.2.3") for v in ("1.2.2", "1.2.3", "1.99.0", "2.0.0")]
    [False, True, True, False]
    >>> [meets(v, "^0.2.3") for v in ("0.2.9", "0.3.0")], [meets(v, "~1.2.3") for v in ("1.2.9", "1.3.0")]
    ([True, False], [True, False])
    >>> [meets(v, ">= 2.0.0") for v in ("2.0.0-alpha.2", "2.0.0-rc.1", "2.0.0", "2.0.1-pre", "10.0.0")]
    [False, False, True, True, True]
    >>> [meets(v, ">= 1.0.0-alpha.2") for v in ("1.0.0-alpha.1", "1.0.0-alpha.10", "1.0.0-beta", "1.0.0+build")]
    [False, True, True, True]
    """
    found = parsed(version)
    for part in requirement.split(","):
        sign, bound = re.fullmatch(r"\s*(>=|<=|>|<|=|\^|~)?\s*(.+?)\s*", part).groups()
        low = parsed(bound)
        (major, minor, patch), _ = low
        match sign:
            case ">=":
                fits = found >= low
            case "<=":
                fits = found <= low
            case ">":
                fits = found > low
            case "<":
                fits = found < low
            case "=":
                fits = found == low
            case "~":
                end = (major, minor + 1, 0) if "." in bound else (major + 1, 0, 0)
                fits = low <= found and found[0] < end
            case _:  # Cargo's default: what is compatible.
                end = (major + 1, 0, 0) if major else (0, minor + 1, 0) if minor else (0, 0, patch + 1)
                fits = low <= found and found[0] < end
        if not fits:
            return False
    return True


def affected(version: str, versions: dict) -> bool:
    ranges = [*versions.get("patched", []), *versions.get("unaffected", [])]
    return not any(meets(version, requirement) for requirement in ranges)


def advisories(database: Path):
    """Each advisory's front matter and title."""
    for path in sorted(database.glob("crates/*/*.md")):
        match = re.match(r"```toml\n(.*?)\n```(.*)", path.read_text(encoding="utf-8"), re.DOTALL)
        if not match:
            raise ValueError(f"{path}: expected a block of TOML at its start")
        title = re.search(r"^# (.+)$", match.group(2), re.MULTILINE)
        yield tomllib.loads(match.group(1)), title.group(1) if title else ""


def database(given: str | None) -> Path | None:
    home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    if given or os.environ.get("RUSTSEC_DB"):
        place = Path(given or os.environ["RUSTSEC_DB"])
        if not (place / "crates").is_dir():
            sys.exit(f"{place}: expected a checkout of rustsec/advisory-db with the folder crates/")
        return place
    known = [home / "advisory-db", *sorted(home.glob("advisory-dbs/*"))]
    return next((place for place in known if (place / "crates").is_dir()), None)


def main() -> int:
    root = Path(__file__).resolve().parent.parent
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--db", help="a checkout of rustsec/advisory-db")
    options.add_argument("--lock", type=Path, default=root / "Cargo.lock")
    options.add_argument("--required", action="store_true", help="a missing database is an error")
    options = options.parse_args()
    place = database(options.db)
    if place is None:
        print("left out: no copy of the RustSec database; name one with --db or RUSTSEC_DB")
        return int(options.required)
    packages = tomllib.loads(options.lock.read_text())["package"]
    ours = {}
    for package in packages:
        if package.get("source", "").startswith("registry+"):
            ours.setdefault(package["name"], []).append(package["version"])
    ignored = tomllib.loads((root / "deny.toml").read_text()).get("advisories", {}).get("ignore", [])
    read = bad = 0
    for front, title in advisories(place):
        read += 1
        about = front["advisory"]
        if "withdrawn" in about or about["id"] in ignored:
            continue
        kind = about.get("informational", "vulnerability")
        for version in ours.get(about["package"], []):
            if affected(version, front.get("versions", {})):
                bad += kind in ("vulnerability", "unsound")
                print(f"{about['id']} {kind}: {about['package']} {version}: {title}")
    if read < 100:
        sys.exit(f"{place}: {read} advisories; the database has more than a thousand, this copy is not whole")
    newest = max(front["advisory"]["date"] for front, _ in advisories(place))
    crates = sum(len(versions) for versions in ours.values())
    print(f"{crates} crates, {read} advisories up to {newest}: {bad} vulnerable or unsound")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
