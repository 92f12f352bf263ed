import pytest
from builders import ask, cluster, node, pod

from cybernetes.core.scheduling.interface import Status, unschedulable
from cybernetes.core.scheduling.profile import Profile, ProfileError


class OddNodes:
    """A user's plugin: refuses nodes whose names end in an even digit, and likes those that end in 5."""

    name = "OddNodes"

    def filter(self, cycle: object, node: object) -> Status | None:
        return unschedulable("node(s) were even") if int(node.name[-1]) % 2 == 0 else None

    def score(self, cycle: object, node: object) -> int:
        return 100 if node.name.endswith("5") else 0


PLUGINS = {"OddNodes": lambda args, handle: OddNodes()}


def multi(enabled: list[dict], disabled: list[str] | None = None) -> dict:
    return {"plugins": {"multiPoint": {"enabled": enabled, "disabled": [{"name": name} for name in disabled or []]}}}


def at(scheduler: object, point: str) -> list[str]:
    return [plugin.name for plugin in scheduler.framework.points[point]]


def test_default_profile_is_kube_schedulers() -> None:
    scheduler = cluster([])
    assert at(scheduler, "filter")[:6] == [
        "NodeUnschedulable",
        "NodeName",
        "TaintToleration",
        "NodeAffinity",
        "NodePorts",
        "NodeResourcesFit",
    ]
    weights = {plugin.name: scheduler.framework.weights[plugin.name] for plugin in scheduler.framework.points["score"]}
    assert weights["TaintToleration"] == 3
    assert weights["NodeAffinity"] == weights["PodTopologySpread"] == weights["InterPodAffinity"] == 2
    assert weights["NodeResourcesFit"] == weights["ImageLocality"] == 1


def test_a_plugin_of_ones_own() -> None:
    nodes = [node(f"n{i}") for i in range(6)]
    scheduler = cluster(nodes, profile=multi([{"name": "OddNodes", "weight": 9}]), plugins=PLUGINS)
    verdict = ask(scheduler, pod())
    assert verdict.fits == ["n1", "n3", "n5"]
    assert verdict.refused["n0"] == ("node(s) were even",)
    assert verdict.score("OddNodes") == {"n1": 0, "n3": 0, "n5": 900}
    assert scheduler.schedule(pod()).node == "n5"


def test_disabling_everything_leaves_what_is_enabled() -> None:
    enabled = [{"name": name} for name in ("PrioritySort", "NodeResourcesFit", "DefaultBinder")]
    scheduler = cluster([node("n", unschedulable=True)], profile=multi(enabled, ["*"]))
    assert at(scheduler, "filter") == ["NodeResourcesFit"]
    assert scheduler.schedule(pod()).node == "n"


def test_an_extension_point_overrides_and_adds() -> None:
    profile = {
        "plugins": {
            "score": {"enabled": [{"name": "ImageLocality", "weight": 7}], "disabled": [{"name": "NodeAffinity"}]},
            "filter": {"disabled": [{"name": "TaintToleration"}]},
        }
    }
    scheduler = cluster([], profile=profile)
    assert scheduler.framework.weights["ImageLocality"] == 7
    assert at(scheduler, "score")[0] == "ImageLocality"  # overrides come first
    assert "NodeAffinity" not in at(scheduler, "score")
    assert "NodeAffinity" in at(scheduler, "filter")
    assert "TaintToleration" not in at(scheduler, "filter")


def test_a_weight_may_change_where_the_plugin_stays() -> None:
    scheduler = cluster([], profile=multi([{"name": "NodeAffinity", "weight": 50}]))
    assert scheduler.framework.weights["NodeAffinity"] == 50
    assert at(scheduler, "filter") == at(cluster([]), "filter")


@pytest.mark.parametrize(
    ("profile", "error"),
    [
        (multi([{"name": "NoSuchPlugin"}]), 'profile "default-scheduler": plugin "NoSuchPlugin" does not exist'),
        ({"plugins": {"filters": {}}}, "plugins: unknown extension point filters"),
        ({"plugins": {"bind": {"enabled": [{"name": "NodeName"}]}}}, "plugin NodeName does not extend bind"),
        (multi([], ["PrioritySort"]), "only one queue sort plugin can be enabled, not 0"),
        (multi([], ["DefaultBinder"]), "at least one bind plugin is needed"),
        (multi([{"weight": 1}]), r"plugins\.multiPoint\.enabled\[0\]\.name: Required value"),
        (multi([{"name": "NodeName", "weight": -1}]), "weight: Invalid value: -1"),
        (multi([{"name": "NodeName"}, {"name": "NodeName"}]), "plugin NodeName is already registered"),
        ({"pluginConfig": [{"args": {}}]}, r"pluginConfig\[0\]\.name: Required value"),
        ({"pluginConfig": [{"name": "A"}, {"name": "A"}]}, r"pluginConfig\[1\]: Duplicate value: A"),
    ],
)
def test_what_a_profile_gets_wrong(profile: dict, error: str) -> None:
    with pytest.raises(ProfileError, match=error):
        cluster([], profile=profile)


def test_the_profile_of_a_configuration_file() -> None:
    profile = Profile.from_object(
        {"schedulerName": "mine", "pluginConfig": [{"name": "NodeAffinity", "args": {"a": 1}}]}
    )
    assert profile.scheduler_name == "mine"
    assert profile.args == {"NodeAffinity": {"a": 1}}
