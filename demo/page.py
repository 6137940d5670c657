"""A run's summary for people: the same rows in the terminal, in Markdown and on a self-contained HTML page.

Takes the summary as `report.summary` made it and adds nothing to it but words. The skeleton of the page, its tiles and its embedded
pictures (`whole_page`, `tiled`, `embedded`) serve other reports too.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from demo.figures import DIRECTIONS

PICTURES = {
    "envelopes.png": "Every home's limits before and after trading, in the interval in which most watts of each direction traded.",
    "energy.png": "The same homes, weather and appliances: on the allocations, and on the limits they held after trading.",
    "prices.png": "Every trade, and what crossed in price but was not secure.",
    "feeder.png": "How far the worst certified corner of any interval stays from a voltage limit.",
}


def rows(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The summary as (what, figure) for people; the same in the terminal, in Markdown and on the page."""
    run, market, energy = found["run"], found["market"], found["energy_kwh"]
    requests, envelopes, replay = found["requests"], found["envelopes"], found["replay"]
    without, with_market = energy["without"], energy["with"]
    listed = [
        ("run", f"{run['network']}, {run['homes']} homes, {run['intervals']} intervals of {run['interval_min']} min, seed {run['seed']}"),
        ("orders", f"{market['orders']} placed, {market['replaced']} replaced, {sum(market['cancelled'].values())} cancelled"),
        ("trades", f"{market['trades']}: " + ", ".join(_traded(market, direction) for direction in DIRECTIONS)),
        ("trades by kind", _kinds(market)),
        (
            "blocked crossings",
            f"{market['blocked_crossings']}, {market['woken']} of them traded later" + _named("; ", market["blocked_by"], 2),
        ),
        ("refusals", _named("", market["refusals"]) or "none"),
        ("welfare gained", f"{found['welfare_gain_eur']:.2f} EUR in energy served; bids above asks {market['surplus_eur']:.2f} EUR"),
        *_compared(found["rules"]),
        *_mechanisms(found),
        ("sun curtailed", f"{without['curtailed']:.1f} kWh without the market, {with_market['curtailed']:.1f} kWh with it"),
        ("demand unserved", f"{without['unserved']:.2f} kWh without the market, {with_market['unserved']:.2f} kWh with it"),
        ("cars charged", f"{without['car']:.1f} kWh without the market, {with_market['car']:.1f} kWh with it"),
    ]
    listed += [(f"{direction} envelopes", _spread(envelopes[direction])) for direction in DIRECTIONS]
    if requests["p50_ms"] is not None:
        figure = f"p50 {requests['p50_ms']:.1f} ms, p99 {requests['p99_ms']:.1f} ms; {requests['sent']} requests, {requests['lost']} lost"
        listed.append(("order to acknowledgement", figure))
    if found["certificate"]:
        listed += _certified(found["certificate"], len(found["certificates"]))
    if found["audits"]:
        listed.append(("audits while trading", _audited(found["audits"])))
    if replay:
        verdict = "every event and the digest are the same" if replay["same"] else "DIFFERS from the run"
        listed.append(("replay", f"{replay['commands']} commands, {replay['events']} events in {replay['seconds']:.1f} s: {verdict}"))
    return listed


def _traded(market: Mapping[str, Any], direction: str) -> str:
    price = market["price_mean_mct"][direction]
    mean = f" at {price / 1000:.2f} ct/kWh" if price is not None else ""
    return f"{market['traded_w'][direction] / 1000:.1f} kW of {direction}{mean}"


def _kinds(market: Mapping[str, Any]) -> str:
    free = sum(market["leftover_w"].values()) / 1000
    orders = f"{market['icebergs']} icebergs and {market['blocks_placed']} orders over several intervals placed"
    return f"{_named('', market['kinds'], 9) or 'none'}; {free:.1f} kW that nobody held; {orders}"


def _compared(rules: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """The run beside the same requests under another rule."""
    if not rules:
        return []
    told = ", ".join(f"{one['name']} {one['welfare_mct'] / 100_000:.2f} EUR in {one['trades']} trades" for one in rules)
    ratio = f": {rules[0]['welfare_mct'] / rules[1]['welfare_mct']:.2f} times" if len(rules) > 1 and rules[1]["welfare_mct"] > 0 else ""
    return [("the same requests", told + ratio)]


def _mechanisms(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Auctions, the operator's hand, prices of headroom, money: each in a row, where there was any."""
    listed = []
    opening = [auction for auction in found["auctions"] if auction["opening"]]
    if opening:
        told = [auction for auction in opening if auction["indicative_welfare_mct"] is not None]
        result, indicative = (sum(auction[f"{kind}welfare_mct"] for auction in told) / 100_000 for kind in ("", "indicative_"))
        watts = sum(auction["received_w"] for auction in opening) / 1000
        announced = f"announced last {indicative:.2f} EUR, came to {result:.2f} EUR ({len(told)} announced)"
        listed.append(("opening auctions", f"{len(opening)}: {watts:.1f} kW; {announced}"))
    if found["headroom_prices_mct"]:
        priced = ", ".join(f"{row} {price / 1000:.2f}" for row, price in list(found["headroom_prices_mct"].items())[:3])
        listed.append(("dearest headroom", f"{priced} ct/kWh, mean of all intervals"))
    listed += _operated(found["operator"])
    money = found["settlement"]
    if money["intervals"]:
        figure = f"{money['intervals']} intervals: customers {money['customers_mct'] / 100_000:+.2f} EUR, operator "
        listed.append(("settlement", f"{figure}{money['operator_mct'] / 100_000:+.2f} EUR, sum {money['sum_mct'] / 100_000:.2f} EUR"))
    return listed


def _operated(operator: Mapping[str, Any]) -> list[tuple[str, str]]:
    listed = []
    for one in operator["withheld"]:
        sold = f"sold {operator['sold_w']} W of it for {operator['earned_mct'] / 1000:.2f} ct"
        listed.append(("operator's offer", f"{one['offered_w']} W of {one['row']} at {one['reserve_mct'] / 1000:.2f} ct/kWh; {sold}"))
    if operator["moves"]:
        raised = sum(operator["raised_w"].values()) / 1000
        listed.append(("operator's hand", f"{'; '.join(operator['moves'])}; limits raised by {raised:.1f} kW in all"))
    return listed


def _named(prefix: str, counts: Mapping[str, int], most: int = 4) -> str:
    listed = ", ".join(f"{name} {count}" for name, count in list(counts.items())[:most])
    return prefix + listed if listed else ""


def _spread(envelopes: Mapping[str, Mapping[str, int]]) -> str:
    before, after = (" / ".join(f"{watts / 1000:.2f}" for watts in envelopes[when].values()) for when in ("before", "after"))
    return f"smallest / median / largest {before} kW before, {after} kW after"


def _certified(one: Mapping[str, Any], sets: int) -> list[tuple[str, str]]:
    """The worst of all certificates, as three rows."""
    volts = ", ".join(
        f"{phase} {low:.4f} to {high:.4f}" for phase, low, high in zip("abc", one["voltage_min_pu"], one["voltage_max_pu"], strict=False)
    )
    low, high = one["limits_pu"]
    return [
        ("AC certificates", f"{one['violations']} violations in {one['corners']} corners of {sets} sets of envelopes"),
        ("worst voltages", f"{volts} pu; limits {low} to {high} pu"),
        ("worst branch", f"{one['worst_branch']}, {100 * one['worst_loading']:.0f} % of its rating"),
        ("worst corner", f"{one['worst_corner']}, in {one['subject']}"),
    ]


def _audited(audits: Mapping[str, Any]) -> str:
    acted = ", ".join(f"{audits[what]} {what}" for what in ("broken", "tightened", "restarts") if audits[what])
    return f"{audits['made']} in AC of {audits['intervals']} intervals{'; ' + acted if acted else ''}; smallest margins {audits['margins']}"


def markdown(found: Mapping[str, Any]) -> list[str]:
    """summary.md, line by line."""
    lines = ["# A run of limex", "", "| | |", "|---|---|", *(f"| {what} | {figure} |" for what, figure in rows(found)), ""]
    if found["problems"]:
        return [*lines, "**This run failed:**", "", *(f"- {problem}" for problem in found["problems"])]
    return [*lines, "No violation, no lost acknowledgement, no difference in replay."]


def html_page(found: Mapping[str, Any], folder: Path) -> str:
    """index.html: verdict, headline figures, pictures and table in one file."""
    energy, market, requests = found["energy_kwh"], found["market"], found["requests"]
    tiles = [
        (f"{found['welfare_gain_eur']:.2f} EUR", "welfare gained"),
        (f"{energy['without']['curtailed']:.0f} → {energy['with']['curtailed']:.0f} kWh", "sun curtailed"),
        (f"{energy['without']['unserved']:.1f} → {energy['with']['unserved']:.1f} kWh", "demand unserved"),
        (f"{energy['without']['car']:.0f} → {energy['with']['car']:.0f} kWh", "charged into cars"),
        (f"{market['trades']}", "trades"),
        (f"{market['blocked_crossings']}", "crossings blocked by the network"),
        (f"{sum(one['violations'] for one in found['certificates'])}", "AC violations"),
        (f"{requests['p50_ms']:.1f} ms" if requests["p50_ms"] is not None else "none", "order to acknowledgement, p50"),
    ]
    good = not found["problems"]
    verdict = "No violation, no lost acknowledgement, no difference in replay." if good else "This run failed:"
    wrong = "".join(f"<li>{html.escape(problem)}</li>" for problem in found["problems"])
    run = found["run"]
    where = f"{run['network']}, {run['homes']} homes, {run['intervals']} intervals of {run['interval_min']} minutes, seed {run['seed']}"
    pictures = "".join(embedded(folder / name, text) for name, text in PICTURES.items() if (folder / name).exists())
    table = "".join(f"<tr><th>{html.escape(what)}</th><td>{html.escape(figure)}</td></tr>" for what, figure in rows(found))
    machine = f"{run['machine']}, broker {run['broker']}, {run['wall_s']} s, clock {run['speed']:.0f} times real time"
    body = f"""<p class="{"good" if good else "bad"}">{verdict}</p>{f"<ul>{wrong}</ul>" if wrong else ""}
{tiled(tiles)}
{pictures}
<h2>All figures</h2><table>{table}</table>
<p>Tables: <a href="trades.csv">trades.csv</a>, <a href="homes.csv">homes.csv</a>; for programs: <a href="report.json">report.json</a>.</p>
<footer>{html.escape(machine)}</footer>"""
    return whole_page("a run", "Homes trade their power limits", where, body)


def embedded(path: Path, text: str) -> str:
    """A picture as part of the page."""
    kind = "svg+xml" if path.suffix == ".svg" else path.suffix.removeprefix(".")
    picture, text = base64.b64encode(path.read_bytes()).decode(), html.escape(text)
    return f'<figure><img alt="{text}" src="data:image/{kind};base64,{picture}"><figcaption>{text}</figcaption></figure>'


def tiled(tiles: Iterable[tuple[str, str]]) -> str:
    """Headline figures: (figure, what it is)."""
    boxes = "".join(f"<div><b>{html.escape(figure)}</b><span>{html.escape(what)}</span></div>" for figure, what in tiles)
    return f'<div class="tiles">{boxes}</div>'


def whole_page(name: str, heading: str, where: str, body: str) -> str:
    """A page that needs no other resource. `body` is HTML, the rest is text."""
    return PAGE.format(name=html.escape(name), heading=html.escape(heading), where=html.escape(where), body=body)


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>limex: {name}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #22282d; max-width: 1180px; margin: 2rem auto; padding: 0 1rem }}
h1 {{ margin-bottom: 0 }} .where, footer, figcaption {{ color: #5b646b }}
.good, .bad {{ padding: .5rem 1rem; border-left: 5px solid #009e73; background: #eef7f4; font-weight: 600 }}
.bad {{ border-color: #d55e00; background: #fdf0e8 }}
.tiles {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: .8rem; margin: 1.2rem 0 }}
.tiles div {{ border: 1px solid #dde2e6; border-radius: 6px; padding: .7rem 1rem }}
.tiles b {{ display: block; font-size: 1.45rem }} .tiles span {{ color: #5b646b }}
figure {{ margin: 2rem 0 }} img {{ max-width: 100%; border: 1px solid #dde2e6; border-radius: 6px }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; vertical-align: top; padding: .35rem .6rem; border-top: 1px solid #dde2e6 }}
th {{ white-space: nowrap; font-weight: 600 }} footer {{ margin-top: 2rem }}
.figures td, .figures th + th {{ text-align: right; white-space: nowrap }} .figures th:first-child {{ white-space: normal }}
.best {{ font-weight: 700; color: #007a59 }} .broken {{ color: #b34700 }}
</style></head><body>
<h1>{heading}</h1><p class="where">{where}</p>
{body}
</body></html>
"""
