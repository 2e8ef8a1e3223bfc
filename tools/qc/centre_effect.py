"""Writes the 6,376 pathology embeddings (HIPT, 192 values, TCGA) as an embedding file of the lab, with the institution.

python tools/qc/centre_effect.py --out hipt.safetensors; then, for instance,
coverslip analyze scanners hipt.safetensors --scanner institution --biology project --group patient --out centres

The two characters after `TCGA-` in a barcode are the tissue source site. Which institution a code stands for is in the
public code table (https://gdc.cancer.gov/resources-tcga-users/tcga-code-tables/tissue-source-site-codes); tcga_sites.csv
has those of the slides at hand, with the spellings of one institution taken together (MSKCC, MD Anderson, Mayo Clinic, UCSF,
Ontario Institute for Cancer Research). Needs numpy and safetensors.
"""
import argparse
import csv
import os
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

here = Path(__file__).resolve()
data = Path(os.environ.get("COVERSLIP_DATA", here.parents[3] / "shared/data")) / "embeddings"
parser = argparse.ArgumentParser()
parser.add_argument("--out", type=Path, required=True)
parser.add_argument("--several", action="store_true", help="only institutions with two projects or more")
args = parser.parse_args()

institution = {row["code"]: row["institution"] for row in csv.DictReader(open(here.with_name("tcga_sites.csv")))}
slides = list(csv.DictReader(open(data / "hipt_4k192_small.csv")))
(values,) = [v for v in load_file(data / "hipt_4k192_small.safetensors").values() if v.ndim == 2 and v.shape[1] == 192]
projects = {}
for slide in slides:
    slide["site"] = slide["slide_id"][5:7]
    slide["institution"] = institution[slide["site"]]
    projects.setdefault(slide["institution"], set()).add(slide["project"])
keep, rows = [], []
for slide in slides:
    if args.several and len(projects[slide["institution"]]) < 2:
        continue
    first, count = int(slide["offset"]), int(slide["n_regions"])
    for region in range(first, first + count):
        keep.append(region)
        rows.append([slide["slide_id"], slide["slide_id"][:12], slide["project"], slide["site"], slide["institution"], region - first])
save_file({"embedding_hipt_4k": np.ascontiguousarray(values[keep].astype(np.float32))}, args.out)
with open(args.out.with_suffix(".csv"), "w", newline="") as table:
    writer = csv.writer(table)
    writer.writerow(["slide", "patient", "project", "site", "institution", "tile"])
    writer.writerows(rows)
several = sum(len(found) > 1 for found in projects.values())
print(f"{len(rows)} regions of {len({row[0] for row in rows})} slides; {several} of {len(projects)} institutions have several projects")
