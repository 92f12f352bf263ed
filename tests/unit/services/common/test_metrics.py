from __future__ import annotations

import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cybernetes.services.common.metrics import Metrics, process_metrics


def parsed(metrics: Metrics) -> dict[str, object]:
    return {family.name: family for family in text_string_to_metric_families(metrics.text().decode())}


def test_a_scraper_reads_what_was_counted() -> None:
    metrics = Metrics()
    counter = metrics.counter("requests_total", 'Requests, "quoted"\nand more.', ("verb", "path"))
    counter.add("GET", 'a"b\\c\nd')
    counter.add("GET", 'a"b\\c\nd', amount=2.5)
    metrics.gauge("depth", "Depth.", lambda: [(("x",), 3), (("y",), 0.5)], ("queue",))
    families = parsed(metrics)
    sample = families["requests"].samples[0]
    assert (sample.labels, sample.value) == ({"verb": "GET", "path": 'a"b\\c\nd'}, 3.5)
    assert {each.labels["queue"]: each.value for each in families["depth"].samples} == {"x": 3.0, "y": 0.5}


def test_histograms_are_cumulative() -> None:
    metrics = Metrics()
    histogram = metrics.histogram("seconds", "Time.", ("verb",), bounds=(0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7):
        histogram.observe(value, "get")
    samples = {(each.name, each.labels.get("le")): each.value for each in parsed(metrics)["seconds"].samples}
    assert samples["seconds_bucket", "0.1"] == 2
    assert samples["seconds_bucket", "1.0"] == 3
    assert samples["seconds_bucket", "+Inf"] == samples["seconds_count", None] == 4
    assert samples["seconds_sum", None] == pytest.approx(7.65)
    assert histogram.count("get") == 4 and histogram.count("put") == 0


def test_labels_are_expanded_when_the_text_is_made() -> None:
    metrics = Metrics()
    counter = metrics.counter("c_total", "C.", ("a", "b"), lambda key: (str(key[0]), key[1].upper()))
    counter.add(5, "x")
    assert parsed(metrics)["c"].samples[0].labels == {"a": "5", "b": "X"}
    assert counter.get(5, "x") == 1


def test_a_name_is_used_once() -> None:
    metrics = Metrics()
    metrics.counter("a", "")
    with pytest.raises(ValueError, match="there is a metric a already"):
        metrics.counter("a", "")


def test_what_the_process_uses() -> None:
    metrics = Metrics()
    process_metrics(metrics)
    families = parsed(metrics)
    assert families["process_resident_memory_bytes"].samples[0].value > 1e6
    assert families["process_open_fds"].samples[0].value >= 3
    assert families["process_cpu_seconds"].type == "counter"
    assert families["process_start_time_seconds"].samples[0].value > 1e9


def test_what_is_read_and_only_grows_is_announced_as_a_counter() -> None:
    metrics = Metrics()
    metrics.gauge("adds_total", "Adds.", lambda: [((), 3)])
    assert b"# TYPE adds_total counter\nadds_total 3.0\n" in metrics.text()


def test_the_text_is_of_now() -> None:
    metrics = Metrics()
    counter = metrics.counter("c_total", "C.")
    for expected in (1.0, 2.0):
        counter.add()
        assert parsed(metrics)["c"].samples[0].value == expected


def test_nothing_is_imported_to_count() -> None:
    code = (
        "import sys; from cybernetes.services.common.metrics import Metrics; Metrics().counter('a_total', '').add();"
        "assert 'prometheus_client' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
