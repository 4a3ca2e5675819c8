#!/usr/bin/env python3
"""Listen on port 22 and hand each client to sshd, but only after a while: a login node that is overloaded."""

import os
import signal
import socket
import sys
import time


def main() -> None:
    """Serve each client in a process of its own."""
    seconds, *options = sys.argv[1:]
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    log = os.dup(2)
    with socket.create_server(("", 22)) as server:
        while True:
            client, _ = server.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                time.sleep(float(seconds))
                os.dup2(client.fileno(), 0)
                os.dup2(client.fileno(), 1)
                os.dup2(log, 2)
                os.execv("/usr/sbin/sshd", ["/usr/sbin/sshd", "-i", "-e", *options])
            client.close()


if __name__ == "__main__":
    main()
