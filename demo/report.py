"""The report of a run: one summary (report.json), the same for people (summary.md, index.html), pictures and tables.

`summary` computes, `write` writes; both take a `Run`, the plain facts that the demo collected. The page is one file without
any outside resource, so that it can be mailed. A run is good when `problems` is empty: the list names everything that a demo
must not show, each with its figure, and decides the exit code.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo import figures, page, pictures, price_picture
from demo.homes import Connection, Delivered
from demo.timetable import FleetResult
from exchange.events import Event
from exchange.market import OPERATOR
from replay.outcome import Outcome
from riskcheck.polytope import RowLabel

COMPARED = ("name", "trades", "welfare_mct", "surplus_mct", "leftover_kwh")


@dataclass(frozen=True)
class Certificate:
    """AC evidence for a set of envelopes. Voltages per phase (a, b, c) in pu over all buses and corners, loading as a share."""

    subject: str
    corners: int
    voltage_min_pu: tuple[float, ...]
    voltage_max_pu: tuple[float, ...]
    limits_pu: tuple[float, float]
    worst_branch: str
    worst_loading: float
    worst_corner: str
    violations: int


@dataclass(frozen=True)
class Audits:
    """What the live auditor did while homes traded: sets of holdings audited, what it had to act on, smallest margins in words."""

    made: int
    intervals: int
    broken: int
    tightened: int
    restarts: int
    margins: str


@dataclass(frozen=True)
class Replay:
    """What came of replaying the journal: `same` says that every event and the digest are equal."""

    commands: int
    events: int
    digest: str
    same: bool
    seconds: float


@dataclass(frozen=True)
class Place:
    """Where a customer is connected: phase letter and electrical distance from the transformer, for the order of pictures."""

    customer: str
    phase: str
    distance_ohm: float


@dataclass(frozen=True)
class Run:
    """Everything that the report is made of."""

    network: str
    seed: int
    interval_ms: int
    speed: float
    wall_s: float
    machine: str
    broker: str
    connections: Sequence[Connection]
    places: Sequence[Place]
    events: Sequence[Event]
    fleet: FleetResult
    certificates: Sequence[Certificate]
    replay: Replay | None
    audits: Audits | None = None
    feeder: pictures.Feeder | None = None
    notes: Sequence[str] = field(default_factory=tuple)
    compared: Sequence[Outcome] = field(default_factory=tuple)


@dataclass(frozen=True)
class Facts:
    """The run folded once, for summary, pictures and tables."""

    market: figures.Market
    lived: Sequence[Delivered]
    without: Sequence[Delivered]


def gather(run: Run) -> Facts:
    market = figures.fold(run.events, run.interval_ms)
    lived = [one for home in run.fleet.homes for one in home.delivered]
    seen = {one.interval_ms for one in lived}
    without = [one for one in figures.counterfactual(market, run.connections, run.seed) if one.interval_ms in seen]
    return Facts(market, lived, without)


def summary(run: Run, facts: Facts) -> dict[str, Any]:
    """All figures of the run, ready for JSON. Money in EUR, energy in kWh, power in W, latencies in ms."""
    market = facts.market
    latencies = sorted(us / 1000 for home in run.fleet.homes for us in home.latencies_us)
    energy = {"without": figures.energy_kwh(facts.without), "with": figures.energy_kwh(facts.lived)}
    found: dict[str, Any] = {
        "run": {
            "network": run.network, "homes": len(run.connections), "seed": run.seed, "intervals": len(market.intervals_ms()),
            "interval_min": run.interval_ms // pictures.MINUTE_MS, "speed": run.speed, "wall_s": round(run.wall_s, 1),
            "machine": run.machine, "broker": run.broker, "notes": list(run.notes),
        },
        "market": {
            "orders": market.orders, "replaced": market.replaced, "cancelled": dict(market.cancelled.most_common()),
            "trades": len(market.trades), "kinds": dict(market.kinds.most_common()), "leftover_w": dict(market.leftover_w),
            "icebergs": market.icebergs, "blocks_placed": market.blocks_placed,
            "blocked_crossings": market.blocked, "woken": market.woken, "blocked_by": dict(market.blocked_rows.most_common(8)),
            "refusals": dict((market.refusals + _refused_at_the_gate(run.fleet)).most_common()),
            "traded_w": {direction: market.traded_w(direction) for direction in figures.DIRECTIONS},
            "price_mean_mct": {direction: market.price_mean_mct(direction) for direction in figures.DIRECTIONS},
            "turnover_eur": round(market.turnover_mct / 100_000, 4), "surplus_eur": round(market.surplus_mct / 100_000, 4),
        },
        "auctions": auctions(run, market),
        "headroom_prices_mct": headroom_prices(run.fleet),
        "operator": operated(market),
        "settlement": settled(market),
        "rules": [{name: getattr(one, name) for name in COMPARED} for one in run.compared],
        "energy_kwh": energy,
        "welfare_gain_eur": round(energy["with"]["value_eur"] - energy["without"]["value_eur"], 4),
        "envelopes": {
            direction: {
                "before": figures.spread_w(limits for (_, way), limits in market.allocation.items() if way == direction),
                "after": figures.spread_w(limits for (_, way), limits in market.holding.items() if way == direction),
            }
            for direction in figures.DIRECTIONS
        },
        "requests": {
            "sent": sum(home.requests for home in run.fleet.homes), "lost": sum(home.lost for home in run.fleet.homes),
            "resent": sum(home.resent for home in run.fleet.homes),
            "p50_ms": _rounded(figures.quantile(latencies, 0.5)), "p99_ms": _rounded(figures.quantile(latencies, 0.99)),
            "max_ms": _rounded(latencies[-1] if latencies else float("nan")),
        },
        "certificate": vars(worst(run.certificates)) if run.certificates else None,
        "certificates": [vars(certificate) for certificate in run.certificates],
        "audits": vars(run.audits) if run.audits else None,
        "replay": vars(run.replay) if run.replay else None,
    }  # fmt: skip
    return found | {"problems": problems(run, facts)}


def auctions(run: Run, market: figures.Market) -> list[dict[str, Any]]:
    """Each with its result and, for opening ones, the last that was published before: what it would come to. Watts, milli-cents."""
    announced = {one.interval_ms: one for home in run.fleet.homes for one in home.announced}
    found = []
    for auction in market.auctions:
        told = announced.get(auction.interval_ms) if auction.opening else None
        indicative = (told.indicative_welfare_mct, told.indicative_w) if told else (None, None)
        found.append(vars(auction) | dict(zip(("indicative_welfare_mct", "indicative_w"), indicative, strict=True)))
    return found


def headroom_prices(fleet: FleetResult) -> dict[str, int]:
    """The dearest rows by the last price that was published of each interval: mean over all intervals, milli-cents per kWh."""
    announced = [one for home in fleet.homes for one in home.announced]
    totals = sum((Counter(one.row_price_mct) for one in announced), Counter[str]())
    return {row: round(total / len(announced)) for row, total in totals.most_common(8)}


def operated(market: figures.Market) -> dict[str, Any]:
    operator = market.operator
    return {
        "withheld": [
            {"row": str(RowLabel(one.kind, one.element, one.phase)), "offered_w": one.quantity_w, "reserve_mct": one.price_mct}
            for one in operator.withheld
        ],
        "sold_w": operator.sold_w, "earned_mct": operator.earned_mct, "raised_w": dict(operator.raised_w), "moves": operator.moves,
    }  # fmt: skip


def settled(market: figures.Market) -> dict[str, Any]:
    """Over all settled intervals; customers and operator together sum to zero, or it is a problem."""
    customers = sum(sum(one.cash_mct) for one in market.settled)
    operator = sum(one.operator_mct for one in market.settled)
    return {"intervals": len(market.settled), "customers_mct": customers, "operator_mct": operator, "sum_mct": customers + operator}


def worst(certificates: Sequence[Certificate]) -> Certificate:
    """The extremes over a set of certificates, as one; the corner is that of the one with the highest or lowest voltage."""

    def distance_pu(one: Certificate) -> float:
        return min(min(one.voltage_min_pu) - one.limits_pu[0], one.limits_pu[1] - max(one.voltage_max_pu))

    nearest = min(certificates, key=distance_pu)
    fullest = max(certificates, key=lambda one: one.worst_loading)
    return Certificate(
        subject=nearest.subject,
        corners=sum(one.corners for one in certificates),
        voltage_min_pu=tuple(min(phase) for phase in zip(*(one.voltage_min_pu for one in certificates), strict=True)),
        voltage_max_pu=tuple(max(phase) for phase in zip(*(one.voltage_max_pu for one in certificates), strict=True)),
        limits_pu=nearest.limits_pu,
        worst_branch=fullest.worst_branch,
        worst_loading=fullest.worst_loading,
        worst_corner=nearest.worst_corner,
        violations=sum(one.violations for one in certificates),
    )


def _refused_at_the_gate(fleet: FleetResult) -> Counter[str]:
    """What was refused before it came to the exchange's core, and so is in none of its events."""
    return Counter({name: sum(home.refusals.get(name, 0) for home in fleet.homes) for name in ("throttled", "late")})


def _rounded(value: float) -> float | None:
    return round(value, 3) if value == value else None  # NaN is not JSON


def problems(run: Run, facts: Facts) -> list[str]:
    """Everything that must not have happened, in words and figures; empty for a good run."""
    market, fleet = facts.market, run.fleet
    found = list(market.problems[:20]) + [f"fleet: {error}" for error in fleet.errors[:20]]
    for certificate in run.certificates:
        if certificate.violations:
            found.append(f"{certificate.violations} AC violations in {certificate.subject}, worst corner {certificate.worst_corner}")
    if run.audits is not None and run.audits.broken:
        found.append(f"{run.audits.broken} audits found a broken limit while homes traded")
    lost = sum(home.lost for home in fleet.homes)
    if lost:
        found.append(f"{lost} requests were never acknowledged")
    missing = sum(home.missing_envelopes for home in fleet.homes)
    if missing:
        found.append(f"{missing} times a home had no envelope when its interval began")
    wrong = [one for one in facts.lived if (one.export_w, one.import_w) != _held(market, one)]
    if wrong:
        first = f"first {wrong[0].customer} at {wrong[0].interval_ms}"
        found.append(f"{len(wrong)} deliveries under an envelope that is not the ledger's, {first}")
    outside = sum(not -one.import_w <= one.net_w_min <= one.net_w_max <= one.export_w for one in facts.lived)
    if outside:
        found.append(f"{outside} deliveries outside their envelope")
    if fleet.complete and len(facts.lived) != len(run.connections) * len(market.intervals_ms()):
        found.append(f"{len(facts.lived)} deliveries, {len(run.connections) * len(market.intervals_ms())} were due")
    if fleet.complete and len(market.settled) != len(market.intervals_ms()):
        found.append(f"{len(market.settled)} intervals were settled, {len(market.intervals_ms())} were due")
    found += [f"{one.name}: {problem}" for one in run.compared for problem in one.problems]
    if not fleet.complete:
        found.append("the fleet stopped before the last delivery")
    if run.replay is not None and not run.replay.same:
        found.append("the replay of the journal differs from the run")
    return found


def _held(market: figures.Market, one: Delivered) -> tuple[int | None, int | None]:
    held = [market.holding.get((one.interval_ms, direction), {}).get(one.customer) for direction in figures.DIRECTIONS]
    return held[0], held[1]


def write(run: Run, folder: Path) -> dict[str, Any]:
    """Writes report.json, summary.md, index.html, the pictures and the tables into `folder`; returns the summary."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = gather(run)
    found = summary(run, facts)
    (folder / "report.json").write_text(json.dumps(found, indent=2) + "\n")
    (folder / "summary.md").write_text("\n".join(page.markdown(found)) + "\n")
    draw(run, facts, folder)
    write_tables(run, facts, folder)
    (folder / "index.html").write_text(page.html_page(found, folder))
    return found


def draw(run: Run, facts: Facts, folder: Path) -> None:
    """The four pictures; the feeder's only where there is a certificate to draw."""
    market = facts.market
    intervals = market.intervals_ms()
    if not intervals:
        pictures.draw_nothing(folder / "envelopes.png", "No pictures", "No interval was opened in this run.")
        return
    source = f"{run.network}, {len(run.connections)} homes, seed {run.seed}, {len(intervals)} intervals."
    order = sorted(run.places, key=lambda place: (place.phase, place.distance_ohm))
    shown = {direction: figures.busiest_ms(market, direction) for direction in figures.DIRECTIONS}

    def limit(held: Mapping[figures.Book, figures.Limits], direction: str, customer: str) -> int:
        return held[shown[direction], direction][customer]

    homes = [
        pictures.HomeEnvelope(
            place.customer, place.phase,
            *(limit(held, way, place.customer) for way in figures.DIRECTIONS for held in (market.allocation, market.holding)),
        )
        for place in order
    ]  # fmt: skip
    pictures.draw_envelopes(
        folder / "envelopes.png", homes, shown,
        f"{source} Allocation: max-min fair within the network's limits. Watts bought need not equal watts sold: only the limits count.",
    )  # fmt: skip
    price_picture.draw_prices(
        folder / "prices.png", _points(market), market.blocked_w, intervals,
        f"{source} What each purchase paid for its own limit; what nobody held is free. Blocked: crossed in price, but not secure.",
    )  # fmt: skip
    panels = {
        title: (figures.per_interval_kwh(facts.without, name, intervals), figures.per_interval_kwh(facts.lived, name, intervals))
        for title, name in (("Solar power curtailed", "curtailed"), ("Demand unserved", "unserved"), ("Cars charged", "car"))
    }
    pictures.draw_energy(folder / "energy.png", intervals, panels, f"{source} The model of the homes: docs/homes.md.")
    if run.feeder is not None:
        pictures.draw_feeder(folder / "feeder.png", run.feeder, f"{source} AC power flow at the corners of all certified envelopes.")


def _points(market: figures.Market) -> list[price_picture.TradePoint]:
    return [
        price_picture.TradePoint(trade.interval_ms, leg.direction, leg.change_w, leg.price_mct, trade.kind)
        for trade in market.trades
        for leg in trade.legs
        if leg.change_w > 0 and leg.customer != OPERATOR
    ]


def write_tables(run: Run, facts: Facts, folder: Path) -> None:
    """trades.csv and homes.csv: what a spreadsheet wants."""
    with (folder / "trades.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("sequence", "interval_ms", "kind", "customer", "direction", "change_w", "price_mct", "cash_mct"))
        table.writerows(
            (trade.sequence, trade.interval_ms, trade.kind, leg.customer, leg.direction, leg.change_w, leg.price_mct, leg.cash_mct)
            for trade in facts.market.trades
            for leg in trade.legs
        )
    kinds = {home.customer: home.kind for home in run.fleet.homes}
    phases = {place.customer: place.phase for place in run.places}
    without = {(one.customer, one.interval_ms): one for one in facts.without}
    names = ("net_w_min", "net_w_max", "curtailed_wmin", "unserved_wmin", "car_wmin", "exported_wmin", "imported_wmin", "value_mct")
    with (folder / "homes.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(
            [
                "customer", "phase", "kind", "interval_ms", "allocation_export_w", "allocation_import_w", "export_w", "import_w",
                *(f"{name}{suffix}" for suffix in ("", "_without") for name in names),
            ]
        )  # fmt: skip
        for one in facts.lived:
            other = without[one.customer, one.interval_ms]
            table.writerow(
                [
                    one.customer, phases.get(one.customer, ""), kinds[one.customer], one.interval_ms,
                    other.export_w, other.import_w, one.export_w, one.import_w,
                    *(getattr(of, name) for of in (one, other) for name in names),
                ]
            )  # fmt: skip
