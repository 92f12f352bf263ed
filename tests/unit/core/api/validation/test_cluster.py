import base64

import pytest
import samples
from apiobjects import changed, matches, refusals, status_refusals, update_refusals
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cybernetes.core.api import strategies
from cybernetes.core.api.validation import flowcontrol

kind, RBAC = samples.kind, samples.RBAC
SCHEMA = "spec.versions.0.schema.openAPIV3Schema"
ROOT = "spec.validation.openAPIV3Schema"


@pytest.mark.parametrize(
    ("sample", "changes", "expected"),
    [
        (
            samples.INGRESS,
            {"spec.rules.0.host": "1.2.3.4"},
            ['spec.rules[0].host: Invalid value: "1.2.3.4": must be a DNS name, not an IP address'],
        ),
        (
            samples.INGRESS,
            {"spec.rules.0.http.paths.0.path": "x//y"},
            [
                'spec.rules[0].http.paths[0].path: Invalid value: "x//y": must be an absolute path',
                "spec.rules[0].http.paths[0].path: Invalid value: \"x//y\": must not contain '//'",
            ],
        ),
        (
            samples.INGRESS,
            {"spec.rules.0.http.paths.0.backend": {}},
            ['spec.rules[0].http.paths[0].backend: Invalid value: "": resource or service backend is required'],
        ),
        (
            samples.INGRESS,
            {"spec": {}},
            ["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"],
        ),
        (
            kind("networking.k8s.io/v1", "IngressClass", spec={"controller": "x"}),
            {},
            ['spec.controller: Invalid value: "x": must be a domain-prefixed path (such as "acme.io/foo")'],
        ),
        (
            samples.NETWORK_POLICY,
            {
                "spec.ingress": [
                    {
                        "from": [{}, {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}],
                        "ports": [{"port": 90000}, {"endPort": 3}, {"protocol": "ICMP"}],
                    }
                ]
            },
            [
                "spec.ingress[0].ports[0].port: Invalid value: 90000: must be between 1 and 65535, inclusive",
                "spec.ingress[0].ports[1].endPort: Invalid value: 3: may not be specified when `port` is not specified",
                'spec.ingress[0].ports[2].protocol: Unsupported value: "ICMP": supported values: "TCP", "UDP", "SCTP"',
                "spec.ingress[0].from[0]: Required value: must specify a peer",
                'spec.ingress[0].from[1].ipBlock.except[0]: Invalid value: "11.0.0.0/16": must be a strict subset of'
                " `cidr`",
            ],
        ),
        (
            {**kind("networking.k8s.io/v1", "IPAddress", spec={}), "metadata": {"name": "10.0.0.01"}},
            {},
            [
                'metadata.name: Invalid value: "10.0.0.01": must not have leading 0s',
                "spec.parentRef: Required value",
            ],
        ),
        (
            kind("networking.k8s.io/v1", "ServiceCIDR", spec={"cidrs": ["10.0.0.0/8", "11.0.0.0/8"]}),
            {},
            ['spec.cidrs: Invalid value: ["10.0.0.0/8","11.0.0.0/8"]: may specify no more than one IP for each…'],
        ),
        (
            kind("policy/v1", "PodDisruptionBudget", spec={"minAvailable": 1, "maxUnavailable": "200%"}),
            {},
            [
                'spec: Invalid value: {"minAvailable":1,"maxUnavailable":"200%"}: minAvailable and maxUnavailable'
                " cannot be both set",
                'spec.maxUnavailable: Invalid value: "200%": must not be greater than 100%',
            ],
        ),
        (
            samples.AUTOSCALER,
            {"spec.minReplicas": 0},
            [
                "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1",
                "spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to"
                " zero replicas",
            ],
        ),
        (
            samples.AUTOSCALER,
            {"spec.scaleTargetRef.apiVersion": None},
            ['spec.scaleTargetRef.apiVersion: Invalid value: "": apiVersion must specify API group'],
        ),
        (
            samples.AUTOSCALER,
            {"spec.metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}}]},
            [
                "spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value"
                " or a target utilization"
            ],
        ),
        (
            kind(RBAC, "Role", rules=[{"verbs": []}, {"nonResourceURLs": ["/x"], "verbs": ["get"]}]),
            {},
            [
                "rules[0].verbs: Required value: verbs must contain at least one value",
                "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
                "rules[0].resources: Required value: resource rules must supply at least one resource",
                'rules[1].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs',
            ],
        ),
        (
            samples.CLUSTER_ROLE_BINDING,
            {"subjects": [{"kind": "ServiceAccount", "name": "x"}, {"kind": "Y", "name": "z"}], "roleRef.kind": "Role"},
            [
                'roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"',
                "subjects[0].namespace: Required value",
                'subjects[1].kind: Unsupported value: "Y": supported values: "ServiceAccount", "User", "Group"',
            ],
        ),
        (
            kind("storage.k8s.io/v1", "StorageClass", reclaimPolicy="X"),
            {},
            [
                "provisioner: Required value",
                'reclaimPolicy: Unsupported value: "X": supported values: "Delete", "Retain"',
            ],
        ),
        (
            kind("storage.k8s.io/v1", "CSINode", spec={"drivers": [{"name": "d", "topologyKeys": ["a", "a"]}]}),
            {},
            ["spec.drivers[0].nodeID: Required value", 'spec.drivers[0]: Duplicate value: "a"'],
        ),
        (
            kind("scheduling.k8s.io/v1", "PriorityClass", value=2_000_000_000),
            {},
            ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"],
        ),
        (
            kind("scheduling.k8s.io/v1", "PriorityClass", value=1),
            {"metadata.name": "system-x"},
            [
                "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only."
                " error: system-x is not a known system priority class"
            ],
        ),
        (
            kind("coordination.k8s.io/v1", "Lease", spec={"leaseDurationSeconds": 0}),
            {},
            ["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"],
        ),
        (
            samples.DEFINITION,
            {f"{SCHEMA}.properties.spec.type": None},
            [f"{ROOT}.properties[spec].type: Required value: must not be empty for specified object fields"],
        ),
        (
            samples.DEFINITION,
            {f"{SCHEMA}.properties.spec.properties.x": {"type": "array"}},
            [f"{ROOT}.properties[spec].properties[x].items: Required value: must be specified"],
        ),
        (
            samples.DEFINITION,
            {f"{SCHEMA}.properties.spec.anyOf": [{"properties": {"y": {"type": "string"}}}]},
            [
                f"{ROOT}.properties[spec].anyOf[0].properties[y].type: Forbidden: must be empty to be structural",
            ],
        ),
        (
            samples.DEFINITION,
            {f"{SCHEMA}.properties.metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}},
            [
                f"{ROOT}.properties[metadata]: Forbidden: must not specify anything other than name and generateName,"
                " but metadata is implicitly specified"
            ],
        ),
        (
            samples.DEFINITION,
            {"metadata.name": "x"},
            ['metadata.name: Invalid value: "x": must be spec.names.plural+"."+spec.group'],
        ),
        (
            samples.DEFINITION,
            {"spec.conversion": {"strategy": "Webhook"}},
            [
                "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
                "spec.conversion.conversionReviewVersions: Required value",
            ],
        ),
        (
            samples.DEFINITION,
            {"spec.group": "foo.k8s.io", "metadata.name": "foos.foo.k8s.io"},
            ["metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval…"],
        ),
        (
            samples.WEBHOOKS,
            {"webhooks.0.sideEffects": "Some", "webhooks.0.timeoutSeconds": 40},
            [
                'webhooks[0].sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"',
                "webhooks[0].timeoutSeconds: Invalid value: 40: the timeout value must be between 1 and 30 seconds",
            ],
        ),
        (
            samples.WEBHOOKS,
            {"webhooks.0.clientConfig": {"url": "http://u@x/?q#f"}},
            [
                "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; …",
                'webhooks[0].clientConfig.url: Invalid value: "u": user information is not permitted in the URL',
                'webhooks[0].clientConfig.url: Invalid value: "f": fragments are not permitted in the URL',
                'webhooks[0].clientConfig.url: Invalid value: "q": query parameters are not permitted in the URL',
            ],
        ),
        (
            samples.VALIDATING_POLICY,
            {"spec.variables": [{"name": "if", "expression": "1"}], "spec.validations": []},
            [
                'spec.variables[0].name: Invalid value: "if": must be a valid CEL identifier',
                "spec.validations: Required value: validations or auditAnnotations must contain at least one item",
                "spec.auditAnnotations: Required value: validations or auditAnnotations must contain at least one item",
            ],
        ),
        (
            samples.API_SERVICE,
            {"spec.group": "y"},
            ['metadata.name: Invalid value: "v1.example.com": must be `spec.version+"."+spec.group`: "v1.y"'],
        ),
        (
            samples.RESOURCE_CLAIM,
            {"spec.devices.requests.0": {"name": "a"}, "spec.devices.constraints": [{"matchAttribute": "x"}]},
            [
                "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required",
                'spec.devices.constraints[0].matchAttribute: Invalid value: "x": a fully qualified name must be a…',
            ],
        ),
        (
            samples.RESOURCE_SLICE,
            {"spec.devices.0.attributes": {"b/c": {"version": "1"}}, "spec.allNodes": True},
            [
                'spec: Invalid value: "{`nodeName`, `allNodes`}": exactly one of `nodeName`, `nodeSelector`, …',
                'spec.devices[0].attributes[b/c].version: Invalid value: "1": must be a string compatible with…',
            ],
        ),
    ],
)
def test_refused(sample, changes, expected):
    matches(refusals(changed(sample, changes)), expected)


def test_a_role_reference_stays():
    other = changed(samples.CLUSTER_ROLE_BINDING, {"roleRef.name": "y"})
    (text,) = update_refusals(other, samples.CLUSTER_ROLE_BINDING)
    assert text.startswith("roleRef: Invalid value: {")
    assert text.endswith("cannot change roleRef")


@pytest.mark.parametrize("name", ["exempt", "catch-all"])
def test_what_flow_control_needs_stays_as_it_is(name):
    api = "flowcontrol.apiserver.k8s.io/v1"
    level = {**kind(api, "PriorityLevelConfiguration", spec=flowcontrol.MANDATORY_LEVELS[name])}
    schema = {**kind(api, "FlowSchema", spec=flowcontrol.MANDATORY_SCHEMAS[name])}
    for sample in (level, schema):
        own = changed(sample, {"metadata.name": name})
        assert refusals(own) == []
    assert refusals(changed(schema, {"metadata.name": name, "spec.matchingPrecedence": 7}))


def test_versions_with_different_schemas_have_paths_of_their_own():
    other = {**samples.DEFINITION["spec"]["versions"][0], "name": "v2", "storage": False}
    other = changed(other, {"schema.openAPIV3Schema.properties.spec.type": None})
    both = changed(samples.DEFINITION, {"spec.versions": [*samples.DEFINITION["spec"]["versions"], other]})
    matches(
        refusals(both),
        ["spec.versions[1].schema.openAPIV3Schema.properties[spec].type: Required value: must not be empty…"],
    )


@pytest.fixture(scope="module")
def request_object():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    signed = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    text = base64.b64encode(signed.public_bytes(serialization.Encoding.PEM)).decode()
    spec = {"request": text, "signerName": "example.com/s", "usages": ["client auth"]}
    return kind("certificates.k8s.io/v1", "CertificateSigningRequest", spec=spec)


def test_signing_requests(request_object):
    assert refusals(request_object) == []
    matches(
        refusals(changed(request_object, {"spec.request": "YWJj", "spec.usages": ["x", "x"]})),
        [
            'spec.request: Invalid value: "YWJj": PEM block type must be CERTIFICATE REQUEST',
            'spec.usages[0]: Unsupported value: "x": supported values: "any", "cert sign", …',
            'spec.usages[1]: Unsupported value: "x": supported values: "any", "cert sign", …',
            'spec.usages[1]: Duplicate value: "x"',
        ],
    )
    matches(
        refusals(changed(request_object, {"spec.signerName": "a/b"})),
        ['spec.signerName: Invalid value: "a": should be a domain with at least two segments separated by dots'],
    )


def test_only_the_approval_of_a_request_decides_and_only_its_status_issues(request_object):
    approved = {"conditions": [{"type": "Approved", "status": "True"}]}
    decided = changed(request_object, {"status": approved})
    assert status_refusals(decided, request_object) == [
        'status.conditions: Forbidden: updates may not add a condition of type "Approved"'
    ]
    part = strategies.PARTS[("certificates.k8s.io", "certificatesigningrequests", "approval")]
    assert part.check(decided, request_object) == []
    denied = {"conditions": [*approved["conditions"], {"type": "Denied", "status": "True"}]}
    (error,) = part.check(changed(request_object, {"status": denied}), decided)
    assert error.message == 'Invalid value: "Denied": Approved and Denied conditions are mutually exclusive'
