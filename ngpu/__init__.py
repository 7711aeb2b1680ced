"""ngpu: a plugin-based reverse-proxy appliance for fleets of GPU machines."""

__version__ = "0.1.0"
