"""The champion's scores of November and December, for a comparison with the single-node script.

After a demo, in the folder where its `lake` and `conf` lie:

    python benchmarks/champion_scores.py champion.csv
    python benchmarks/single_node_flights.py --against champion.csv

The predictions table begins with December, which the demo scores; November is the test split,
whose scores training measures and does not keep. So both months are scored anew, by the road that
scoring takes: the champion with its own joins and features as of each flight's prediction time,
over the rows that the data contract calls valid. Nothing is written to the lake.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakescore.config.settings import Settings
    from lakescore.config.workload import Workload
    from lakescore.workflows.scoring_model import ScoringModel

FIRST_DAY = "2013-11-01"


def champion_scores(
    spark: SparkSession, settings: Settings, workload: Workload, champion: ScoringModel
) -> DataFrame:
    """One row a valid flight since `FIRST_DAY`: its key and `p_late`."""
    from lakescore.lake.contract import CONTRACT_COLUMNS, is_valid, with_reasons
    from lakescore.lake.tables import Lake
    from lakescore.workflows.pins import pin_tables
    from lakescore.workflows.predict import Output, columns_in_use, predict

    source, contexts = workload.source, champion.contexts(workload)
    pins = pin_tables(spark, Lake(settings.lake), source, contexts)
    used = columns_in_use(champion, source.key) or ()
    flights = pins.source.read(spark).where(f"flight_date >= DATE'{FIRST_DAY}'")
    in_use = [name for name in used if name in flights.columns]
    judged = with_reasons(flights, source, in_use=in_use)
    return predict(
        judged.where(is_valid()).drop(*CONTRACT_COLUMNS),
        champion,
        source=source,
        contexts=contexts,
        frames=pins.frames(spark),
        output=Output(keep=source.key, key=source.key, column="p_late"),
        scoring=settings.scoring,
    )


def main(argv: list[str] | None = None) -> None:
    from lakescore.config.loader import load_settings, load_workload
    from lakescore.session import spark_session
    from lakescore.workflows.as_of import on_day
    from lakescore.workflows.scoring_model import scoring_model

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="CSV to write: flight_id, p_late")
    parser.add_argument("--conf", type=Path, default=Path("conf"), help="configuration folder")
    options = parser.parse_args(argv)
    settings = load_settings(options.conf, "local")
    workload = on_day(load_workload(options.conf, "flight_delays"))
    spark = spark_session(settings, "champion scores")
    with scoring_model(settings, workload) as champion:
        scored = champion_scores(spark, settings, workload, champion).toPandas()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    scored.to_csv(options.out, index=False)
    print(f"{options.out}: {len(scored)} flights scored by version {champion.version}")


if __name__ == "__main__":
    main()
