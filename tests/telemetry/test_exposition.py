"""Readings become the text that Prometheus reads, and nothing undeclared gets out."""

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from watcherd.telemetry.exposition import exposition
from watcherd.telemetry.metrics import METRICS, Distribution, MetricKind, Reading


def samples(*readings: Reading) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text, _ = exposition(readings)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name.startswith("watcherd_")
    }


def test_a_counter_keeps_its_name_and_labels() -> None:
    made = samples(Reading(name="watcherd_attempts_total", labels=("rejected", "too_large"), value=3))
    assert made == {("watcherd_attempts_total", (("outcome", "rejected"), ("reason", "too_large"))): 3}


def test_a_histogram_adds_up_from_class_to_class() -> None:
    value = Distribution(bounds=(0.1, 1.0), counts=(2, 3, 4), sum_s=12.5)
    made = samples(Reading(name="watcherd_attempt_seconds", value=value))
    assert made == {
        ("watcherd_attempt_seconds_bucket", (("le", "0.1"),)): 2,
        ("watcherd_attempt_seconds_bucket", (("le", "1.0"),)): 5,
        ("watcherd_attempt_seconds_bucket", (("le", "+Inf"),)): 9,
        ("watcherd_attempt_seconds_count", ()): 9,
        ("watcherd_attempt_seconds_sum", ()): 12.5,
    }


def test_an_info_is_1_with_its_labels() -> None:
    made = samples(Reading(name="watcherd_build_info", labels=("1.0", "3.13", "13.0", "3.2")))
    labels = (("pillow", "13.0"), ("python", "3.13"), ("pyvips", "3.2"), ("version", "1.0"))
    assert made == {("watcherd_build_info", labels): 1}


@pytest.mark.parametrize(
    "reading",
    [
        Reading(name="watcherd_invented_total"),
        Reading(name="watcherd_attempts_total", labels=("rejected",)),
        Reading(name="watcherd_attempt_seconds", labels=("decode",)),
    ],
)
def test_what_is_not_declared_does_not_get_out(reading: Reading) -> None:
    with pytest.raises(ValueError, match="not declared"):
        exposition([reading])


def test_openmetrics_is_given_to_whom_asks_for_it() -> None:
    text, content_type = exposition([], accept="application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")


def test_the_daemons_own_process_is_told() -> None:
    text, _ = exposition([])
    assert b"\nprocess_cpu_seconds_total " in text


def test_names_and_labels_follow_the_conventions() -> None:
    for metric in METRICS.values():
        assert re.fullmatch(r"watcherd_[a-z]+(_[a-z]+)*", metric.name)
        assert metric.name.endswith("_total") == (metric.kind is MetricKind.COUNTER)
        assert metric.name.endswith("_info") == (metric.kind is MetricKind.INFO)
        assert metric.meaning.endswith(".")
        assert not {"path", "source", "file", "le", "quantile"} & set(metric.labels)
