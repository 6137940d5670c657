"""The homes of the demo obey physics: inside the envelope in every minute, every watt-minute accounted for, the same from the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.blotter import Blotter
from demo.homes import (
    CAR_W,
    CAR_W_MIN,
    CLOUD_INDEX_MEAN,
    DAY_MS,
    MINUTE_MS,
    Battery,
    Car,
    Connection,
    HomeModel,
    HomeState,
    clear_sky,
    cloud_index,
    dispatch,
    fleet,
    live,
)
from demo.timetable import ROUNDS, Clock, FleetSpec, HomeSpec, timetable
from demo.trading import (
    LEVEL_W,
    Block,
    Market,
    Resting,
    Wish,
    accuracy,
    amend,
    car_block,
    car_worth_mct,
    display_w,
    outlook,
    wishes,
    worth,
)
from gateway import wire

INTERVAL_MS = 15 * MINUTE_MS
START_MS = 20_000 * DAY_MS + 13 * 60 * MINUTE_MS
NAMES = [f"home-{number:02d}" for number in range(1, 56)]
CONNECTIONS = [Connection(name, 10_000, 14_000, 500, 800) for name in NAMES]
MARKET = Market(10, 10, 100_000, 0.5, {"export": None, "import": None})

watts = st.integers(0, 15_000)
limits = st.tuples(st.integers(500, 10_000), st.integers(800, 14_000))


def home(**changes: object) -> HomeModel:
    """A home without anything, but for what a test gives it; profiles may be given as one number of watts."""
    profiles = ("load_w", "heat_w", "solar_w")
    flat = {name: np.full(1440, changes.pop(name, 0), dtype=np.int64) for name in profiles}
    plain: dict[str, object] = {
        "customer": "h", "kind": "home", "rating_export_w": 10_000, "rating_import_w": 14_000, "failsafe_export_w": 500,
        "failsafe_import_w": 800, **flat, **{f"typical_{name}": flat[name] for name in profiles}, "known": np.zeros(1440),
        "feed_in_mct": 8_000, "heat_mct": 60_000, "margin": 0.1, "caution": 0.1, "spare_mct": 500, "battery": None, "car": None,
    }  # fmt: skip
    return HomeModel(**{**plain, **changes})  # type: ignore[arg-type]


# --- physics ----------------------------------------------------------------------------------------------------------


@given(watts, watts, watts, st.integers(0, CAR_W), watts, watts, watts, watts)
@settings(max_examples=500, deadline=None)
def test_a_minute_is_balanced_and_inside_the_envelope(load, heat, solar, car, charge, discharge, export, imported):
    flow = dispatch(load, heat, solar, car, charge, discharge, export, imported)
    assert all(value >= 0 for value in flow)
    supplied = solar - flow.curtailed_w + flow.discharged_w + flow.imported_w
    assert supplied == flow.load_w + flow.heat_w + flow.car_w + flow.charged_w + flow.exported_w
    assert flow.imported_w <= imported
    assert flow.exported_w <= export
    assert not (flow.imported_w and flow.exported_w)
    assert flow.load_w <= load
    assert flow.heat_w <= heat
    assert flow.charged_w <= charge
    assert flow.discharged_w <= discharge
    assert flow.car_w == 0 or min(car, CAR_W_MIN) <= flow.car_w <= car


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # load heat solar car charge discharge export import -> load heat car charged discharged imported exported curtailed
        ((500, 0, 4_000, 0, 0, 0, 2_000, 2_000), (500, 0, 0, 0, 0, 0, 2_000, 1_500)),  # what exceeds the export limit is curtailed
        ((500, 0, 4_000, 0, 1_000, 0, 2_000, 2_000), (500, 0, 0, 1_000, 0, 0, 2_000, 500)),  # the battery takes what would be lost
        ((3_000, 1_500, 0, 0, 0, 0, 2_000, 2_000), (2_000, 0, 0, 0, 0, 2_000, 0, 0)),  # heat is cut before load
        ((3_000, 1_500, 0, 0, 0, 2_000, 2_000, 2_000), (3_000, 1_000, 0, 0, 2_000, 2_000, 0, 0)),  # the battery helps out
        ((500, 0, 0, 7_400, 0, 4_000, 2_000, 3_000), (500, 0, 3_000, 0, 500, 3_000, 0, 0)),  # but not the car
        ((500, 0, 0, 7_400, 0, 0, 2_000, 1_800), (500, 0, 0, 0, 0, 500, 0, 0)),  # 1300 W are less than 6 A: the car waits
        ((500, 0, 0, 700, 0, 0, 2_000, 1_800), (500, 0, 700, 0, 0, 1_200, 0, 0)),  # the last bit of a charge may be small
        ((500, 0, 3_000, 7_400, 1_000, 0, 2_000, 2_000), (500, 0, 4_500, 0, 0, 2_000, 0, 0)),  # sun and grid add up in the car
    ],
)
def test_the_order_of_merit(given, expected):
    assert tuple(dispatch(*given)) == expected


@given(st.integers(0, 200), st.sampled_from(NAMES), st.lists(limits, min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_energy_is_conserved_to_the_watt_minute_whatever_the_envelopes(seed, name, envelopes):
    model = fleet([Connection(name, 10_000, 14_000, 500, 800)], seed)[0]
    state = HomeState(model, START_MS)
    before_battery, charged_car = state.battery_wmin, 0
    for index, (export_w, import_w) in enumerate(envelopes):
        begin = START_MS + index * INTERVAL_MS
        battery = state.battery_wmin
        one = state.step(begin, begin + INTERVAL_MS, export_w, import_w)
        assert -import_w <= one.net_w_min <= one.net_w_max <= export_w
        used = one.load_wmin + one.heat_wmin + one.car_wmin + one.exported_wmin + one.lost_wmin
        assert one.solar_wmin - one.curtailed_wmin + one.imported_wmin == used + state.battery_wmin - battery
        assert one.lost_wmin >= 0
        assert one.unserved_wmin >= 0
        charged_car += one.car_wmin
    assert charged_car == state.car_wmin <= (model.car.need_wmin if model.car else 0)
    assert model.battery is None or 0 <= state.battery_wmin <= model.battery.capacity_wmin
    assert model.battery is not None or state.battery_wmin == before_battery == 0


def test_a_battery_gives_back_nine_tenths():
    sunny = home(solar_w=3_000, battery=Battery(600_000, 3_000, 0, 20_000))
    state = HomeState(sunny, START_MS)
    charged = state.step(START_MS, START_MS + INTERVAL_MS, 0, 0)
    assert charged.battery_wmin == 15 * 3_000 * 95 // 100
    assert charged.curtailed_wmin == 0
    state.model = home(load_w=3_000, battery=sunny.battery)
    begin = START_MS + INTERVAL_MS
    served = state.step(begin, begin + INTERVAL_MS, 0, 0).load_wmin
    assert served == pytest.approx(15 * 3_000 * 0.95**2, abs=15)


def test_a_car_charges_between_arrival_and_departure_and_reports_what_it_lacks():
    minute = 13 * 60
    state = HomeState(home(car=Car(minute + 5, minute + 15, 100_000, 20_000)), START_MS)
    one = state.step(START_MS, START_MS + INTERVAL_MS, 0, 14_000)
    assert one.car_wmin == 10 * CAR_W
    assert one.car_missing_wmin == 100_000 - 10 * CAR_W
    assert state.step(START_MS + INTERVAL_MS, START_MS + 2 * INTERVAL_MS, 0, 14_000).car_wmin == 0


def test_worth_adds_up_over_intervals_as_over_the_whole():
    model = next(model for model in fleet(CONNECTIONS, 1) if model.car and model.battery)
    wide = [(4_000, 4_000)]
    halves = live([model], START_MS, INTERVAL_MS, [wide, wide])
    whole = live([model], START_MS, 2 * INTERVAL_MS, [wide])
    assert sum(one.value_mct for one in halves) == pytest.approx(whole[0].value_mct)


@given(st.integers(0, 50), st.integers(500, 9_000), st.integers(800, 13_000))
@settings(max_examples=30, deadline=None)
def test_a_wider_envelope_serves_no_less_in_the_same_interval(seed, export_w, import_w):
    models = fleet(CONNECTIONS[:8], seed)
    tight = live(models, START_MS, INTERVAL_MS, [[(export_w, import_w)] * 8])
    wide = live(models, START_MS, INTERVAL_MS, [[(export_w + 1_000, import_w + 1_000)] * 8])
    for narrow, broad in zip(tight, wide, strict=True):
        assert broad.unserved_wmin <= narrow.unserved_wmin
        assert broad.curtailed_wmin <= narrow.curtailed_wmin
        assert broad.value_mct >= narrow.value_mct - 1e-6


# --- seeds ------------------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_homes_and_the_same_day():
    runs = [live(fleet(CONNECTIONS, 7), START_MS, INTERVAL_MS, [[(1_500, 1_500)] * 55] * 4) for _ in range(2)]
    assert runs[0] == runs[1]
    assert runs[0] != live(fleet(CONNECTIONS, 8), START_MS, INTERVAL_MS, [[(1_500, 1_500)] * 55] * 4)


def test_a_home_does_not_depend_on_its_neighbours():
    alone, among = fleet(CONNECTIONS[3:4], 7)[0], fleet(CONNECTIONS, 7)[3]
    assert np.array_equal(alone.load_w, among.load_w)
    assert np.array_equal(alone.solar_w, among.solar_w)
    assert (alone.battery, alone.car, alone.kind) == (among.battery, among.car, among.kind)


def test_a_fleet_looks_like_a_street():
    models = fleet(CONNECTIONS, 1)
    kwh = [model.load_w.sum() / 60_000 for model in models]
    assert 6 < np.mean(kwh) < 14  # without heat and car; an average dwelling uses about 8 to 10 kWh a day
    assert 0.3 < np.mean([model.solar_w.any() for model in models]) < 0.7
    assert 0.1 < np.mean([model.car is not None for model in models]) < 0.6
    assert max(model.solar_w.max() for model in models) < 8_500


def test_the_sky_by_hand():
    sky = clear_sky()
    zenith_cosine = np.cos(np.radians(52.0 - 12.0))  # at noon the zenith angle is latitude less declination
    assert sky[720] == pytest.approx(1098 * zenith_cosine * np.exp(-0.059 / zenith_cosine))
    assert sky[0] == 0
    assert clear_sky(60).argmax() == 780
    assert 0.2 < cloud_index(3).min() < cloud_index(3).max() < 1.1
    assert np.mean([cloud_index(seed).mean() for seed in range(20)]) == pytest.approx(CLOUD_INDEX_MEAN, abs=0.03)


# --- what homes want --------------------------------------------------------------------------------------------------


def state_of(model: HomeModel) -> HomeState:
    return HomeState(model, START_MS)


def want(model: HomeModel, export_w: int, import_w: int, market: Market = MARKET) -> list[Wish]:
    return wishes(state_of(model), START_MS, INTERVAL_MS, START_MS - INTERVAL_MS, lambda _: (export_w, import_w), market)


@given(st.integers(0, 100), st.sampled_from(NAMES), st.integers(500, 10_000), st.integers(800, 14_000), st.floats(0, 1), st.integers(-8, 8))
@settings(max_examples=150, deadline=None)
def test_wishes_stay_between_failsafe_and_rating_in_whole_lots_and_ticks(seed, name, export_w, import_w, progress, ahead):
    model = fleet([Connection(name, 10_000, 14_000, 500, 800)], seed)[0]
    market = MARKET._replace(progress=progress, last_mct={"export": 4_120, "import": None})
    begin = START_MS + (8 + ahead) * INTERVAL_MS
    wanted = wishes(state_of(model), begin, INTERVAL_MS, begin - INTERVAL_MS, lambda _: (export_w, import_w), market)
    for direction, held, floor, ceiling in (("export", export_w, 500, 10_000), ("import", import_w, 800, 14_000)):
        mine = [wish for wish in wanted if wish.direction == direction]
        assert len({wish.side for wish in mine}) <= 1  # never both sides of a book
        total = sum(wish.quantity_w for wish in mine)
        assert total <= (ceiling - held if mine and mine[0].side == "buy" else held - floor)
    for wish in wanted:
        assert wish.quantity_w > 0
        assert wish.quantity_w % 10 == wish.price_mct % 10 == 0
        assert 0 <= wish.price_mct <= 100_000


def test_sun_above_the_limit_buys_export_up_to_what_it_needs():
    wanted = want(home(solar_w=5_000, load_w=400), 1_500, 1_500)
    bids = [wish for wish in wanted if wish.direction == "export"]
    assert [wish.side for wish in bids] == ["buy"]
    assert 4_600 - 1_500 - LEVEL_W < bids[0].quantity_w <= 4_600 - 1_500 + LEVEL_W
    assert bids[0].price_mct <= 8_000 * 0.95  # never above the feed-in worth less half of its margin, half-way to the gate


def test_a_home_without_sun_sells_its_export_down_to_the_failsafe_and_no_further():
    asks = [wish for wish in want(home(load_w=400), 1_510, 1_500) if wish.direction == "export"]
    assert [(wish.side, wish.quantity_w) for wish in asks] == [("sell", 1_000)]


def test_a_kettle_is_worth_more_than_a_car():
    hot, car = home(load_w=3_000), home(load_w=300, car=Car(0, 1440, 400_000, 20_000))
    prices = [next(wish.price_mct for wish in want(model, 1_500, 1_500) if wish.direction == "import") for model in (hot, car)]
    assert prices[0] > prices[1]


def test_a_car_that_will_be_full_anyway_bids_less_than_one_that_will_leave_short():
    now = 13 * 60
    calm, hurried = (state_of(home(car=Car(0, now + stay, 300_000, 20_000))) for stay in (300, 30))
    worths = [car_worth_mct(state, START_MS, INTERVAL_MS, lambda _: 2_000) for state in (calm, hurried)]
    assert worths[0] == pytest.approx(20_000 * 0.2)
    assert worths[1] > 15_000


def test_bids_rise_and_asks_fall_towards_the_gate():
    buyer, seller = home(solar_w=5_000), home()
    early, late = (MARKET._replace(progress=progress, last_mct={"export": 3_000, "import": None}) for progress in (0.1, 0.9))
    assert want(buyer, 1_500, 1_500, early)[0].price_mct < want(buyer, 1_500, 1_500, late)[0].price_mct
    assert want(seller, 1_500, 1_500, early)[0].price_mct > want(seller, 1_500, 1_500, late)[0].price_mct


def test_a_forecast_knows_more_the_nearer_the_interval_is():
    assert accuracy(0) > accuracy(30 * MINUTE_MS) > accuracy(300 * MINUTE_MS) > 0
    state = state_of(fleet(CONNECTIONS, 1)[0])
    actual = outlook(state, START_MS, START_MS + INTERVAL_MS, START_MS)
    errors = []
    for lead in (0, 60, 600):
        guess = outlook(state, START_MS, START_MS + INTERVAL_MS, START_MS - lead * MINUTE_MS)
        errors.append(int(np.count_nonzero(guess.load_w != actual.load_w)))
    assert errors == sorted(errors)


@given(st.integers(0, 30), st.sampled_from(NAMES), st.floats(0, 30_000))
@settings(max_examples=40, deadline=None)
def test_the_worth_of_a_watt_never_rises_with_the_level(seed, name, car_mct):
    state = state_of(fleet([Connection(name, 10_000, 14_000, 500, 800)], seed)[0])
    seen = outlook(state, START_MS, START_MS + INTERVAL_MS, START_MS - INTERVAL_MS)
    levels = np.arange(0.0, 14_000.0, 100.0)
    for direction in ("export", "import"):
        assert (np.diff(worth(seen, state.model, min(car_mct, state.model.heat_mct - 30_000), direction, levels)) <= 1e-9).all()


# --- amendments -------------------------------------------------------------------------------------------------------

BID = Wish("import", "buy", 0, 1_000, 10_000)
ASK = Wish("export", "sell", 0, 500, 2_000)


@pytest.mark.parametrize(
    ("resting", "wanted", "requests"),
    [
        ([], [BID], [("place", "", 1_000)]),
        ([Resting("o", BID, 0)], [], [("cancel", "o", 0)]),
        ([Resting("o", BID, 0)], [BID], []),
        ([Resting("o", BID, 0)], [BID._replace(price_mct=10_300)], []),  # 3 % is not worth a message
        ([Resting("o", BID, 0)], [BID._replace(price_mct=11_000)], [("replace", "o", 1_000)]),
        ([Resting("o", BID._replace(quantity_w=400), 600)], [BID], [("replace", "o", 1_600)]),  # the total counts what has filled
        ([Resting("o", ASK, 0)], [ASK._replace(side="buy")], [("cancel", "o", 0), ("place", "", 500)]),
        (
            [Resting("o", BID, 0), Resting("p", BID._replace(slot=1), 0)],
            [BID._replace(quantity_w=2_000), BID._replace(slot=1, quantity_w=300)],
            [("replace", "p", 300), ("replace", "o", 2_000)],  # less before more, so that the rating is never passed between
        ),
    ],
)
def test_amendments(resting, wanted, requests):
    assert [(one.kind, one.order_id, one.quantity_w) for one in amend(resting, wanted)] == requests


def test_a_total_is_whole_lots_whatever_single_watts_have_traded():
    resting = [Resting("o", BID._replace(quantity_w=463), 537)]
    assert [one.quantity_w for one in amend(resting, [BID], lot_w=10)] == [1_530]


def test_the_blotter_follows_an_order_to_its_end():
    blotter = Blotter()
    order_id = blotter.order_id(START_MS, BID)
    common = {"interval_ms": START_MS, "direction": "import", "side": "buy"}
    terms = {"quantity_w": 1_000, "price_mct": 10_000, "shown_w": 1_000, "intervals": 1}
    blotter.take(wire.Accepted(sequence=1, id=order_id, order_id=order_id, **terms, **common))
    fill = {"leg": 0, "order_id": order_id, "price_mct": 9_000, "cash_mct": -1, "holding_w": 1, "shown_w": 0, "kind": "pair", **common}
    blotter.take(wire.Filled(sequence=2, quantity_w=300, open_w=700, **fill))
    assert blotter.resting(START_MS) == [Resting(order_id, BID._replace(quantity_w=700), 300)]
    terms = {"quantity_w": 800, "open_w": 500, "price_mct": 9_500, "kept_priority": False, "shown_w": 500}
    replaced = {"order_id": order_id, **terms, **common}
    blotter.take(wire.Replaced(sequence=3, **replaced))
    assert blotter.resting(START_MS) == [Resting(order_id, BID._replace(quantity_w=500, price_mct=9_500), 300)]
    assert blotter.last_mct == {"export": None, "import": 9_000}
    blotter.take(wire.Filled(sequence=4, quantity_w=500, open_w=0, **fill))
    assert blotter.resting(START_MS) == []
    blotter.take(wire.Rejected(sequence=5, reason="off_tick", detail=""))
    assert blotter.refusals == {"off_tick": 1}


def test_the_blotter_keeps_a_block_apart_until_it_trades_and_learns_no_price_from_what_is_free():
    blotter = Blotter()
    order_id = blotter.block_id(Block(START_MS, 3, 2_000, 9_000))
    common = {"interval_ms": START_MS, "direction": "import", "side": "buy", "order_id": order_id, "shown_w": 0}
    blotter.take(wire.Accepted(sequence=1, id=order_id, quantity_w=2_000, price_mct=9_000, intervals=3, **common))
    assert blotter.resting(START_MS) == []
    covered = [blotter.is_in_block(START_MS + number * INTERVAL_MS, INTERVAL_MS) for number in range(-1, 4)]
    assert covered == [False, True, True, True, False]
    fill = {"leg": 0, "cash_mct": 0, "holding_w": 1, "open_w": 0, "quantity_w": 2_000, "price_mct": 0, **common}
    blotter.take(wire.Filled(sequence=2, kind="leftover", **fill))
    assert blotter.last_mct["import"] is None
    assert not blotter.is_in_block(START_MS, INTERVAL_MS)


def test_only_large_sales_are_icebergs():
    assert display_w(ASK) == 0
    assert display_w(ASK._replace(quantity_w=3_000)) == 500
    assert display_w(BID._replace(quantity_w=3_000)) == 0


def test_a_car_that_stays_and_lacks_limit_asks_for_three_intervals_or_none():
    asked = []
    for model in fleet(CONNECTIONS, 1):
        state = HomeState(model, START_MS)
        if model.car is None:
            continue
        first_ms = state.midnight_ms + (model.car.arrives_min + 15) // 15 * INTERVAL_MS
        block = car_block(state, first_ms, INTERVAL_MS, lambda _: (1_500, 1_500), MARKET)
        assert car_block(state, first_ms - 4 * INTERVAL_MS, INTERVAL_MS, lambda _: (1_500, 1_500), MARKET) is None, "not at home yet"
        state.car_wmin = model.car.need_wmin
        assert car_block(state, first_ms, INTERVAL_MS, lambda _: (1_500, 1_500), MARKET) is None, "it is full"
        asked.append(block)
    wanted = [block for block in asked if block is not None]
    assert wanted
    assert all(300 <= block.quantity_w <= 14_000 - 1_500 and block.quantity_w % 10 == 0 and block.intervals == 3 for block in wanted)


# --- timetable --------------------------------------------------------------------------------------------------------


def test_the_timetable_trades_inside_the_window_and_delivers_on_time():
    homes = tuple(HomeSpec(name, "", 10_000, 14_000, 500, 800) for name in NAMES[:2])
    spec = FleetSpec("localhost", 1883, "lv", 1, START_MS, 4, INTERVAL_MS, 2 * INTERVAL_MS, INTERVAL_MS // 3, 10, 10, 100_000, homes)
    for name in NAMES[:2]:
        moments = timetable(spec, name)
        assert moments == sorted(moments)
        assert [moment.at_ms for moment in moments if moment.kind == "deliver"] == [START_MS + k * INTERVAL_MS for k in range(4)]
        trades = [moment for moment in moments if moment.kind == "trade"]
        assert len(trades) == 4 * ROUNDS
        assert all(-2 * INTERVAL_MS < moment.at_ms - moment.interval_ms < -INTERVAL_MS // 3 for moment in trades)
    assert timetable(spec, NAMES[0]) != timetable(spec, NAMES[1])


def test_the_clock_is_its_own_inverse():
    clock = Clock(START_MS, 5_000.0, 120.0)
    assert clock.market(clock.wall(START_MS + INTERVAL_MS)) == START_MS + INTERVAL_MS
