"""The certificates of listeners: where they are, whether they can be used, and which of them is in use now."""

from ngpu.certificates.listening import Files, TlsListener, tls_listener
from ngpu.certificates.pair import CertificateError, Pair, load
from ngpu.certificates.watch import Certificates, Standing

__all__ = ["CertificateError", "Certificates", "Files", "Pair", "Standing", "TlsListener", "load", "tls_listener"]
