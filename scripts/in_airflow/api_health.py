"""Exit 0 if the API server answers and says that it reaches the database: a probe that Docker runs every few seconds.

It speaks HTTP over a plain socket: importing an HTTP client would cost more than the question.
"""

import json
import socket
import sys


def main() -> int:
    """Ask, and say in one line what is wrong."""
    try:
        with socket.create_connection(("127.0.0.1", 8080), timeout=5) as connection:
            connection.sendall(b"GET /api/v2/monitor/health HTTP/1.0\r\nHost: localhost\r\n\r\n")
            answer = b""
            while part := connection.recv(65536):
                answer += part
        _, _, body = answer.partition(b"\r\n\r\n")
        # The status line says 200 either way; the body tells.
        database = json.loads(body)["metadatabase"]["status"]
    except (OSError, ValueError, KeyError) as error:
        print(f"api-server: no answer ({error})")  # noqa: T201
        return 1
    print(f"api-server: database {database}")  # noqa: T201
    return 0 if database == "healthy" else 1


if __name__ == "__main__":
    sys.exit(main())
