"""`limex envelopes` and `limex certify`: their options, and what they print of a network."""

from __future__ import annotations

import argparse
from pathlib import Path

from gateway import arguments as given
from gateway.arguments import NETWORK_HELP, NO, OK, UsageError
from riskcheck.network import DEFAULT_NETWORK


def run_envelopes(arguments: argparse.Namespace) -> int:
    from envelopes.refresh import allocate
    from gateway.show import envelope_document, envelope_table, working
    from riskcheck.linearise import build

    network = given.network(arguments.network)
    with working(quiet=arguments.json) as progress:
        rows = build(network, progress=progress)
    allocation = allocate(network, rows)
    document = envelope_document(network, allocation)
    if arguments.out is not None:
        given.write(arguments.out, document)
    if arguments.json:
        print(document.decode())
    else:
        envelope_table(network, rows, allocation)
    return OK


def run_certify(arguments: argparse.Namespace) -> int:
    import msgspec

    from envelopes import files
    from gateway.show import certificate_table, note_other_network, working
    from riskcheck.certify import certify

    network = given.network(arguments.network)
    try:
        export_w, import_w = files.read(arguments.envelopes, [customer.id for customer in network.customers])
    except files.BadEnvelopesError as error:
        raise UsageError(str(error)) from error
    note_other_network(network, arguments.envelopes)
    with working(quiet=arguments.json) as progress:
        certificate = certify(network, export_w, import_w, seed=arguments.seed, effort=arguments.effort, progress=progress)
    if arguments.json:
        print(msgspec.json.encode(certificate).decode())
    else:
        certificate_table(network, certificate)
    return OK if certificate.secure else NO


def envelopes_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("network", default=DEFAULT_NETWORK, nargs="?", metavar="NETWORK", help=NETWORK_HELP)
    parser.add_argument("--out", type=Path, help="also write them to this JSON file, which `limex certify` reads")
    parser.add_argument("--json", action="store_true", help="JSON on stdout instead of a table")


def certify_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("network", metavar="NETWORK", help="a builtin network, simbench:CODE or the path of a pandapower JSON file")
    parser.add_argument("envelopes", type=Path, metavar="ENVELOPES", help="JSON of `limex envelopes`, or CSV: customer,export_w,import_w")
    parser.add_argument("--effort", choices=("quick", "full"), default="full", help="how hard to search (default: %(default)s)")
    parser.add_argument("--seed", type=given.seed, default=0, help="of the random part of the search (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="the certificate as JSON on stdout")


ENVELOPES_TEXT = """Max-min fair dynamic operating envelopes of a network.

The smallest envelope is made as large as possible first, then the next; each customer is shown the network element that stops it."""
CERTIFY_TEXT = """Searches for a point inside the given envelopes that breaks a limit in AC power flow.

Works on envelopes that anyone made. Exits with 0 if the search found none, with 1 and the corner that breaks them otherwise."""
