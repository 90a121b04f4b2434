"""The commands that hold results against the paper."""

import argparse
import math
import sys
from pathlib import Path

from istapp.basics.errors import UserError
from istapp.basics.paths import refuse_unwritable
from istapp.basics.progress import line
from istapp.commands.arguments import Adder, device, minutes


def add(command: Adder) -> None:
    """Add the commands of this file to the command line."""
    again = command(
        reproduce, "take what a table or figure lacks, after saying what and how long", "table1 --minutes 30"
    )
    again.add_argument("name", metavar="NAME", help="table1 ... table4, fig4 ... fig7, or all")
    again.add_argument("--profile", default="laptop", metavar="laptop|paper", help="paper also trains what is missing")
    again.add_argument("--minutes", type=minutes, default=math.inf, help="stop cleanly in time (0: only tell)")
    again.add_argument("--out", type=Path, metavar="FOLDER", help="keep state, weights and rows there")
    again.add_argument("--again", action="store_true", help="retake the rows that other code made")
    device(again)
    book = command(ledger, "print the ledger and check that it follows from the rows", "")
    book.add_argument("--write", action="store_true", help="record it anew, after telling what that changes")
    book.add_argument("--accept", metavar="FILE", nargs="+", default=[], help="with --write: what may have changed")
    book.add_argument("--since", type=Path, metavar="FILE", help="only tell what differs from an older ledger.csv")
    path = command(
        trace, "print how a number got here: file, rows, weights, run, cell, verdict, page",
        "table1/Set11/10/ista-net-pp",
    )  # fmt: skip
    path.add_argument(
        "number", metavar="NUMBER", help="an id of the ledger, a value such as 25.97, or METHOD/SET/PERCENT"
    )
    command(claims, "check the sentences of the book that carry a number no cell of theirs computes", "")


def reproduce(options: argparse.Namespace) -> None:
    """Take the rows that a table or figure lacks."""
    from istapp.paper.reproduce import reproduce

    if options.out:
        refuse_unwritable(options.out, folder=True)
    reproduce(
        options.name, options.profile, options.device, options.minutes, options.out, options.again, progress=line
    )  # fmt: skip


def ledger(options: argparse.Namespace) -> int:
    """Check the ledger, or record it."""
    from istapp.paper import changes, ledger

    if options.accept and not options.write:
        raise UserError("--accept goes with --write: istapp ledger --write --accept FILE")
    if options.since and options.write:
        raise UserError("--since only tells, and --write records: one of the two")
    found = ledger.entries()
    if options.since:
        print("\n".join(changes.since(found, options.since)) or "every number and verdict is as it was")
        return 0
    if options.write:
        if pending := changes.pending(found):
            print(changes.told(pending))
        changes.record(found, options.accept)
        print(f"recorded: {len(found)} numbers, {len(ledger.hashes())} files")
        return 0
    print(ledger.summary(found))
    faults = ledger.faults(found)
    for fault in faults:
        print(f"istapp ledger: {fault}", file=sys.stderr)
    if faults:
        print("istapp ledger: `istapp ledger --write` tells what changed, and how to record it", file=sys.stderr)
    return 1 if faults else 0


def trace(options: argparse.Namespace) -> int:
    """Tell where a number comes from."""
    from istapp.paper.trace import trace

    lines, holds = trace(options.number)
    print("\n".join(lines))
    return 0 if holds else 1


def claims(options: argparse.Namespace) -> int:
    """Check the claims."""
    from istapp.paper import claims

    return claims.main()
