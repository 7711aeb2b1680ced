"""Fakes of the ports, for the tests of ngpu and of plugins; they pass the same contract suites as the real ones."""
