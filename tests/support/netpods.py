"""Pods for tests of the network: a namespace each, where something says who it is and who asked."""

from __future__ import annotations

import os
import socket
import threading

from cybernetes.services.common import netns


class Pod:
    """Says its address and its client's, by TCP and UDP at port 8080."""

    def __init__(self) -> None:
        self.descriptor = netns.create_namespace()
        self.address = ""

    def start(self, address: str) -> None:
        self.address = address
        self.tcp, self.udp = netns.run_in(self.descriptor, self.open)
        threading.Thread(target=self.accept, daemon=True).start()
        threading.Thread(target=self.answer, daemon=True).start()

    def open(self) -> tuple[socket.socket, socket.socket]:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("0.0.0.0", 8080))
        return socket.create_server(("0.0.0.0", 8080), backlog=64), udp

    def accept(self) -> None:
        while True:
            try:
                client, peer = self.tcp.accept()
            except OSError:
                return
            client.sendall(f"{self.address} {peer[0]}".encode())
            client.close()

    def answer(self) -> None:
        while True:
            _, client = self.udp.recvfrom(1000)
            if client is None:
                return
            self.udp.sendto(f"{self.address} {client[0]}".encode(), client)

    def close(self) -> None:
        for opened in (self.tcp, self.udp):
            try:
                opened.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            opened.close()
        os.close(self.descriptor)


def ask(host: str, port: int = 80) -> list[str]:
    with socket.create_connection((host, port), timeout=5) as client:
        return client.recv(100).decode().split()
