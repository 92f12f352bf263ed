from cybernetes.core.admission.registry import PLUGINS

ORDER = """
    NamespaceLifecycle LimitRanger ServiceAccount NodeRestriction TaintNodesByCondition PodSecurity Priority
    DefaultTolerationSeconds DefaultStorageClass StorageObjectInUseProtection PersistentVolumeClaimResize RuntimeClass
    CertificateApproval CertificateSigning CertificateSubjectRestriction DefaultIngressClass PodTopologyLabels
    PodResizeValidator ResourceQuota
"""


def test_plugins_are_in_upstreams_order():
    assert [type(plugin).__name__ for plugin in PLUGINS] == ORDER.split()


def test_every_plugin_takes_part():
    for plugin in PLUGINS:
        assert any(hasattr(plugin, part) for part in ("admit", "validate", "charge"))
