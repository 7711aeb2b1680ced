"""``ngpu init``: the beginning of a configuration, out of a few answers.

`answers` are what was asked for, `asking` asks, `writing` makes the file's text of them, `command` puts it together.
"""
