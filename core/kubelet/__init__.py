"""What the kubelet decides: a pod's next step, its phase and conditions, environment, probes, admission. No I/O."""
