"""Bitcoin addresses: whether a text is one (BIP-173, BIP-350, base58check), mainnet only."""

from __future__ import annotations

from btclib import b32, b58
from btclib.exceptions import BTClibValueError

LONGEST = 100
"""Characters beyond which nothing is an address, and nothing needs to be decoded."""


def is_address(text: str) -> bool:
    """Whether this is a valid address of Bitcoin's main network."""
    if not text.isascii() or not text.isalnum() or len(text) > LONGEST:
        return False
    try:
        if text.lower().startswith("bc1"):
            return b32.witness_from_address(text)[2] == "mainnet"
        return b58.h160_from_address(text)[2] == "mainnet"
    except (BTClibValueError, ValueError):
        return False


def address_key(address: str) -> str:
    """The one spelling of a valid address in which two of them compare: BIP-173 has bech32 in lower case."""
    return address.lower() if address[:3].lower() == "bc1" else address
