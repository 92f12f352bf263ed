from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from cybernetes.services.kubelet.server.stats import resource_metrics

SUMMARY = {
    "node": {"nodeName": "n", "cpu": {"usageCoreNanoSeconds": 5_000_000_000}, "memory": {"workingSetBytes": 7}},
    "pods": [
        {
            "podRef": {"namespace": "ns", "name": "p", "uid": "u"},
            "cpu": {"usageCoreNanoSeconds": 1_500_000_000},
            "containers": [
                {"name": "c", "startTime": "2026-01-01T00:00:00Z", "memory": {"workingSetBytes": 3}},
                {"name": "d"},
            ],
        }
    ],
}


def test_a_scraper_reads_the_summary() -> None:
    families = list(text_string_to_metric_families(resource_metrics(SUMMARY).decode()))
    found = {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}
    pod = (("namespace", "ns"), ("pod", "p"))
    container = (("container", "c"), *pod)
    assert found == {
        ("node_cpu_usage_seconds_total", ()): 5.0,
        ("node_memory_working_set_bytes", ()): 7.0,
        ("pod_cpu_usage_seconds_total", pod): 1.5,
        ("container_memory_working_set_bytes", container): 3.0,
        ("container_start_time_seconds", container): 1767225600.0,
        ("resource_scrape_error", ()): 0.0,
    }
    assert {family.name: family.type for family in families}["node_cpu_usage_seconds"] == "counter"
