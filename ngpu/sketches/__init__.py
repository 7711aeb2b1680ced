"""What ``ngpu plugins new`` writes: a plugin of each family and its test, with another name in place of ``example``."""
