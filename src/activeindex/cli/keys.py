"""Manage the keys of the service's clients.

A key is printed once, when it is made; the service keeps its hash alone. Scopes: search, register
(reads images, too), remove, and admin, which allows all. Changes hold at once, also while the
service runs.
"""

import argparse
import json
import time

from activeindex.cli import options
from activeindex.cli.from_settings import add_option
from activeindex.stores.address import Address


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's actions and their options."""
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)

    def action(name: str, text: str) -> argparse.ArgumentParser:
        shape = parser.formatter_class
        made = actions.add_parser(name, help=text, description=text, formatter_class=shape)
        add_option(made, "store", str, "lance://PATH or faiss:PATH", required=True)
        options.add_verbose(made)
        return made

    create = action("create", "make a key, and print it")
    text = "what it allows, with commas: search, register, remove, admin"
    add_option(create, "scopes", str, text, "search", metavar="SCOPES")
    text = "duration until it expires, as 90d or 12h (default: never)"
    add_option(create, "expires", str, text, metavar="DURATION")
    listing = action("list", "list the keys, without their secrets")
    listing.add_argument("--json", action="store_true", help="print a JSON array instead")
    revoke = action("revoke", "revoke a key: it is refused from now on")
    revoke.add_argument("key", metavar="ID", help="its id, as `list` shows it")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    where = Address.parse(args.store, create=args.action == "create")
    from activeindex.service.database import Database
    from activeindex.service.keys import create_key, list_keys, revoke_key, seconds_of

    if args.action != "create":
        where.check_there()
    lifetime = None
    if args.action == "create" and args.expires is not None:
        lifetime = seconds_of(args.expires)
    with Database(where.path) as database:
        if args.action == "create":
            scopes = [scope.strip() for scope in args.scopes.split(",")]
            print(create_key(database, scopes, lifetime))
        elif args.action == "revoke":
            revoke_key(database, args.key)
        elif args.json:
            print(json.dumps([vars(key) | {"valid": key.valid} for key in list_keys(database)]))
        else:
            for key in list_keys(database):
                state = "revoked" if key.revoked else "valid" if key.valid else "expired"
                until = "" if key.expires is None else f", expires {_day(key.expires)}"
                print(f"{key.id}  {','.join(key.scopes)}  {state}, made {_day(key.created)}{until}")


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
