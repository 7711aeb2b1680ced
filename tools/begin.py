"""The first thing that the one file runs: says in a sentence why it cannot run with this Python, where it cannot.

`site_packages`, where the file has unpacked itself, is handed over by shiv. Has to be understood by older Pythons.
"""

import sys
from importlib.machinery import EXTENSION_SUFFIXES

here = "{} is Python {}.{}".format(sys.executable, *sys.version_info[:2])
if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit(f"ngpu: needs Python 3.11 or newer, and {here}")
folder = globals()["site_packages"]
part = "_cffi_backend"  # one that every Python needs in a form of its own
if not any((folder / (part + suffix)).exists() for suffix in EXTENSION_SUFFIXES):
    forms = sorted(file.name[len(part) + 1 : -len(".so")] for file in folder.glob(part + ".*.so"))
    sys.exit(f"ngpu: this file has compiled parts for {', '.join(forms)}, and {here}: it wants {EXTENSION_SUFFIXES[0]}")
