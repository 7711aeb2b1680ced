"""Makes a Python of a machine that cannot splice out of the one that is started with this folder in its path."""

import os

del os.splice
