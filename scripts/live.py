#!/usr/bin/env python3
"""Prints the messages of a live session, one a line: a WebSocket client in plain Python.

    scripts/live.py http://127.0.0.1:8080/api/events/?types=demo:* [COUNT]
"""
import base64
import os
import socket
import struct
import sys
from urllib.parse import urlsplit


def exactly(stream, size):
    data = stream.read(size)
    if len(data) < size:
        sys.exit("the hub closed the connection")
    return data


def frame(opcode, data):
    """A final frame, masked as a client's must be."""
    mask = os.urandom(4)
    masked = bytes(b ^ mask[i % 4] for i, b in enumerate(data))
    return bytes([0x80 | opcode, 0x80 | len(data)]) + mask + masked


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    url = urlsplit(sys.argv[1])
    left = int(sys.argv[2]) if len(sys.argv) > 2 else -1
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    connection = socket.create_connection((url.hostname, url.port or 80))
    key = base64.b64encode(os.urandom(16)).decode()
    connection.sendall(
        f"GET {path} HTTP/1.1\r\nHost: {url.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    stream = connection.makefile("rb")
    status = stream.readline().decode().strip()
    if " 101 " not in status + " ":
        sys.exit(f"no live session: {status}")
    while stream.readline().strip():
        pass
    print(f"connected to {sys.argv[1]}", file=sys.stderr, flush=True)
    message = b""
    while left:
        first, length = exactly(stream, 2)
        if length == 126:
            (length,) = struct.unpack(">H", exactly(stream, 2))
        elif length == 127:
            (length,) = struct.unpack(">Q", exactly(stream, 8))
        data, opcode = exactly(stream, length), first & 0x0F
        if opcode == 8:
            sys.exit("the hub ended the session")
        if opcode == 9:
            connection.sendall(frame(10, data))
        if opcode in (0, 1):
            message += data
            if first & 0x80:
                print(message.decode(), flush=True)
                message, left = b"", left - 1


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
    except OSError as error:
        sys.exit(f"no live session: {error}")
