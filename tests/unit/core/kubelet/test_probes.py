import pytest

from cybernetes.core.kubelet.probes import ProbeKind, ProbeState, ResultTable


def state(kind, table=None, **probe):
    made = ProbeState(kind, "c", probe, table if table is not None else ResultTable())
    made.attach("1")
    return made


@pytest.mark.parametrize(
    ("kind", "initial"), [(ProbeKind.LIVENESS, True), (ProbeKind.READINESS, False), (ProbeKind.STARTUP, None)]
)
def test_what_is_believed_at_first(kind, initial):
    table = ResultTable()
    state(kind, table)
    assert table.knows(kind, "1") and not table.knows(kind, "2")
    assert {"Liveness": table.liveness, "Readiness": table.readiness, "Startup": table.startup}[kind.value](
        "1"
    ) is initial


def test_only_a_row_as_long_as_the_threshold_counts():
    probe = state(ProbeKind.READINESS, failureThreshold=2, successThreshold=2)
    assert [probe.record(answer) for answer in (True, False, True, True)] == [False, False, False, True]
    assert [probe.record(answer) for answer in (False, True, False, False)] == [False, False, False, True]
    assert probe.table.readiness("1") is False


def test_a_failed_liveness_probe_rests_until_there_is_a_new_container():
    probe = state(ProbeKind.LIVENESS, failureThreshold=1)
    running = {"is_running": True, "is_started": True, "is_deleting": False}
    assert probe.is_wanted(**running)
    assert probe.record(False) and probe.on_hold and not probe.is_wanted(**running)
    assert probe.attach("2") and probe.is_wanted(**running)
    assert probe.table.liveness("2") is True and not probe.table.knows(ProbeKind.LIVENESS, "1")


def test_startup_ends_with_its_first_result():
    probe = state(ProbeKind.STARTUP, failureThreshold=3)
    assert probe.is_wanted(is_running=True, is_started=False, is_deleting=False)
    assert not probe.is_wanted(is_running=True, is_started=True, is_deleting=False)
    assert probe.record(True) and probe.on_hold and probe.table.startup("1") is True
    probe.attach("2")
    assert [probe.record(False) for _ in range(3)] == [False, False, True]
    assert probe.table.startup("2") is False


@pytest.mark.parametrize("kind", [ProbeKind.LIVENESS, ProbeKind.READINESS])
def test_others_wait_for_startup(kind):
    probe = state(kind)
    assert not probe.is_wanted(is_running=True, is_started=False, is_deleting=False)
    assert not probe.is_wanted(is_running=False, is_started=True, is_deleting=False)


def test_a_pod_that_ends_is_probed_for_readiness_only():
    ending = {"is_running": True, "is_started": True, "is_deleting": True}
    assert state(ProbeKind.READINESS).is_wanted(**ending)
    assert not state(ProbeKind.LIVENESS).is_wanted(**ending)


def test_an_adopted_container_keeps_what_was_known():
    table = ResultTable()
    readiness = ProbeState(ProbeKind.READINESS, "c", {}, table)
    readiness.attach("1", True, is_known=True)
    assert table.readiness("1") is True
    startup = ProbeState(ProbeKind.STARTUP, "c", {}, table)
    startup.attach("1", True, is_known=True)
    assert table.startup("1") is True and startup.on_hold


def test_times():
    probe = state(ProbeKind.READINESS, initialDelaySeconds=5, periodSeconds=3)
    assert probe.period_s == 3 and probe.timeout_s == 1
    assert probe.delay_s(100.0, 102.0) == 3.0 and probe.delay_s(100.0, 200.0) == 0.0


def test_a_stopped_container_has_failed():
    probe = state(ProbeKind.READINESS)
    probe.record(True)
    assert probe.stopped() and probe.table.readiness("1") is False
    assert not probe.stopped()
