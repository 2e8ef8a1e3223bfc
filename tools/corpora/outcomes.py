"""Runs the lab command and the readers over other people's corpora of odd and malformed files, and says what came of it.

    outcomes.py FOLDER --command PROGRAM --pixels PROGRAM [--fetch] [--most N] [--only NAME] [--all FILE] [--table FILE]

A corpus that is not in FOLDER is cloned into it with --fetch, else left out and named. Ends with 1 where there is a failure.
"""

import argparse
import collections
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openslide_bin

import pictures
from corpora import CORPORA, DECIDED, fetch, repository, unpack
from trials import ERROR, FAILURE, VALUE, Bench

# Pixels of the largest picture that the command scans: work that grows with the picture is no fault.
SCANNED = 1 << 20
ROOT = Path(__file__).resolve().parent.parent.parent


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--command", type=Path, required=True)
    parser.add_argument("--pixels", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=ROOT / "target" / "corpora")
    parser.add_argument("--fetch", action="store_true")
    parser.add_argument("--most", type=int, default=400, help="files of a corpus and kind that the command is run on")
    parser.add_argument("--only", action="append", default=[], help="a corpus, or a kind of file")
    parser.add_argument("--all", type=Path, help="writes every outcome")
    parser.add_argument("--table", type=Path, help="writes the table")
    return parser.parse_args()


def samples_of(options):
    """The files of every corpus that is there, and why others are not."""
    found, absent, seen = [], [], set()
    shutil.rmtree(options.work / "files", ignore_errors=True)
    for corpus in CORPORA:
        kinds = {kind for kind in corpus.files if not options.only or kind in options.only or corpus.name in options.only}
        if not kinds:
            continue
        place, why = repository(options.folder, corpus.name), "not in the folder"
        if place is None and options.fetch:
            place, why = fetch(options.folder, corpus.name)
        if place is None:
            absent.append(f"{corpus.name} is left out: {why}")
            continue
        found += [sample for sample in unpack(corpus, place, options.work / "files", seen) if sample.kind in kinds]
    return found, absent


def spaced(samples, most):
    """At most so many, evenly spaced."""
    step = max(1, len(samples) / most)
    return [samples[int(at * step)] for at in range(min(most, len(samples)))]


def read_pictures(options, samples, environment, large):
    """Every picture through the readers, compared with other decoders; adds to `large` those that a scan takes long for."""
    of_path = {sample.path: sample for sample in samples}
    scratch = options.work / "pixels"
    scratch.mkdir(parents=True, exist_ok=True)
    for path, answer in pictures.read_all(options.pixels, list(of_path), scratch, environment):
        found = pictures.judged(path, answer)
        what = VALUE if found.what in pictures.VALUES else FAILURE if found.what in pictures.FAILURES else ERROR
        sample = of_path[path]
        if isinstance(answer, pictures.Answer) and answer.info and answer.info["width"] * answer.info["height"] > SCANNED:
            large.add(sample)
        if why := DECIDED.get((sample.corpus, sample.source)):
            what = VALUE if found.what == "differs" else ERROR
            print(f"decided: {sample.corpus} {sample.source}: {why}")
        yield sample, f"pixels: {found.what}", what, found.said


def run_command(bench, samples):
    """The command on every sample, two at a time."""
    numbered = list(enumerate(samples))
    with ThreadPoolExecutor(2) as pool:
        for sample, found in pool.map(lambda one: (one[1], bench.outcomes(one[1].kind, one[1].path, one[0])), numbered):
            for name, outcome in found:
                yield sample, name, outcome.what, outcome.said


def main():
    options = arguments()
    pictures.quiet()
    # For DICOM; pictures are read with --reader own.
    library = next(Path(openslide_bin.__file__).parent.glob("libopenslide.*"))
    environment = os.environ | {"COVERSLIP_OPENSLIDE": str(library)}
    samples, absent = samples_of(options)
    grouped = collections.defaultdict(list)
    for sample in samples:
        grouped[sample.corpus, sample.kind].append(sample)
    bench = Bench(options.work / "bench", options.command.resolve(), ROOT / "bundles/demo", ROOT / "bundles/demo-profile", environment)
    large = set()
    counts, failures, every = collections.defaultdict(collections.Counter), [], []
    readings = read_pictures(options, [sample for sample in samples if sample.kind == "picture"], environment, large)
    # The pictures are read before those are chosen that the command gets.
    chosen = lambda: [s for group in grouped.values() for s in spaced([s for s in group if s not in large], options.most)]
    for outcomes in (lambda: readings, lambda: run_command(bench, chosen())):
        for sample, name, what, said in outcomes():
            counts[sample.corpus, sample.kind][what] += 1
            line = f"{what}\t{name}\t{sample.corpus}\t{sample.source}\t{sample.path}\t{' '.join(said.split())}"
            every.append(line)
            if what == FAILURE:
                failures.append(line)
                print(line, flush=True)
    table = tabulated(grouped, counts)
    print("\n".join([*absent, *table, f"{len(failures)} failures"]))
    for path, lines in ((options.all, every), (options.table, table)):
        if path:
            path.write_text("\n".join(lines) + "\n", errors="replace")
    sys.exit(1 if failures else 0)


def tabulated(grouped, counts):
    """The table, with a last row of sums."""
    licences = {corpus.name: corpus.licence for corpus in CORPORA}
    columns = (VALUE, ERROR, FAILURE)
    lines = ["| corpus | licence | kind | files | runs | values | errors | failures |", "|---|---|---|" + "---:|" * 5]
    sums, files = collections.Counter(), 0
    for (name, kind), group in grouped.items():
        count = counts[name, kind]
        sums, files = sums + count, files + len(group)
        numbers = [len(group), count.total(), *(count[column] for column in columns)]
        lines.append(f"| {name} | {licences[name]} | {kind} | " + " | ".join(f"{number:,}" for number in numbers) + " |")
    numbers = [files, sums.total(), *(sums[column] for column in columns)]
    return [*lines, "| all | | | " + " | ".join(f"{number:,}" for number in numbers) + " |"]


if __name__ == "__main__":
    main()
