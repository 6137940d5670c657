"""`limex envelopes` and `limex certify`: their options, and what they print of a network."""

from __future__ import annotations

import argparse
from pathlib import Path

from envelopes.forecasts import ORDERS, RULES
from gateway import arguments as given
from gateway.arguments import NETWORK_HELP, NO, OK, UsageError
from riskcheck.network import DEFAULT_NETWORK


def run_envelopes(arguments: argparse.Namespace) -> int:
    from envelopes.files import BadEnvelopesError
    from envelopes.refresh import allocate, policy_of
    from gateway.show import envelope_document, envelope_table, working
    from riskcheck.linearise import build

    network = given.network(arguments.network)
    try:
        policy = policy_of(network, arguments.rule, arguments.weights, arguments.order)
    except BadEnvelopesError as error:
        raise UsageError(str(error)) from error
    with working(quiet=arguments.json) as progress:
        rows = build(network, progress=progress)
    allocation = allocate(network, rows, policy)
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
    parser.add_argument("--rule", choices=RULES, default=RULES[0], help="how they are shared out (default: %(default)s)")
    parser.add_argument(
        "--weights", default="alike", metavar="WEIGHTS", help="alike, rating, or a CSV file: customer,weight (default: %(default)s)"
    )
    parser.add_argument("--order", choices=ORDERS, default=ORDERS[0], help="exports and imports at once, or in turn (default: %(default)s)")
    parser.add_argument("--out", type=given.file_out, help="also write them to this JSON file, which `limex certify` reads")
    parser.add_argument("--json", action="store_true", help="JSON on stdout instead of a table")


def certify_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("network", metavar="NETWORK", help="a builtin network, simbench:CODE or the path of a pandapower JSON file")
    parser.add_argument("envelopes", type=Path, metavar="ENVELOPES", help="JSON of `limex envelopes`, or CSV: customer,export_w,import_w")
    parser.add_argument("--effort", choices=("quick", "full"), default="full", help="how hard to search (default: %(default)s)")
    parser.add_argument("--seed", type=given.seed, default=0, help="of the random part of the search (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="the certificate as JSON on stdout")


ENVELOPES_TEXT = """Dynamic operating envelopes of a network, shared out by a rule; each customer is shown what stops it.

  max_min        the smallest envelope is made as large as possible first, then the next
  proportional   what one gains, relative to what it has, is never less than what the others lose
  total          the greatest sum, whoever has it
  equal          the same limit for all"""
CERTIFY_TEXT = """Searches for a point inside the given envelopes that breaks a limit in AC power flow.

Works on envelopes that anyone made. Exits with 0 if the search found none, with 1 and the corner that breaks them otherwise."""
