"""Ports for servers that tests stop and start again on the same one."""

import random
import socket

# Below those that the system gives to outgoing connections: while a server is down, one of these
# (a browser opens many) could take its port.
_LOW, _HIGH = 20_000, 32_000


def quiet_ports(n: int) -> list[int]:
    """Different ports that nobody listens on, and that no outgoing connection will take."""
    found: list[int] = []
    while len(found) < n:
        port = random.SystemRandom().randrange(_LOW, _HIGH)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found
