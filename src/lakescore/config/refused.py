"""The SQL functions that an expression may not call, each with the reason. Everything else may."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Refusal:
    """Why a function is refused, and what to write instead."""

    reason: str
    hint: str | None = None


_CLOCK = Refusal("depends on when the run starts", "use a time column of the row")
_CHANCE = Refusal("gives another value each time it runs")
_WHO = Refusal("depends on who runs it and where")
_WHERE = Refusal("depends on how the rows lie in files and partitions")
_CODE = Refusal("runs code")
_REMOTE = Refusal("asks a service outside the lake")
_SECRET = Refusal("reads a secret", "secrets belong in conf/ as ${env:NAME}")
_AGGREGATE = Refusal(
    "is an aggregate: an expression sees one row", "declare a context with `aggregates`"
)
_WINDOW = Refusal(
    "looks at other rows: an expression sees one row", "declare a context with `latest`"
)
_GENERATOR = Refusal("makes several rows of one")
_ABORT = Refusal("stops the whole run on one bad row", "declare it under source.expectations")

_GROUPS: tuple[tuple[Refusal, str], ...] = (
    (
        _CLOCK,
        "now current_timestamp current_date curdate current_time localtimestamp getdate",
    ),
    (_CHANCE, "rand randn random uniform randstr uuid shuffle aes_encrypt"),
    (
        _WHO,
        """current_timezone current_user session_user user current_catalog current_database
        current_schema current_metastore current_recipient current_version version is_member
        is_account_group_member""",
    ),
    (
        _WHERE,
        """monotonically_increasing_id spark_partition_id input_file_name input_file_block_start
        input_file_block_length""",
    ),
    (_CODE, "java_method reflect try_reflect"),
    (
        _REMOTE,
        """ai_query vector_search http_request remote_query read_files read_kafka read_kinesis
        read_pubsub read_pulsar read_statestore read_state_metadata""",
    ),
    (_SECRET, "secret try_secret list_secrets"),
    (
        _AGGREGATE,
        """any any_value approx_count_distinct approx_percentile approx_top_k array_agg avg
        bit_and bit_or bit_xor bitmap_construct_agg bitmap_or_agg bitmap_and_agg bool_and bool_or
        collect_list collect_set corr count count_if count_min_sketch covar_pop covar_samp every
        first first_value grouping grouping_id grouping__id histogram_numeric hll_sketch_agg
        hll_union_agg kurtosis last last_value listagg max max_by mean median min min_by mode
        percentile percentile_approx percentile_cont percentile_disc product regr_avgx regr_avgy
        regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy schema_of_json_agg
        schema_of_variant_agg skewness some std stddev stddev_pop stddev_samp string_agg sum
        try_avg try_sum var_pop var_samp variance""",
    ),
    (
        _WINDOW,
        """cume_dist dense_rank lag lead nth_value ntile percent_rank rank row_number window
        session_window window_time""",
    ),
    (
        _GENERATOR,
        """explode explode_outer inline inline_outer json_tuple posexplode
        posexplode_outer range stack variant_explode variant_explode_outer""",
    ),
    (_ABORT, "assert_true raise_error"),
)

#: Function name (lower case) -> why it is refused.
REFUSED_FUNCTIONS: Mapping[str, Refusal] = {
    name: refusal for refusal, names in _GROUPS for name in names.split()
}

#: Those that are called without parentheses too.
REFUSED_WORDS = frozenset(
    {"current_date", "current_timestamp", "current_time", "current_user", "session_user", "user"}
    | {"current_catalog", "current_database", "grouping__id"}
)

#: Text that Spark reads as the clock when it becomes a date or a timestamp.
CLOCK_WORDS = frozenset({"now", "today", "yesterday", "tomorrow"})


def refusal(function: str) -> Refusal | None:
    """Why `function` is refused, or None."""
    name = function.lower()
    return _REMOTE if name.startswith("ai_") else REFUSED_FUNCTIONS.get(name)
