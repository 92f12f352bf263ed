"""The pytest plugin, in pytest runs of its own."""

from importlib.metadata import entry_points

import pytest

pytest_plugins = ["pytester"]

PLUGIN = "cybernetes.services.testing.plugin"
DEPLOYMENT = """
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "x"}]},
        },
    },
}
"""


@pytest.fixture
def run(pytester):
    def run(source, *arguments):
        pytester.makepyfile(DEPLOYMENT + source)
        pytester.makeini(
            "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\ncybernetes_nodes = 2"
        )
        is_installed = entry_points(group="pytest11", name="cybernetes")
        plugin = () if is_installed else ("-p", PLUGIN)
        return pytester.runpytest_subprocess(*plugin, *arguments)

    return run


def test_synchronous_and_asynchronous_tests_share_the_cluster(run):
    result = run(
        """
        from cybernetes.core.objects import PODS

        def test_sync(cluster, namespace):
            cluster.apply({**DEPLOYMENT, "metadata": {"name": "web", "namespace": namespace}})
            cluster.settle()
            assert [pod["status"]["phase"] for pod in cluster.api.list(PODS, namespace).items] == ["Running"] * 2
            test_sync.namespace = namespace

        async def test_async(cluster, namespace):
            assert (await cluster.api.list(PODS, test_sync.namespace)).items == []
            await cluster.apply({**DEPLOYMENT, "metadata": {"name": "web", "namespace": namespace}})
            await cluster.settle()
            assert len((await cluster.api.list(PODS, namespace)).items) == 2

        def test_everything_was_deleted(cluster):
            assert cluster.api.list(PODS).items == []
        """.replace("\n        ", "\n")
    )
    result.assert_outcomes(passed=3)


def test_fresh_clusters_are_forks_with_time_of_their_own(run):
    result = run(
        """
        from cybernetes.core.objects import CONFIG_MAPS, NODES, PODS

        async def test_async(cluster, fresh_cluster):
            await fresh_cluster.apply(DEPLOYMENT)
            await fresh_cluster.advance(days=1)
            assert len((await fresh_cluster.api.list(PODS)).items) == 2
            assert (await cluster.api.list(PODS)).items == []

        def test_sync(cluster, fresh_cluster):
            fresh_cluster.apply(DEPLOYMENT)
            fresh_cluster.settle()
            assert len(fresh_cluster.api.list(PODS).items) == 2
            assert len(fresh_cluster.api.list(NODES).items) == 2
            assert cluster.api.list(PODS).items == []
        """.replace("\n        ", "\n")
    )
    result.assert_outcomes(passed=2)


def test_the_kubeconfig_leads_to_the_cluster(run):
    result = run(
        """
        import kubernetes

        def test_nodes(kubeconfig):
            client = kubernetes.config.new_client_from_config(str(kubeconfig))
            nodes = kubernetes.client.CoreV1Api(client).list_node().items
            assert [node.metadata.name for node in nodes] == ["node-0", "node-1"]
        """.replace("\n        ", "\n")
    )
    result.assert_outcomes(passed=1)


def test_a_failure_shows_what_happened(run):
    result = run(
        """
        async def test_it(fresh_cluster):
            big = {"requests": {"cpu": "1000"}}
            DEPLOYMENT["spec"]["template"]["spec"]["containers"][0]["resources"] = big
            await fresh_cluster.apply(DEPLOYMENT)
            await fresh_cluster.settle()
            assert False
        """.replace("\n        ", "\n")
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*what happened in the cluster*",
            "*FailedScheduling pod default/web-*: 0/2 nodes are available: 2 Insufficient cpu*",
            "*created deployments/default/web",
        ]
    )


def test_it_works_under_xdist(run):
    result = run(
        """
        import pytest
        from cybernetes.core.objects import CONFIG_MAPS

        @pytest.mark.parametrize("number", range(4))
        def test_it(cluster, namespace, number):
            body = {"metadata": {"name": "c"}}
            cluster.api.create(CONFIG_MAPS, body, namespace)
        """.replace("\n        ", "\n"),
        "-n",
        "2",
    )
    result.assert_outcomes(passed=4)
