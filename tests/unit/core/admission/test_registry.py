import pytest

from cybernetes.core.admission.registry import PLUGINS, select

ORDER = """
    NamespaceLifecycle LimitRanger ServiceAccount NodeRestriction TaintNodesByCondition PodSecurity Priority
    DefaultTolerationSeconds DefaultStorageClass StorageObjectInUseProtection PersistentVolumeClaimResize RuntimeClass
    CertificateApproval CertificateSigning CertificateSubjectRestriction DefaultIngressClass PodTopologyLabels
    DenyServiceExternalIPs PodResizeValidator ResourceQuota
"""


def test_plugins_are_in_upstreams_order():
    assert [type(plugin).__name__ for plugin in PLUGINS] == ORDER.split()


def test_every_plugin_takes_part():
    for plugin in PLUGINS:
        assert any(hasattr(plugin, part) for part in ("admit", "validate", "charge"))


def test_what_is_asked_for_takes_part():
    names = {plugin.name for plugin in select()}
    assert "DenyServiceExternalIPs" not in names
    assert {plugin.name for plugin in select(["DenyServiceExternalIPs"], ["LimitRanger"])} == (
        names | {"DenyServiceExternalIPs"}
    ) - {"LimitRanger"}
    assert [plugin.name for plugin in select(["DenyServiceExternalIPs"])] == ORDER.split()


@pytest.mark.parametrize(
    ("enabled", "disabled"), [(["Nonsense"], []), ([], ["Nonsense"]), (["Priority"], ["Priority"])]
)
def test_what_cannot_be_selected(enabled, disabled):
    with pytest.raises(ValueError, match=r"Nonsense is unknown|Priority in both"):
        select(enabled, disabled)
