"""The engine on etcd v3: ``store`` (the contract), ``address`` (URLs), ``link`` (calls), ``watching``, ``lost``."""
