"""What the one file begins with, in place of shiv's own main: says in a sentence why it cannot unpack itself.

Has to be understood by older Pythons.
"""

import sys
from contextlib import contextmanager

import _bootstrap


@contextmanager
def in_a_sentence(folder):
    """End with what is in the way of unpacking into a folder."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # the latter where whoever runs it has no home
        why = getattr(error, "strerror", None) or str(error).rstrip(".")
        sys.exit(f"ngpu: cannot unpack itself into {folder}: {why}; name another folder with SHIV_ROOT")


def cache_path(*where, found=_bootstrap.cache_path):
    """Do the same as shiv's, whose callers would look into the folder next."""
    with in_a_sentence("~/.shiv"):
        folder = found(*where)
    with in_a_sentence(folder.parent):
        (folder / "site-packages").exists()
    return folder


def extract_site_packages(archive, folder, *more, extract=_bootstrap.extract_site_packages):
    """Do the same as shiv's."""
    with in_a_sentence(folder.parent):
        extract(archive, folder, *more)


_bootstrap.cache_path, _bootstrap.extract_site_packages = cache_path, extract_site_packages
_bootstrap.bootstrap()
