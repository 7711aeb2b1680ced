"""The partner contract's texts: JSON in and out, times, paths, codes. Knows no HTTP."""
