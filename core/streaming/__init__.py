"""The two wire protocols of exec, attach and port-forward, as codecs that never touch a socket."""
