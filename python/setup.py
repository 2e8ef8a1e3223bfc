"""Builds the wheel: the library and the command with cargo, unless COVERSLIP_PREFIX names an installation of them.

The wheel holds one native library that Python's version does not concern, so its tag is py3-none-<platform>.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:
    from wheel.bdist_wheel import bdist_wheel

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


def version() -> str:
    manifest = (ROOT / "Cargo.toml").read_text(encoding="utf-8")
    return re.search(r'^version = "([^"]+)"', manifest, re.MULTILINE).group(1)


def native_files() -> dict[str, Path]:
    """Where each native file of the wheel comes from, by its place in the package."""
    prefix = os.environ.get("COVERSLIP_PREFIX")
    if prefix:
        libraries, commands = Path(prefix) / "lib", Path(prefix) / "bin"
    else:
        packages = ["-p", "coverslip", "-p", "coverslip-lab", "-p", "coverslip-standin"]
        subprocess.run(["cargo", "build", "--release", *packages], cwd=ROOT, check=True)
        libraries = commands = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
    files = {"lib/libcoverslip.so": libraries / "libcoverslip.so", "bin/coverslip": commands / "coverslip"}
    # What `coverslip validate` puts in the library's place; an installation may be without it.
    standin = libraries / "libcoverslip_standin.so"
    if standin.is_file():
        files["lib/libcoverslip_standin.so"] = standin
    return {place: source.resolve() for place, source in files.items()}


class BuildWithLibrary(build_py):
    """Puts the library, the headers and the command beside the modules."""

    def run(self) -> None:
        super().run()
        package = Path(self.build_lib) / "coverslip"
        files = native_files()
        for header in ("coverslip.h", "coverslip.hpp"):
            files[f"include/coverslip/{header}"] = ROOT / "include" / "coverslip" / header
        for place, source in files.items():
            target = package / place
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


class PlatformWheel(bdist_wheel):
    def finalize_options(self) -> None:
        super().finalize_options()
        self.root_is_pure = False

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


setup(version=version(), cmdclass={"build_py": BuildWithLibrary, "bdist_wheel": PlatformWheel})
