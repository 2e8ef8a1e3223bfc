"""How much of a run of `coverslip embed` is spent outside the engine, in CPU seconds of its threads.

    python3 tools/peers/outside.py COMMAND...        e.g. target/release/coverslip embed slide.svs --bundle B --out e.parquet

Linux alone. The CPU time of every thread is read from /proc while the command runs. Threads named coverslip-lane are the
engine's; those named rten- are its pools. All others (the reader, the preparation of tiles, the judge, the writer) are
outside. The opening of the bundle and its self-check, which a run of any length pays once, are left out: the clock starts
when the first lane has worked for a second, or where `--all` is given, at the beginning. What a thread does in the last
hundredth of a second of its life is not seen.
"""

import pathlib
import subprocess
import sys
import time


def threads(pid):
    """CPU nanoseconds by the number and the name of each thread."""
    found = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            nanoseconds = int((task / "schedstat").read_text().split()[0])
            found[task.name, (task / "comm").read_text().strip()] = nanoseconds
        except OSError:
            pass  # It has ended.
    return found


def is_engine(name):
    return name.startswith(("coverslip-lane", "rten-"))


def main(words):
    from_start = words[:1] == ["--all"]
    command = subprocess.Popen(words[1:] if from_start else words, stdout=subprocess.DEVNULL)
    begin, last = ({} if from_start else None), {}
    while command.poll() is None:
        try:
            last.update(threads(command.pid))
        except FileNotFoundError:
            break
        if begin is None and max((t for (_, name), t in last.items() if is_engine(name)), default=0) > 1e9:
            begin = dict(last)
        time.sleep(0.01)
    if command.wait() != 0 or begin is None:
        sys.exit(f"the command ended with {command.returncode}, and worked for {'long enough' if begin else 'too short'}")
    spent = {}
    for key, nanoseconds in last.items():
        name = key[1].rstrip("0123456789")
        spent[name] = spent.get(name, 0) + nanoseconds - begin.get(key, 0)
    total = sum(spent.values())
    for name, nanoseconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"{name:<18}{nanoseconds / 1e9:9.2f} s{100 * nanoseconds / total:8.2f} %")
    outside = sum(nanoseconds for name, nanoseconds in spent.items() if not is_engine(name))
    print(f"outside the engine{outside / 1e9:9.2f} s{100 * outside / total:8.2f} %")


if __name__ == "__main__":
    main(sys.argv[1:])
