"""The corpora: whose they are, under which licence, and which of their files are of which kind.

A corpus is a Git repository. Its files are read out of its newest commit, so that a clone without a work tree serves too.
"""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Corpus:
    """A repository on GitHub; `files` has a pattern of paths for each kind of file."""

    name: str
    licence: str
    files: dict


PICTURES = r"\.(png|jpe?g|tiff?|svs|bmp|gif|webp|jp2|dcm)$"
# What a fuzzer made has no extension.
BARE = r"/[^./]+$"

CORPORA = [
    Corpus("image-rs/image", "MIT or Apache-2.0", {"picture": r"^tests/(images|regression)/.*" + PICTURES}),
    Corpus("image-rs/image-tiff", "MIT", {"picture": r"^tests/.*(\.tiff?|/fuzz_images/.*)$"}),
    Corpus("image-rs/image-png", "MIT or Apache-2.0", {"picture": r"^(tests/.*\.png|fuzz/corpus/.*)$"}),
    Corpus("image-rs/jpeg-decoder", "MIT or Apache-2.0", {"picture": r"^(tests/.*\.(jpe?g|jp2)|fuzz-afl/in/.*)$"}),
    Corpus("etemesi254/zune-image", "MIT, Apache-2.0 or Zlib", {"picture": r"^(fuzz-corpus/(jpeg|png)/.*|.*\.(png|jpe?g))$"}),
    Corpus("python-pillow/Pillow", "MIT-CMU", {"picture": r"^Tests/images/.*" + PICTURES}),
    Corpus("libsdl-org/libtiff", "libtiff", {"picture": r"^test/images/.*"}),
    Corpus("cgohlke/imagecodecs", "BSD-3-Clause", {"picture": r"^tests/data/.*\.(tiff?|jpg|ljp|png|jp2)$"}),
    Corpus("haraldk/TwelveMonkeys", "BSD-3-Clause", {"picture": r"^imageio/imageio-(tiff|jpeg|core|metadata)/src/test/.*" + PICTURES}),
    Corpus("pnggroup/libpng", "libpng-2.0", {"picture": r"^(contrib|.*crashers|.*testpngs).*\.png$|^contrib/oss-fuzz/.*"}),
    Corpus("libjpeg-turbo/libjpeg-turbo", "IJG and BSD-3-Clause", {"picture": r"^testimages/.*"}),
    Corpus("libjpeg-turbo/seed-corpora", "none stated", {"picture": r"^(afl-testcases/jpeg.*|bugs/decompress/.*)"}),
    Corpus("libvips/libvips", "LGPL-2.1", {"picture": r"^(test/test-suite/images/.*|fuzz/common_fuzzer_corpus/.*)"}),
    Corpus("lovell/sharp", "Apache-2.0", {"picture": r"^test/fixtures/.*" + PICTURES}),
    Corpus("google/wuffs", "MIT or Apache-2.0", {"picture": r"^test/data/.*" + PICTURES, "json": r"^test/data/.*\.json$"}),
    Corpus("google/AFL", "Apache-2.0", {"picture": r"^(testcases/images|docs/vuln_samples)/.*" + PICTURES}),
    Corpus("exiftool/exiftool", "GPL-3.0 or Artistic", {"picture": r"^t/images/.*" + PICTURES}),
    Corpus("Exiv2/exiv2", "GPL-2.0", {"picture": r"^test/data/.*" + PICTURES}),
    Corpus(
        "drewnoakes/metadata-extractor-images",
        "none stated",
        {"picture": r"^(fuzzing/[^/]*\.fuzzed|(png|jpg|tif)/(ImageTestSuite/|PngSuite/)?[^/]*\.(png|jpg|tif))$"},
    ),
    Corpus("corkami/pics", "CC-BY", {"picture": r".*\.(png|jpg)$"}),
    Corpus("pydicom/pydicom", "MIT", {"dicom": r"^src/pydicom/data/(test_files|charset_files)/[^.]*(\.dcm)?$"}),
    Corpus(
        "dvyukov/go-fuzz-corpus",
        "Apache-2.0",
        {
            "picture": r"^(jpeg|png|tiff)/corpus/.*",
            "json": r"^json/corpus/.*",
            "csv": r"^csv/corpus/.*",
            "archive": r"^zip/corpus/.*",
            "xml": r"^xml/corpus/.*",
        },
    ),
    Corpus("strongcourage/fuzzing-corpus", "none stated", {"picture": r"^(jpg|png|tiff)/.*", "xml": r"^xml/.*", "archive": r"^zip/.*"}),
    Corpus("apache/parquet-testing", "Apache-2.0", {"parquet": r"^(data|bad_data|shredded_variant)/.*\.parquet(\.encrypted)?$"}),
    Corpus(
        "apache/arrow-testing",
        "Apache-2.0",
        {"parquet": r"^data/parquet/.*(\.parquet|" + BARE[:-1] + r"|testcase[^/]*)$", "csv": r"^data/csv/.*(\.csv|testcase[^/]*)$"},
    ),
    Corpus("apache/arrow-rs", "Apache-2.0", {"csv": r"^arrow-csv/test/data/.*\.csv$"}),
    Corpus("BurntSushi/rust-csv", "MIT or Unlicense", {"csv": r"^examples/data/.*\.csv$"}),
    Corpus("maxogden/csv-spectrum", "BSD-2-Clause", {"csv": r"^csvs/.*"}),
    Corpus("nst/JSONTestSuite", "MIT", {"json": r"^test_(parsing|transform)/.*"}),
    Corpus(
        "mmaitre314/picklescan",
        "MIT",
        {"pickle": r"^tests/data2?/.*\.(pkl|pickle|bin|npy|npz)$", "archive": r"^tests/data2?/.*\.(pt|zip|7z)$"},
    ),
    Corpus("protectai/modelscan", "Apache-2.0", {"archive": r"^tests/data/.*"}),
    Corpus("zip-rs/zip2", "MIT", {"archive": r"^(tests/data/.*\.zip|fuzz/read/in/.*)$"}),
    Corpus("nih-at/libzip", "BSD-3-Clause", {"archive": r"^regress/data/.*\.zip$"}),
    Corpus("onnx/onnx", "Apache-2.0", {"onnx": r".*(\.onnx|/data/light/.*\.pb)$"}),
    Corpus("NVIDIA/TensorRT", "Apache-2.0", {"onnx": r".*\.onnx$"}),
]

OVERFLOW = "blocks whose means grow beyond what 16 bits hold, which each decoder wraps or clamps in its own way"
# Files in which Coverslip and other decoders differ for a reason that is known.
DECIDED = {
    ("python-pillow/Pillow", "Tests/images/tiff_wrong_bits_per_sample.tiff"): "a strip that states 35 MB in a file of 11 kB",
    (
        "dvyukov/go-fuzz-corpus",
        "tiff/corpus/fa32222e2f04d17551d6e97fad823460d15d2497-1",
    ): "a file that ends inside its only directory, behind the last tag",
    (
        "drewnoakes/metadata-extractor-images",
        "png/ImageTestSuite/579294d4d8110fc64980dd72a5066780.png",
    ): "a palette of no whole number of colours, beside pixels that need none, of which libpng warns",
    ("libjpeg-turbo/seed-corpora", "bugs/decompress/github_347/overflow1.jpg"): OVERFLOW,
    ("libjpeg-turbo/seed-corpora", "bugs/decompress/github_347/overflow2.jpg"): OVERFLOW,
}


@dataclass(frozen=True)
class Sample:
    """One file of a corpus."""

    corpus: str
    kind: str
    # Its path in the repository.
    source: str
    path: Path


def git(repository, *arguments, **options):
    return subprocess.run(["git", "-C", str(repository), *arguments], check=True, capture_output=True, **options).stdout


def repository(folder, name):
    """Where a corpus lies: OWNER+NAME, with the git directory in `repo` or as it is, or OWNER/NAME; None: nowhere."""
    for place in (folder / name.replace("/", "+") / "repo", folder / name.replace("/", "+"), folder / name):
        if (place / "HEAD").is_file() or (place / ".git").exists():
            return place
    return None


def fetch(folder, name):
    """Clones a corpus; None, with the reason: it cannot be had."""
    place = folder / name.replace("/", "+")
    run = subprocess.run(
        ["git", "clone", "--quiet", "--bare", "--depth", "1", f"https://github.com/{name}.git", str(place)],
        capture_output=True,
        text=True,
    )
    return (place, None) if run.returncode == 0 else (None, run.stderr.strip().splitlines()[-1])


def unpack(corpus, place, folder, seen):
    """Writes a corpus's files into `folder/KIND` and gives them; `seen` has the blobs of the corpora before it."""
    samples, wanted = [], {kind: re.compile(pattern, re.IGNORECASE) for kind, pattern in corpus.files.items()}
    listing = git(place, "ls-tree", "-r", "-z", "HEAD").decode("utf-8", "surrogateescape")
    chosen = []
    for line in listing.split("\0"):
        head, _, path = line.partition("\t")
        mode, blob = (head.split() + ["", "", ""])[0:3:2]
        for kind, pattern in wanted.items():
            if mode.startswith("100") and pattern.match(path) and (kind, blob) not in seen:
                seen.add((kind, blob))
                chosen.append((kind, blob, path))
                break
    process = subprocess.Popen(["git", "-C", str(place), "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    for number, (kind, blob, path) in enumerate(chosen):
        process.stdin.write(f"{blob}\n".encode())
        process.stdin.flush()
        head = process.stdout.readline().split()
        # The largest files of a partial clone are absent.
        if head[1] != b"blob":
            continue
        data = process.stdout.read(int(head[2]))
        process.stdout.read(1)
        # A pointer to where the file would be is no file of the kind.
        if data.startswith(b"version https://git-lfs") or not data:
            continue
        end = re.sub(r"[^A-Za-z0-9.]", "", Path(path).suffix)[:8]
        target = folder / kind / f"{corpus.name.replace('/', '+')}-{number:05}{end}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        samples.append(Sample(corpus.name, kind, path, target))
    process.stdin.close()
    process.wait()
    return samples
