"""Controllers whose steps are few: the manager dies before any one of its writes, and the end is the same.

Each scenario is played once without harm. Then it is played again for every write, with a crash before that one, and
for some seeds with lost requests, conflicts, crashes and repeated events all the way. What is there at the end may
differ in names, times and revisions only.
"""

from __future__ import annotations

import re

import pytest
from test_certificate_requests import SETTINGS, Reviewed, csr
from test_disruption import budget, deployment
from test_nodes import Cluster as Nodes
from test_nodes import pod as plain_pod
from test_service_accounts import account, issue, secret
from test_service_addresses import balancer
from test_services import pod as served_pod
from test_services import service
from world import World, run_pod

from cybernetes.core import errors
from cybernetes.core.clock import Random
from cybernetes.core.controllers.certificate_requests import CsrApproving, CsrCleaner, CsrSigning
from cybernetes.core.controllers.cluster_role_aggregation import ClusterRoleAggregation
from cybernetes.core.controllers.deployment import Deployments
from cybernetes.core.controllers.disruption import Disruptions
from cybernetes.core.controllers.endpoints import Endpoints
from cybernetes.core.controllers.endpointslice import EndpointSlices
from cybernetes.core.controllers.endpointslice_mirroring import EndpointSliceMirroring
from cybernetes.core.controllers.interface import Settings
from cybernetes.core.controllers.node_ipam import NodeIpam
from cybernetes.core.controllers.node_ttl import NodeTtl
from cybernetes.core.controllers.pod_gc import PodGarbageCollector
from cybernetes.core.controllers.replicaset import replica_sets
from cybernetes.core.controllers.resource_quota import ResourceQuotas
from cybernetes.core.controllers.service_account import RootCaPublisher, ServiceAccounts
from cybernetes.core.controllers.service_account_tokens import ServiceAccountTokens
from cybernetes.core.controllers.service_cidr import ServiceCidrs
from cybernetes.core.controllers.service_lb import LoadBalancers
from cybernetes.core.objects import (
    CERTIFICATE_SIGNING_REQUESTS,
    CLUSTER_ROLES,
    CONFIG_MAPS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    IP_ADDRESSES,
    LEASES,
    NAMESPACES,
    NODES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    RESOURCE_QUOTAS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICE_CIDRS,
    SERVICES,
    Gvr,
)

_TIME = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+Z")
_OF_ONE_RUN = (
    "kubernetes.io/service-account.uid",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "managedFields",
)


def bare(value, key=""):
    """Without what differs from run to run."""
    if isinstance(value, dict):
        return {name: bare(each, name) for name, each in value.items() if name not in _OF_ONE_RUN}
    if isinstance(value, list):
        return [bare(each) for each in value]
    if isinstance(value, str):
        return "" if key in ("certificate", "request") else _TIME.sub("T", value)
    return value


class Scenario:
    compared = ()

    def outcome(self, world):
        """What there is at the end, in a form that two good ends share."""
        return {gvr.resource: sorted((bare(obj) for obj in world.all(gvr)), key=repr) for gvr in self.compared}


class Services(Scenario):
    """Endpoints of a Service whose pods come, change and go; those of a Service without a selector; addresses."""

    compared = (ENDPOINTS,)

    def outcome(self, world):
        """Which slice an endpoint is in, and who has which address of the pool, depends on who came first."""
        slices = [
            (one["metadata"]["labels"]["kubernetes.io/service-name"], bare(one["ports"]), bare(endpoint))
            for one in world.all(ENDPOINT_SLICES)
            for endpoint in one["endpoints"]
        ]
        given = [
            entry["ip"]
            for one in world.all(SERVICES)
            for entry in one.get("status", {}).get("loadBalancer", {}).get("ingress") or ()
        ]
        return {**super().outcome(world), "slices": sorted(slices, key=repr), "addresses": sorted(given)}

    def world(self, seed):
        makers = (Endpoints, lambda: EndpointSlices(3), EndpointSliceMirroring, lambda: LoadBalancers(("10.9.0.0/30",)))
        return World(*makers, seed=seed)

    def play(self, world):
        for name, zone in (("n1", "east"), ("n2", "west")):
            world.create(NODES, {"metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone}}})
        world.create(SERVICES, service())
        for number in range(5):
            made = world.create(PODS, served_pod(f"p{number}"))
            run_pod(world, made, ready=number != 2, node=f"n{number % 2 + 1}", address=f"10.244.0.{number}")
        own = {"metadata": {"name": "own", "namespace": "default"}}
        world.create(SERVICES, {**service("own"), **own, "spec": {"ports": [{"port": 80}], "clusterIP": "10.96.0.2"}})
        subset = {"addresses": [{"ip": "192.0.2.1"}, {"ip": "192.0.2.2"}], "ports": [{"port": 80, "protocol": "TCP"}]}
        world.create(ENDPOINTS, {**own, "subsets": [subset]})
        for name in ("a", "b", "c"):
            world.create(SERVICES, balancer(name))
        world.pass_time(60)
        world.drop(PODS, world.read(PODS, "p1"))
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        world.change(PODS, "p2", {"status": ready}, subresource="status")
        world.change(SERVICES, "web", {"spec": {"ports": [{"port": 80, "targetPort": 8081, "protocol": "TCP"}]}})
        world.change(ENDPOINTS, "own", {"subsets": [{**subset, "addresses": [{"ip": "192.0.2.3"}]}]})
        world.drop(SERVICES, world.read(SERVICES, "a"))
        world.pass_time(60)


class SilentNodes(Scenario):
    """One node of three falls silent, another is removed; pods on them; ranges of addresses."""

    compared = (PODS,)

    def outcome(self, world):
        """Which range a node has depends on who came first; no two have the same."""
        nodes = sorted((bare(one) for one in world.all(NODES)), key=repr)
        ranges = [one["spec"].pop("podCIDR") for one in nodes]
        assert len(set(ranges)) == len(ranges)
        for one in nodes:
            del one["spec"]["podCIDRs"]
            one["spec"].get("taints", []).sort(key=repr)
        return {**super().outcome(world), "nodes": nodes}

    def world(self, seed):
        settings = Settings(cluster_cidrs=("10.244.0.0/22",))
        nodes = Nodes(lambda: PodGarbageCollector(12500), lambda: NodeIpam(settings), NodeTtl)
        nodes.random = Random(seed)
        return nodes

    def play(self, world):
        for name in ("n1", "n2", "n3"):
            world.add_node(name, "z")
            made = world.create(PODS, plain_pod(f"on-{name}"))
            run_pod(world, made, node=name, address="10.244.0.9")
        world.run(30)
        world.alive["n2"] = False
        world.run(200)
        world.alive.pop("n3")
        world.drop(NODES, world.read(NODES, "n3", ""))
        world.drop(LEASES, world.read(LEASES, "n3", "kube-node-lease"))
        world.run(400)
        for pod in world.all(PODS):  # what the kubelets that live do
            if "deletionTimestamp" in pod["metadata"] and pod["spec"].get("nodeName") != "n2":
                world.drop(PODS, pod)


class Accounts(Scenario):
    """What namespaces get; Secrets with tokens; roles made of others."""

    compared = (SERVICE_ACCOUNTS, CONFIG_MAPS, SECRETS, CLUSTER_ROLES)

    def world(self, seed):
        makers = (ServiceAccounts, lambda: RootCaPublisher("ca"), lambda: ServiceAccountTokens(issue, "ca"))
        return World(*makers, ClusterRoleAggregation, seed=seed)

    def play(self, world):
        for name in ("default", "other"):
            world.create(NAMESPACES, {"metadata": {"name": name}, "status": {"phase": "Active"}})
        for owner in ("robot", "gone"):
            world.create(SERVICE_ACCOUNTS, account(owner))
            world.create(SECRETS, secret(f"of-{owner}", owner))
        rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
        world.create(CLUSTER_ROLES, {"metadata": {"name": "part", "labels": {"to": "sum"}}, "rules": rules})
        selector = {"clusterRoleSelectors": [{"matchLabels": {"to": "sum"}}]}
        world.create(CLUSTER_ROLES, {"metadata": {"name": "sum"}, "aggregationRule": selector, "rules": []})
        world.pass_time(60)
        world.drop(SERVICE_ACCOUNTS, world.read(SERVICE_ACCOUNTS, "gone"))
        world.drop(SERVICE_ACCOUNTS, world.read(SERVICE_ACCOUNTS, "default", "other"))
        world.change(CONFIG_MAPS, "kube-root-ca.crt", {"data": {"ca.crt": "spoilt"}})
        world.change(CLUSTER_ROLES, "part", {"rules": [*rules, {**rules[0], "resources": ["services"]}]}, "")
        world.pass_time(60)


class Budgets(Scenario):
    """A Deployment with a budget and a quota, grown and shrunk."""

    compared = (DEPLOYMENTS, POD_DISRUPTION_BUDGETS, RESOURCE_QUOTAS)

    def world(self, seed):
        widgets = (Gvr("example.com", "v1", "widgets"), "Widget", True)
        makers = (Deployments, replica_sets, lambda: Disruptions(lambda: [widgets]))
        return World(*makers, lambda: ResourceQuotas(lambda: [(PODS, "Pod", True)]), seed=seed)

    def play(self, world):
        world.create(POD_DISRUPTION_BUDGETS, budget(minAvailable="50%"))
        hard = {"spec": {"hard": {"pods": "9"}}}
        world.create(RESOURCE_QUOTAS, {"metadata": {"name": "q", "namespace": "default"}, **hard})
        world.create(DEPLOYMENTS, deployment(4))
        self._run(world)
        world.change(DEPLOYMENTS, "web", {"spec": {"replicas": 3}})
        self._run(world)

    @staticmethod
    def _run(world):
        for _ in range(20):
            world.pass_time(30)
            for pod in world.all(PODS):
                if "deletionTimestamp" in pod["metadata"]:
                    world.drop(PODS, pod)
                elif not pod["spec"].get("nodeName"):
                    run_pod(world, pod)


class Certificates(Scenario):
    """A request that is approved and signed, and one that nobody answers."""

    compared = (CERTIFICATE_SIGNING_REQUESTS,)

    def world(self, seed):
        world = Reviewed(CsrApproving, lambda: CsrSigning(SETTINGS), CsrCleaner)
        world.random, world.allowed = Random(seed), ("nodeclient",)
        return world

    def play(self, world):
        world.create(CERTIFICATE_SIGNING_REQUESTS, csr())
        other = csr("example.com/somebody")
        other["metadata"]["name"] = "unanswered"
        world.create(CERTIFICATE_SIGNING_REQUESTS, other)
        world.pass_time(1800)
        world.pass_time(30 * 3600)


class Ranges(Scenario):
    """ServiceCIDRs that are used, and one that is to go."""

    compared = (SERVICE_CIDRS,)

    def world(self, seed):
        return World(ServiceCidrs, seed=seed)

    def play(self, world):
        for name, cidr in (("kubernetes", "10.96.0.0/16"), ("more", "10.97.0.0/16")):
            world.create(SERVICE_CIDRS, {"metadata": {"name": name}, "spec": {"cidrs": [cidr]}})
        world.create(IP_ADDRESSES, {"metadata": {"name": "10.97.0.5"}, "spec": {}})
        world.pass_time(60)
        world.delete(SERVICE_CIDRS, world.read(SERVICE_CIDRS, "more", ""))
        world.pass_time(60)
        world.drop(IP_ADDRESSES, world.read(IP_ADDRESSES, "10.97.0.5", ""))
        world.pass_time(60)


SCENARIOS = [Services, SilentNodes, Accounts, Budgets, Certificates, Ranges]


def play(scenario, seed=1, prepare=lambda world: None):
    world = scenario.world(seed)
    prepare(world)
    scenario.play(world)
    return world


@pytest.mark.parametrize("make", SCENARIOS)
def test_a_crash_before_any_write_ends_the_same(make):
    scenario = make()
    straight = play(scenario)
    expected = scenario.outcome(straight)
    total = len(straight.writes)
    assert total >= 3
    for fatal in range(total):
        left = [fatal]

        def crash(action, left=left):
            left[0] -= 1
            return left[0] == -1

        world = play(scenario, prepare=lambda world, crash=crash: setattr(world, "crash", crash))
        assert left[0] < 0
        assert scenario.outcome(world) == expected, f"crash before write {fatal}: {straight.writes[fatal]}"


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("make", SCENARIOS)
def test_faults_on_the_way_end_the_same(make, seed):
    scenario = make()
    expected = scenario.outcome(play(scenario))

    def prepare(world):
        def refuse(action):
            chance = world.random.below(100)
            if chance < 8:
                raise ConnectionError("lost")
            if chance < 16:
                raise errors.conflict("", "things", "x")

        def again(gvr, old, new):
            if new is not None and world.random.below(10) == 0:  # the event comes twice
                world.observers.remove(again)
                world.changed(gvr, new, new)
                world.observers.append(again)

        world.refuse = refuse
        world.crash = lambda action: world.random.below(100) < 4
        world.observers.append(again)

    assert scenario.outcome(play(scenario, seed, prepare)) == expected
