"""``ngpu account``: an entry of ``cloud.accounts``, out of an email address and a password."""

from __future__ import annotations

import json
import secrets
import sys

import click

from ngpu.cloud.passwords import SALT_BYTES, hash_sent, sent_for


@click.command()
@click.argument("email")
def account(email: str) -> None:
    """Print the entry of cloud.accounts that lets EMAIL use the published command-line client.

    Asks for the password, or takes the first line of standard input where that is no terminal.
    """
    if not email.strip() or any(char.isspace() or not char.isprintable() for char in email):
        raise click.UsageError("EMAIL must be an email address, without spaces")
    password = _password()
    if not password:
        raise click.UsageError("the password is empty")
    hashed = hash_sent(sent_for(password), secrets.token_bytes(SALT_BYTES))
    click.echo(f"- email: {json.dumps(email, ensure_ascii=False)}")
    click.echo(f'  password: "{hashed}"')


def _password() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    return sys.stdin.readline().rstrip("\r\n")
