"""Builds what pyproject.toml cannot say: the Cython kernels, the static binaries and the compiled schemas.

Environment:
    CYBERNETES_DEBUG=1          kernels with bounds checks and without optimisation, in a build folder of their own.
    CYBERNETES_EXTENSIONS=a,b   only these kernels (for a quick rebuild of one).
"""

from __future__ import annotations

import os
import runpy
import subprocess
from pathlib import Path
from typing import ClassVar

from setuptools import Command, Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
#: In a checkout links to the folders at the top; in an sdist the folders themselves.
PACKAGE = ROOT / "cybernetes"
DEBUG = os.environ.get("CYBERNETES_DEBUG") == "1"
ONLY = {name for name in os.environ.get("CYBERNETES_EXTENSIONS", "").split(",") if name}

# Set once, here: no kernel sets directives of its own. A performance hint (a nogil function that takes the GIL to
# report an exception, 47 ns a call against 0.8) fails the build: see tests/unit/ext/test_build.py.
DIRECTIVES = {
    "language_level": 3,
    "embedsignature": True,
    "boundscheck": DEBUG,
    "wraparound": DEBUG,
    "initializedcheck": DEBUG,
    "cdivision": not DEBUG,
    "nonecheck": DEBUG,
    "freethreading_compatible": False,
}

# -ffp-contract=off: a fused multiply-add rounds once, so scores would differ between machines. -march=native never
# ships; kernels that gain from wide vectors use target_clones.
COMPILE_ARGS = ["-O0", "-g"] if DEBUG else ["-O3", "-g0"]
COMPILE_ARGS += ["-std=gnu11", "-ffp-contract=off", "-fvisibility=hidden", "-Wno-unreachable-code-fallthrough"]

PACKAGES = sorted(
    ".".join(path.parent.relative_to(ROOT).parts)
    for top in ("core", "ext", "services")
    for path in (PACKAGE / top).rglob("__init__.py")
)


def kernels() -> list[Extension]:
    """One extension a .pyx file in ext/, with a libpthread link and the flags above."""
    from Cython.Build import cythonize

    names = sorted(path.stem for path in (PACKAGE / "ext").glob("*.pyx"))
    wanted = [name for name in names if not ONLY or name in ONLY]
    extensions = [
        Extension(
            f"cybernetes.ext.{name}",
            [f"cybernetes/ext/{name}.pyx"],
            extra_compile_args=COMPILE_ARGS,
            extra_link_args=["-pthread"],
        )
        for name in wanted
    ]
    # cythonize does not notice changed directives: each mode has its folder and a debug build is always made anew.
    mode = "debug" if DEBUG else "release"
    result: list[Extension] = cythonize(
        extensions, build_dir=f"build/cython-{mode}", compiler_directives=DIRECTIVES, force=DEBUG, quiet=True
    )
    return result


def binaries(target: Path) -> None:
    """Compile each folder of ext/native to one small static program in ``target``, named after the folder."""
    target.mkdir(parents=True, exist_ok=True)
    compiler = os.environ.get("CC", "cc")
    for folder in sorted(path for path in (PACKAGE / "ext" / "native").iterdir() if path.is_dir()):
        sources = sorted(str(path) for path in folder.glob("*.c"))
        output = target / folder.name
        flags = ["-static", "-Os", "-s", "-std=gnu11", "-Wall", "-Wextra", "-Wno-format-truncation"]
        subprocess.run([compiler, *flags, "-o", str(output), *sources], check=True)


def schemas(target: Path) -> None:
    """Compile the API schemas of the kubernetes-validate wheel into package data in ``target``."""
    # In this process: a build environment of pip's is seen by no other.
    runpy.run_path(str(PACKAGE / "core" / "api" / "schema_compiler.py"))["main"](target)


class BuildPython(build_py):
    """Adds the generated package data: schemas and static binaries."""

    def run(self) -> None:
        super().run()
        base = PACKAGE if self.editable_mode else Path(self.build_lib) / "cybernetes"
        schemas(base / "core" / "api" / "data")
        binaries(base / "ext" / "bin")


class BuildExtensions(build_ext):
    """Keeps the objects of a debug build apart from those of a release build."""

    def finalize_options(self) -> None:
        super().finalize_options()
        if DEBUG:
            self.build_temp = str(Path(self.build_temp) / "debug")
            self.force = True


class BuildData(Command):
    """``setup.py build_data``: the generated data alone, into the checkout."""

    description = "generate schemas and static binaries in place"
    user_options: ClassVar[list[tuple[str, str, str]]] = []

    def initialize_options(self) -> None: ...
    def finalize_options(self) -> None: ...

    def run(self) -> None:
        schemas(PACKAGE / "core" / "api" / "data")
        binaries(PACKAGE / "ext" / "bin")


setup(
    packages=["cybernetes", *PACKAGES],
    package_data={
        "cybernetes.ext": ["*.pyx", "*.pxd", "*.pyi", "*.h", "native/*/*", "bin/*"],
        "cybernetes.core.api": ["data/*", "protobuf/*.txt"],
    },
    ext_modules=kernels(),
    cmdclass={"build_py": BuildPython, "build_ext": BuildExtensions, "build_data": BuildData},
    zip_safe=False,
)
