"""Does a trade that the rows accept ever break a limit in AC? Drives holdings to saturation and lets two adversaries look.

    python -m benchmarks.false_accepts                       all nine networks, 1,000,000 trades
    python -m benchmarks.false_accepts --network cigre-lv --trades 10000 --seed 7

Campaigns of random trades start from fair, greedy and lopsided allocations: one to one through the closed form alone
(`benchmarks/campaigns.py`), and in turn with it through the whole market at network exchange rates (`benchmarks/market_campaigns.py`:
pairs, left-over headroom, joint fills, auctions, orders over several intervals, the operator's offers). On their way, and when no
right can rise any more, the box of the holdings is searched for a point that breaks a limit: by `riskcheck.certify`, which follows
sensitivities of the dense model, and by `benchmarks/blind_adversary.py`, which breeds corners in power-grid-model and knows of
no sensitivity. A false accept is a state in which either finds a margin below the tolerance: 1e-6 pu, or 0.01 % of a rating.
Two processes share the networks. Exit codes: 0 none, 1 a false accept, 2 a network that cannot be read or traded on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import arguments
from benchmarks.blind_adversary import BlindAdversary
from benchmarks.campaigns import Campaign
from benchmarks.market_campaigns import MarketCampaign
from benchmarks.measure import load_average, machine, peak_mb
from benchmarks.networks import Case, chosen, ready
from benchmarks.workers import Tell, watched
from riskcheck.certify import TOLERANCE, Certifier

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.blind_adversary import Found
    from riskcheck.certificate import Certificate
    from riskcheck.network import Network
    from riskcheck.polytope import Polytope

KINDS = ("voltage_max", "voltage_min", "thermal")
FULL_EVERY = 5  # certificates of full effort
CHECKS = 3  # of a campaign: twice on the way, and at saturation
TIGHTEST = 16  # rows whose own corners the blind adversary starts from


@dataclass
class Tally:
    """What happened on one network so far. `broken` has the first states that a limit breaks in, to look at them again."""

    network: str
    customers: int
    buses: int
    rows: int
    network_hash: str
    rows_hash: str
    trades: int = 0
    accepted: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    sales: int = 0
    campaigns: int = 0
    states: int = 0
    corners: int = 0
    corners_blind: int = 0
    false_accepts: int = 0
    seconds: float = 0.0
    process_mb: int = 0  # most memory that its process ever had
    margins: dict[str, float] = field(default_factory=lambda: dict.fromkeys(KINDS, np.inf))
    worst: dict[str, str] = field(default_factory=dict)
    broken: list[dict[str, Any]] = field(default_factory=list)

    def note(self, certificate: Certificate, found: Found, circumstances: str, limits_w: NDArray[np.int64]) -> None:
        self.states += 1
        self.corners += certificate.points_tried
        self.corners_blind += found.flows
        certified = (certificate.margin_voltage_max_pu, certificate.margin_voltage_min_pu, certificate.margin_thermal)
        margins = np.minimum(certified, found.margins)
        for kind, margin, mine in zip(KINDS, margins.tolist(), found.margins, strict=True):
            if margin < self.margins[kind]:
                self.margins[kind] = margin
                self.worst[kind] = f"{circumstances}, found by {'the blind adversary' if mine == margin else 'certify'}"
        if not certificate.secure or (margins < [-TOLERANCE[kind] for kind in KINDS]).any():
            self.false_accepts += 1
            if len(self.broken) < 3:
                self.broken.append({"state": circumstances, "margins": margins.tolist(), "limits_w": limits_w.tolist()})


class Fuzz:
    """One network under fuzz."""

    def __init__(self, case: Case, seed: int, tell: Tell) -> None:
        self._case, self._tell = case, tell
        self._network, feeder = ready(case.name, lambda phrase, _: tell(case.name, 0, phrase))
        self._fair = np.array(feeder.export_w + feeder.import_w)
        self._polytope = feeder.polytope
        self._certifier, self._blind = Certifier(self._network), BlindAdversary(self._network)
        self._rng = np.random.default_rng([seed, int(self._network.content_hash[:8], 16)])
        self.tally = _empty(case.name, self._network, self._polytope)

    def run(self, trades: int) -> Tally:
        began = time.perf_counter()
        campaigns = min(self._case.campaigns, trades)
        shares = np.diff(np.linspace(0, trades, campaigns + 1).astype(int))
        for number, share in enumerate(shares.tolist()):
            trading = MarketCampaign if number % 2 else Campaign
            self._campaign(trading(self._network, self._polytope, self._fair, self._rng, number // 2), number, share)
            self.tally.seconds = round(time.perf_counter() - began, 1)
            self.tally.process_mb = peak_mb()
            self._tell(self._case.name, share, "")
        return self.tally

    def _campaign(self, campaign: Campaign, number: int, trades: int) -> None:
        name = type(campaign).__name__
        for check, part in enumerate(np.diff(np.linspace(0, trades, CHECKS + 1).astype(int)).tolist()):
            campaign.trade(part)
            last = check == CHECKS - 1
            if last:
                campaign.sell_headroom()
            self._look(campaign, f"{name} {number} from {campaign.start}, mood {campaign.mood}", full=last and number % FULL_EVERY == 0)
        tally = self.tally
        tally.campaigns += 1
        tally.trades += campaign.trades
        tally.accepted += campaign.accepted
        tally.kinds = dict(Counter(tally.kinds) + campaign.kinds)
        tally.sales += campaign.sales

    def _look(self, campaign: Campaign, circumstances: str, *, full: bool) -> None:
        rng, held = self._rng, campaign.limits_w
        export_w, import_w = held[: len(held) // 2], held[len(held) // 2 :]
        certificate = self._certifier.certify(export_w, import_w, seed=int(rng.integers(2**31)), effort="full" if full else "quick")
        corners = tight_corners(self._polytope, campaign.residual, held)
        found = self._blind.search(export_w.astype(float), import_w.astype(float), rng, self._case.flows, corners)
        self.tally.note(certificate, found, circumstances, held)


def tight_corners(polytope: Polytope, residual: NDArray[np.int64], limits_w: NDArray[np.int64]) -> NDArray[np.bool_]:
    """For the rows with the least headroom, who exports at the corner that the row itself thinks the worst: [m, n_customers]."""
    rows = np.argsort(residual, kind="stable")[:TIGHTEST]
    used = polytope.columns[:, rows].T.astype(float) * limits_w
    half = len(limits_w) // 2
    return np.asarray(used[:, :half] >= used[:, half:])


def _empty(name: str, network: Network, polytope: Polytope) -> Tally:
    hashes = network.content_hash, polytope.content_hash
    return Tally(name, len(network.customers), network.n_buses, polytope.n_rows, *hashes)


def _work(case: Case, trades: int, seed: int, tell: Tell) -> Tally:
    return Fuzz(case, seed, tell).run(trades)


def main(given: list[str] | None = None) -> int:
    """Fuzzes the networks that were asked for, prints a table and says by the exit code whether any trade was a false accept."""
    args = _parser().parse_args(given)
    began = time.perf_counter()
    try:
        cases = chosen(args.network)
        shares = np.diff(np.linspace(0, args.trades, len(cases) + 1).astype(int)).tolist()
        works = [partial(_work, case, share, args.seed) for case, share in zip(cases, shares, strict=True)]
        tallies = watched(works, args.trades, "trades")
    except ValueError as error:
        print(f"false_accepts: {error}", file=sys.stderr)
        return 2
    command, seconds = arguments.command("false_accepts", given), round(time.perf_counter() - began, 1)
    figures = {"command": command, "machine": machine(), "load": load_average(), "seconds": seconds}
    if args.json:
        print(json.dumps(figures | {"networks": [asdict(tally) for tally in tallies]}))
    else:
        from benchmarks.tables import fuzz, printer

        printer(quiet=False)(fuzz(figures, tallies))
    return 1 if any(tally.false_accepts for tally in tallies) else 0


def _parser() -> argparse.ArgumentParser:
    parser = arguments.parser("false_accepts", __doc__)
    parser.add_argument("--network", action="append", default=[], help="only this one: a name or a file; may be repeated")
    parser.add_argument("--trades", type=int, default=1_000_000, help="random trades to try, on all networks together (default 1000000)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
