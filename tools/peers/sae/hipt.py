"""The HIPT embeddings of the shared data in the format of `coverslip embed`: a row per region, its slide and project.

    python hipt.py HIPT.safetensors HIPT.csv OUT.safetensors
"""

import csv
import sys

from safetensors.numpy import load_file, save_file


def main():
    source, table, out = sys.argv[1:]
    embeddings = load_file(source)["features"]
    rows = []
    for slide in csv.DictReader(open(table)):
        first, count = int(slide["offset"]), int(slide["n_regions"])
        assert first == len(rows), "the table's slides follow each other"
        rows += [(slide["slide_id"], f"{slide['slide_id']}:{i}", slide["project"]) for i in range(count)]
    assert len(rows) == len(embeddings), (len(rows), len(embeddings))
    save_file({"embedding_hipt": embeddings}, out)
    with open(out.replace(".safetensors", ".csv"), "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["slide", "tile", "project"])
        writer.writerows(rows)


main()
