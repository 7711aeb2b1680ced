"""``ngpu doctor``: whether this host, and what the configuration names, are fit for a gateway.

`machine`, `listening` and `secrets` look at the host, each at one thing; `asking` asks what answers over a network,
and only what the configuration names. `command` puts it together.
"""
