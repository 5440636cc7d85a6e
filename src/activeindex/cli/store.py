"""Keep released images where they can be found again: create, fill and look into stores.

A store is lance://PATH (on disk; needs activeindex[lance]) or faiss:PATH (codes in memory). It is
searched by `activeindex search` through the quantisers that its images were released under. With
--engine ray, workers of a Ray cluster write and index what is added to a lance://PATH.
"""

import argparse
import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activeindex.cli import options
from activeindex.cli.from_settings import add_option, add_settings
from activeindex.errors import InputError, SomeFailedError
from activeindex.experiment.settings import IndexSettings
from activeindex.runtime.files import name_line, parse_json
from activeindex.runtime.reporting import Reporter, counted, listed, printable
from activeindex.stores.address import Address

if TYPE_CHECKING:
    from activeindex.stores.store import Store

RESUMES = True


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command's actions and their options."""
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)

    def action(name: str, text: str) -> argparse.ArgumentParser:
        shape = parser.formatter_class
        made = actions.add_parser(name, help=text, description=text, formatter_class=shape)
        made.add_argument("store", metavar="STORE", help="lance://PATH or faiss:PATH")
        options.add_verbose(made)
        return made

    create = action("create", "make an empty store that is searched through a trained index")
    text = "begin a generation: release under another trained index from now on"
    for made in (create, action("renew", text)):
        add_option(made, "index", Path, "trained index (default: the package's)")

    migrate = action("migrate", "code all images anew under one index, and retire the others")
    add_option(migrate, "index", Path, "the index (default: that of the newest generation)")
    add_option(migrate, "released", Path, "folder of the released pictures, to forecast the loss")
    text = "largest loss of R@1 in the forecast; if it is more, nothing is changed"
    add_option(migrate, "most_lost", float, text, 0.02)
    add_settings(migrate, IndexSettings, "force")

    add = action("add", "add activated images, or others by their features")
    text = "the folder of `activeindex activate` or extract_fts, or features (.pt, .pth or .npy)"
    add.add_argument("features", type=Path, metavar="FTS", help=text)
    add_option(add, "names", Path, "their names (default: filenames.txt beside them)")
    add_option(add, "activation", Path, "activation.jsonl (default: that of a folder, if any)")
    add_option(add, "data_dir", Path, "folder of the originals, to note hashes of their files")
    add_option(add, "index", Path, "generation to add to, by its index (default: the newest)")
    add_settings(add, IndexSettings, "force")

    get = action("get", "print the records of images, a line of JSON each")
    update = action("update", "change tags, metadata or disabled_until of images")
    for made in (get, action("remove", "remove images"), update):
        made.add_argument("names", nargs="*", metavar="NAME", help="names of images")
        made.add_argument("--ids", nargs="+", type=int, default=[], metavar="ID", help="their ids")
        made.add_argument("--where", metavar="FILTER", help="a filter, as in `search`")

    update.add_argument("--tags", nargs="*", metavar="WORD", help="new tags; none takes all away")
    update.add_argument("--metadata", metavar="JSON", help="new metadata; null takes it away")
    text = "seconds since 1970 until which no search finds the images; null enables them"
    update.add_argument("--disabled_until", metavar="TIME", help=text)

    compact = action("compact", "rewrite the files without removed images, and for fast searches")
    for made in (add, compact):
        options.add_groups(made, "engine")
        # Filling a store decodes nothing and has no network.
        made.set_defaults(workers=0, device="cpu")
    action("info", "say what is in a store")
    action("upgrade", "convert a store of an older format, in place; repeat it after a kill")
    check = action("check", "compare every byte of a store with its checksum")
    check.add_argument("--full", action="store_true", help="check every image and index, too")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    if args.action != "create":  # A missing store is named before the slow imports.
        Address.parse(args.store).check_there()
    from activeindex.stores.store import Store

    reporter, name = options.chosen_reporter(args), args.store
    if args.action == "create":
        with Store.create(name, args.index) as store:
            made = store.generations[0].identity
        reporter.line(f"{name}: created a store for {made}, with no images yet")
        reporter.line(f"add what activate wrote: activeindex store add {name} RELEASED")
        return
    if args.action == "check":
        _check(args, reporter)
        return
    engine = None
    if args.action in ("add", "compact"):
        engine = options.chosen_engine(args, reporter)
        engine = None if args.engine == options.IN_PROCESS else engine
    with engine or contextlib.nullcontext(), Store(name, engine) as store:
        if args.action in ("get", "remove", "update"):
            _with_images(args, store, reporter)
            return
        if args.action == "renew":
            store.renew(args.index)
        elif args.action == "migrate":
            done = store.migrate(
                args.index,
                args.released,
                most_lost=args.most_lost,
                force=args.force,
                reporter=reporter,
            )
            reporter.line(f"{name}: {counted(done.count, 'image')} coded anew")
            if done.forecast is not None:
                reporter.line(f"{name}: {done.forecast}")
        elif args.action == "upgrade":
            had = store.upgrade(reporter)
            what = "had it already" if had == store.format else f"was of format {had}"
            reporter.line(f"{name}: a store of format {store.format}; it {what}")
        elif args.action == "add":
            names = ("names", "activation", "index", "data_dir", "force")
            given = {key: getattr(args, key) for key in names}
            added = store.add(args.features, **given, reporter=reporter)
            if engine is not None:
                store.index(reporter)
            reporter.line(f"{added}, in {reporter.seconds:.1f} s")
        elif args.action == "compact":
            store.compact()
        found = f"{counted(store.count(), 'image')} of {store.extractor}"
        if (codes := store.codes()) > store.count():
            found += f", with {codes} codes"
        reporter.line(f"{name}: {found}")
        for generation in store.generations:
            reporter.line(f"  {generation.count():>10}  {generation.identity}")


def _check(args: argparse.Namespace, reporter: Reporter) -> None:
    from activeindex.stores.check import check_store
    from activeindex.stores.store import read_note

    faults = 0
    for line in check_store(args.store, full=args.full, reporter=reporter):
        print(printable(line), flush=True)
        faults += 1
    if faults:
        found = counted(faults, "fault")
        raise SomeFailedError(f"{args.store}: expected a store as it was written, found {found}")
    if read_note(Address.parse(args.store))["format"] == 1:
        reporter.line(
            f"{args.store}: a store of format 1, without checksums: flipped bits stay unnoticed "
            f"until `activeindex store upgrade {args.store}` has given it some"
        )
    else:
        reporter.line(f"{args.store}: everything is as it was written")


def _changes(args: argparse.Namespace) -> dict[str, Any]:
    changes: dict[str, Any] = {} if args.tags is None else {"tags": args.tags}
    for name in ("metadata", "disabled_until"):
        if (text := getattr(args, name)) is not None:
            try:
                changes[name] = parse_json(text)
            except ValueError:
                raise InputError(f"{name}: expected JSON, found {text!r}") from None
    if not changes:
        raise InputError("update: expected --tags, --metadata or --disabled_until, found none")
    return changes


def _with_images(args: argparse.Namespace, store: "Store", reporter: Reporter) -> None:
    changes = _changes(args) if args.action == "update" else {}
    if not (args.names or args.ids or args.where is not None):
        raise InputError("NAME: expected names, --ids or --where, found none")
    names = [name_line(name) for name in args.names]
    ids = [*args.ids, *store.named(names)]
    there = {each for record in store.get(ids) for each in (record.name, record.id)}
    missing = [each for each in (*names, *args.ids) if each not in there]
    if args.where is not None:
        ids += [*store.select(args.where)]
    if args.action == "remove":
        removed = counted(store.remove(sorted(set(ids))), "image")
        reporter.line(f"{args.store}: {removed} removed, {store.count()} left")
    elif args.action == "update":
        for record in store.get(ids):
            store.update(record.id, **changes)
        reporter.line(f"{args.store}: {counted(len(store.get(ids)), 'image')} updated")
    else:
        for record in store.get(ids):
            print(json.dumps(record.as_json()), flush=True)
    if missing:
        kind = SomeFailedError if there or args.where else InputError
        raise kind(f"{args.store}: expected {listed(missing)} there, found no such image")
