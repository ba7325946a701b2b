"""PROXY headers as HAProxy writes them, heard by a listener behind it, in front of what a real ssh says first. Where HAProxy is not
installed ($HAPROXY or the PATH), its seeds stay as they are."""
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time

HELLO = b"SSH-2.0-"
ADDRESSES = {"tcp4": ("127.0.0.1", socket.AF_INET), "tcp6": ("::1", socket.AF_INET6)}
# The notes of version 2 are what it puts behind the addresses.
WAYS = {
    "v1": "send-proxy",
    "v2": "send-proxy-v2",
    "v2-noted": "send-proxy-v2 proxy-v2-options crc32c,unique-id",
}


def port_of(address, family):
    with socket.create_server((address, 0), family=family) as free:
        return free.getsockname()[1]


def heard(listener):
    """What comes first on a connection: up to ssh's own first words, or, of a health check, all of it."""
    peer, _ = listener.accept()
    data = b""
    with peer, contextlib.suppress(TimeoutError, ConnectionResetError):
        peer.settimeout(2)
        while more := peer.recv(65536):
            data += more
            if b"\r\n" in data.partition(HELLO)[2]:
                break
    at = data.find(b"\r\n", data.find(HELLO)) if HELLO in data else len(data)
    return data[: at + 2]


def record(temp, seed):
    program = os.environ.get("HAPROXY") or shutil.which("haproxy")
    if not program:
        print("HAProxy is not installed: the seeds of its headers stay as they are", file=sys.stderr)
        return
    for name, (address, family) in ADDRESSES.items():
        for way, words in WAYS.items():
            seed(f"haproxy-{way}-{name}", through(temp, program, address, family, words, "ssh"))
    # Its own connection, which is nobody's.
    for way, words in [("v1", "send-proxy"), ("v2", "send-proxy-v2")]:
        checks = words + " check check-send-proxy inter 200"
        seed(f"haproxy-{way}-check", through(temp, program, *ADDRESSES["tcp4"], checks, "check"))
        # A client without an address.
        seed(f"haproxy-{way}-unknown", through(temp, program, *ADDRESSES["tcp4"], words, "local"))


def through(temp, program, address, family, words, client):
    with socket.create_server((address, 0), family=family) as behind:
        behind.settimeout(30)
        front, bracketed = port_of(address, family), f"[{address}]" if ":" in address else address
        config = temp / "haproxy.cfg"
        config.write_text(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 20s\n timeout server 20s\n"
            f"frontend in\n bind {bracketed}:{front}\n bind unix@{temp}/local\n unique-id-format %[uuid()]\n unique-id-header X\n default_backend out\n"
            f"backend out\n server one {bracketed}:{behind.getsockname()[1]} {words}\n"
        )
        balancer = subprocess.Popen([program, "-db", "-f", str(config)], stderr=subprocess.DEVNULL)
        try:
            if client == "check":
                return heard(behind)
            for _ in range(100):
                with contextlib.suppress(OSError), socket.create_connection((address, front)):
                    break
                time.sleep(0.1)
            # The knock.
            heard(behind)
            if client == "local":
                with socket.socket(socket.AF_UNIX) as local:
                    local.connect(str(temp / "local"))
                    return heard(behind)
            ssh = subprocess.Popen(["ssh", "-F", "none", "-p", str(front), address], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                return heard(behind)
            finally:
                ssh.kill()
                ssh.wait()
        finally:
            balancer.kill()
            balancer.wait()
