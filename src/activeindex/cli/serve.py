"""Serve a store over HTTP: register pictures, release them, and recognise their copies.

The store is made on the first start, with the index of this package. Clients need keys, which
`activeindex keys create` makes; docs/service.md describes the API. SIGTERM lets running requests
end; registrations that wait go on at the next start.
"""

import argparse
import ipaddress

from activeindex.cli import options
from activeindex.cli.from_settings import add_option
from activeindex.errors import InputError, import_extra
from activeindex.runtime.cores import default_workers
from activeindex.stores.address import Address

RESUMES = True


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("store", metavar="STORE", help="lance://PATH or faiss:PATH")
    text = "address to listen on; others than this machine's own need a key first"
    add_option(parser, "host", str, text, "127.0.0.1")
    add_option(parser, "port", int, "port; 0 takes a free one", 8000, minimum=0, maximum=65535)
    text = "processes that activate pictures, each on one core"
    add_option(parser, "workers", int, text, max(default_workers(), 1), minimum=1, metavar="N")
    text = "largest upload in bytes"
    add_option(parser, "max_bytes", int, text, 20_000_000, minimum=1000, metavar="N")
    text = "most pixels of a picture; one with more is refused before it is decoded"
    add_option(parser, "max_pixels", int, text, 50_000_000, minimum=1, metavar="N")
    options.add_groups(parser, "extractor")
    options.add_verbose(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    path = Address.parse(args.store, create=True).path
    for module in ("fastapi", "uvicorn", "prometheus_client", "python_multipart"):
        import_extra(module, "serve", "the service")
    from activeindex.runtime.files import make_folder
    from activeindex.service.database import Database
    from activeindex.service.keys import list_keys
    from activeindex.service.server import serve

    make_folder(path)
    with Database(path) as database:
        keys = [key for key in list_keys(database) if key.valid]
    if not keys and not _is_loopback(args.host):
        raise InputError(
            f"host {args.host}: expected a key before others than this machine can reach the "
            f"service, found none; activeindex keys create --store {args.store}"
        )
    reporter = options.chosen_reporter(args)
    extractor = options.chosen_extractor(args, reporter)
    if not keys:
        scopes = "--scopes search,register,remove"
        reporter.line(f"no keys yet: activeindex keys create --store {args.store} {scopes}")
    serve(
        args.store,
        extractor,
        host=args.host,
        port=args.port,
        workers=args.workers,
        max_bytes=args.max_bytes,
        max_pixels=args.max_pixels,
        say=reporter.line,
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
