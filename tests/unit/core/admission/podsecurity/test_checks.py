import pytest

from cybernetes.core.admission.podsecurity.checks import Finding, findings

SAFE_CONTEXT = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def container(name="a", /, **context):
    return {"name": name, "securityContext": context}


def safe(name="a", /, **context):
    return container(name, **{**SAFE_CONTEXT, **context})


def probing(name, **handlers):
    return {"name": name, **handlers}


def asked(level, spec, minor=None, annotations=None):
    return findings(level, minor, {"annotations": annotations or {}}, spec)


APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
SECCOMP = "seccomp.security.alpha.kubernetes.io/pod"


@pytest.mark.parametrize(
    ("spec", "reason", "detail"),
    [
        (
            {"securityContext": {"appArmorProfile": {"type": "Unconfined"}}, "containers": [container()]},
            "forbidden AppArmor profile",
            'pod must not set AppArmor profile type to "Unconfined"',
        ),
        (
            {
                "initContainers": [container("i", capabilities={"add": ["FOO", "KILL"]})],
                "containers": [container("a", capabilities={"add": ["BAR"]}), container("b")],
            },
            "non-default capabilities",
            'containers "i", "a" must not include "BAR", "FOO" in securityContext.capabilities.add',
        ),
        (
            {"hostNetwork": True, "hostPID": True, "hostIPC": False},
            "host namespaces",
            "hostNetwork=true, hostPID=true",
        ),
        (
            {"volumes": [{"name": "a", "hostPath": {"path": "/"}}, {"name": "b", "emptyDir": {}}]},
            "hostPath volumes",
            'volume "a"',
        ),
        (
            {"containers": [{"name": "a", "ports": [{"hostPort": 20}, {"hostPort": 100}, {"containerPort": 1}]}]},
            "hostPort",
            'container "a" uses hostPorts 100, 20',
        ),
        (
            {
                "containers": [
                    probing("b", livenessProbe={"httpGet": {"host": "x"}}, readinessProbe={"httpGet": {"port": 1}}),
                    probing("a", lifecycle={"preStop": {"tcpSocket": {"host": "x"}}, "postStart": None}),
                    probing("c", startupProbe={"tcpSocket": {"host": ""}}),
                ]
            },
            "probe or lifecycle host",
            'containers "a", "b" use probe or lifecycle host "x"',
        ),
        (
            {"ephemeralContainers": [container("d", privileged=True)], "containers": [container(privileged=False)]},
            "privileged",
            'container "d" must not set securityContext.privileged=true',
        ),
        (
            {"containers": [container("a", procMount="Unmasked"), container("b", procMount="Default")]},
            "procMount",
            'container "a" must not set securityContext.procMount to "Unmasked"',
        ),
        (
            {
                "securityContext": {"seLinuxOptions": {"type": "foo"}},
                "containers": [
                    container("a", seLinuxOptions={"type": "bar", "role": "r"}),
                    container("b", seLinuxOptions={"user": "u"}),
                    container("c", seLinuxOptions={"type": "container_engine_t", "level": "s0"}),
                ],
            },
            "seLinuxOptions",
            'pod and containers "a", "b" set forbidden securityContext.seLinuxOptions: types "bar", "foo"; '
            "user may not be set; role may not be set",
        ),
        (
            {
                "securityContext": {"seccompProfile": {"type": "Unconfined"}},
                "containers": [container(seccompProfile={"type": "Unconfined"})],
            },
            "seccompProfile",
            'pod and container "a" must not set securityContext.seccompProfile.type to "Unconfined"',
        ),
        (
            {"securityContext": {"sysctls": [{"name": "a"}, {"name": "net.ipv4.tcp_rmem"}, {"name": "b"}]}},
            "forbidden sysctls",
            "a, b",
        ),
        (
            {"containers": [container(windowsOptions={"hostProcess": True})]},
            "hostProcess",
            'container "a" must not set securityContext.windowsOptions.hostProcess=true',
        ),
    ],
)
def test_baseline(spec, reason, detail):
    assert asked("baseline", spec) == [Finding(reason, detail)]
    assert asked("privileged", spec) == []
    assert len(asked("restricted", spec)) >= 1


@pytest.mark.parametrize(
    ("spec", "reason", "detail"),
    [
        (
            {"containers": [safe("a", allowPrivilegeEscalation=None), safe("b", allowPrivilegeEscalation=True)]},
            "allowPrivilegeEscalation != false",
            'containers "a", "b" must set securityContext.allowPrivilegeEscalation=false',
        ),
        (
            {
                "containers": [
                    safe("a", capabilities={"drop": ["KILL"], "add": ["NET_BIND_SERVICE"]}),
                    safe("b", capabilities={"drop": ["ALL"], "add": ["CHOWN"]}),
                ]
            },
            "unrestricted capabilities",
            'container "a" must set securityContext.capabilities.drop=["ALL"]; '
            'container "b" must not include "CHOWN" in securityContext.capabilities.add',
        ),
        (
            {"containers": [safe()], "volumes": [{"name": "v", "hostPath": {}}, {"name": "w", "nfs": {}}]},
            "restricted volume types",
            'volumes "v", "w" use restricted volume types "hostPath", "nfs"',
        ),
        ({"containers": [safe()], "volumes": [{"name": "v", "new": {}}]}, "restricted volume types", None),
        (
            {"containers": [safe("a", runAsNonRoot=None), safe("b")]},
            "runAsNonRoot != true",
            'pod or container "a" must set securityContext.runAsNonRoot=true',
        ),
        (
            {"securityContext": {"runAsNonRoot": True}, "containers": [safe("a", runAsNonRoot=False)]},
            "runAsNonRoot != true",
            'container "a" must not set securityContext.runAsNonRoot=false',
        ),
        (
            {"securityContext": {"runAsUser": 0}, "containers": [safe("a", runAsUser=0), safe("b", runAsUser=1)]},
            "runAsUser=0",
            'pod and container "a" must not set runAsUser=0',
        ),
        (
            {"containers": [safe("a", seccompProfile=None)]},
            "seccompProfile",
            'pod or container "a" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"',
        ),
        (
            {"containers": [safe("a", seccompProfile={"type": "Unconfined"})]},
            "seccompProfile",
            'container "a" must not set securityContext.seccompProfile.type to "Unconfined"',
        ),
        (
            {"hostUsers": False, "containers": [safe(procMount="Unmasked")]},
            "procMount",
            'container "a" must not set securityContext.procMount to "Unmasked"',
        ),
    ],
)
def test_restricted(spec, reason, detail):
    (found,) = asked("restricted", spec)
    assert (found.reason, found.detail if detail else None) == (reason, detail)


@pytest.mark.parametrize(
    "spec",
    [
        {"containers": [safe()], "volumes": [{"name": "v", "projected": {}}, {"name": "w", "image": {}}]},
        {
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "Localhost"}},
            "containers": [safe(runAsNonRoot=None, seccompProfile=None)],
        },
        {"os": {"name": "windows"}, "containers": [{"name": "a", "securityContext": {"runAsNonRoot": True}}]},
        {"hostUsers": False, "containers": [safe(runAsNonRoot=False, runAsUser=0)]},
    ],
)
def test_restricted_lets_in(spec):
    assert asked("restricted", spec) == []


@pytest.mark.parametrize(
    ("level", "spec", "annotations", "since", "until"),
    [
        # Forbidden from one version until before another.
        ("restricted", {"containers": [safe(allowPrivilegeEscalation=True)]}, {}, 8, None),
        ("restricted", {"containers": [safe(capabilities={})]}, {}, 22, None),
        ("restricted", {"containers": [safe(runAsUser=0)]}, {}, 23, None),
        ("restricted", {"containers": [safe(seccompProfile=None)]}, {}, 19, None),
        ("restricted", {"hostUsers": False, "containers": [safe(runAsNonRoot=None)]}, {}, 0, 35),
        ("baseline", {"hostUsers": False, "containers": [container(procMount="x")]}, {}, 0, 35),
        ("baseline", {"containers": [probing("a", livenessProbe={"httpGet": {"host": "x"}})]}, {}, 34, None),
        ("baseline", {"containers": [container(seLinuxOptions={"type": "container_engine_t"})]}, {}, 0, 31),
        ("baseline", {"securityContext": {"sysctls": [{"name": "net.ipv4.ip_local_reserved_ports"}]}}, {}, 0, 27),
        ("baseline", {"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_fin_timeout"}]}}, {}, 0, 29),
        ("baseline", {"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_wmem"}]}}, {}, 0, 32),
        ("baseline", {"containers": [container(seccompProfile={"type": "Unconfined"})]}, {}, 19, None),
        ("baseline", {}, {SECCOMP: "unconfined"}, 0, 19),
        ("baseline", {"hostPID": True}, {}, 0, None),
    ],
)
def test_versions(level, spec, annotations, since, until):
    forbidden = [minor for minor in range(40) if asked(level, spec, minor, annotations)]
    assert forbidden == list(range(since, 40 if until is None else until))
    assert bool(asked(level, spec, None, annotations)) == (until is None)


def test_annotations():
    spec = {"containers": [container("a")]}
    annotations = {
        f"{APPARMOR}a": "unconfined",
        f"{APPARMOR}b": "runtime/default",
        f"{APPARMOR}c": "localhost/x",
        "other": "x",
    }
    assert asked("baseline", spec, None, annotations) == [
        Finding(
            "forbidden AppArmor profile",
            f'annotation must not set AppArmor profile type to "{APPARMOR}a="unconfined""',
        )
    ]
    old = {SECCOMP: "x", f"container.{SECCOMP[:-3]}a": "y", f"container.{SECCOMP[:-3]}b": "y"}
    assert asked("baseline", spec, 18, old) == [
        Finding(
            "seccompProfile",
            'forbidden annotations container.seccomp.security.alpha.kubernetes.io/a="y", '
            'seccomp.security.alpha.kubernetes.io/pod="x"',
        )
    ]
    for allowed in ("runtime/default", "docker/default", "localhost/x"):
        assert asked("baseline", spec, 18, {SECCOMP: allowed}) == []


def test_order():
    spec = {"hostPID": True, "containers": [container(privileged=True)]}
    assert [found.reason for found in asked("restricted", spec)] == [
        "host namespaces",
        "privileged",
        "allowPrivilegeEscalation != false",
        "unrestricted capabilities",
        "runAsNonRoot != true",
        "seccompProfile",
    ]
