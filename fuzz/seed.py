#!/usr/bin/env python3
"""Makes the seed corpora from real traffic: what pullgate's own command sends to the control socket, what git's and
ssh-keygen's own output looks like, a journal that a real registry wrote. Usage: fuzz/seed.py PULLGATE [TARGET…], of all targets
or of those that are named. No private key is kept."""
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile

import balancers
import v0

program = os.path.abspath(sys.argv[1])
targets = sys.argv[2:]
fuzz = pathlib.Path(__file__).resolve().parent


def seed(target, name, data):
    if targets and target not in targets:
        return
    folder = fuzz / "seeds" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())


with tempfile.TemporaryDirectory() as temp:
    temp = pathlib.Path(temp)

    def run(*args, check=True):
        return subprocess.run(args, cwd=temp, check=check, capture_output=True)

    def pullgate(*args, check=True):
        return run(program, "--config", str(temp / "config.toml"), *args, check=check)

    run(program, "init", str(temp))
    keys = []
    for kind, bits in [("ed25519", None), ("ecdsa", "256"), ("ecdsa", "521"), ("rsa", "3072")]:
        name = kind + (bits or "")
        run("ssh-keygen", "-q", "-N", "", "-C", "seed", "-t", kind, *(["-b", bits] if bits else []), "-f", name)
        keys.append(name)
        seed("public_key", name, (temp / (name + ".pub")).read_bytes())
        for form in ["RFC4716", "PKCS8", "PEM"]:
            out = run("ssh-keygen", "-e", "-m", form, "-f", name + ".pub", check=False).stdout
            if out:
                seed("public_key", name + "." + form, out)

    commands = [
        ["account", "add", "acme"],
        ["account", "list"],
        *[["key", "add", "acme", key, "--key", key + ".pub", "--grant", "acme/app", "--expires", "90d"] for key in keys],
        ["key", "list", "acme"],
        ["key", "grant", "acme/rsa3072", "acme/*"],
        ["key", "show", "acme/ed25519"],
        ["key", "rename", "acme/ed25519", "other"],
        ["repo", "publish", "acme/app"],
        ["whereis", "ed25519.pub"],
        ["key", "remove", "acme/other"],
    ]
    for command in commands:
        pullgate(*command, check=False)
    journal = next((temp / "state/registry").glob("*journal*")).read_bytes()
    seed("journal", "real", journal)
    # The same, as the target for what is behind the checksums takes it: the changes of each entry, one a line.
    entries = []
    for frame in journal.split(bytes.fromhex("f5c09eff"))[1:]:
        entries += [json.loads(line) for line in frame[8 : 8 + int.from_bytes(frame[:4], "little")].splitlines()]
    seed("journal_entries", "real", "\n".join(json.dumps(entry["changes"], separators=(",", ":")) for entry in entries))
    seed("apply_file", "real", pullgate("export").stdout)

    path = str(temp / "state/control.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    listener.settimeout(5)
    for n, command in enumerate(commands):
        child = subprocess.Popen([program, "--config", str(temp / "config.toml"), *command], cwd=temp,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        data = b""
        # It asks first whether anybody is there, and hangs up.
        while not data:
            try:
                peer, _ = listener.accept()
            except TimeoutError:
                # A command that found out by itself.
                break
            peer.settimeout(10)
            data = peer.recv(4)
            while 4 <= len(data) < 4 + int.from_bytes(data[:4], "big"):
                data += peer.recv(65536)
            peer.close()
        child.kill()
        child.wait()
        if data:
            seed("control_frame", f"{n:02}-" + "-".join(command[:2]), data)

    # What git and its like hand to ssh as the command, seen by a program in ssh's place.
    spy = temp / "spy"
    spy.write_text('#!/bin/sh\nfor last; do :; done\nprintf %s "$last" > "$SPY"\nprintf %s "$GIT_PROTOCOL" > "$SPY.env"\nexit 1\n')
    spy.chmod(0o755)
    urls = ["ssh://git@host/acme/app.git", "git@host:acme/app", "ssh://git@host/~acme/it's", "git@host:a b/c!d"]
    for n, url in enumerate(urls):
        for verb in [["ls-remote", url], ["archive", "--remote=" + url, "HEAD"], ["clone", "-u", "git upload-pack", url, "x"]]:
            said = temp / "said"
            for version in "012":
                env = dict(os.environ, GIT_SSH=str(spy), SPY=str(said), GIT_SSH_VARIANT="ssh")
                subprocess.run(["git", "-c", "protocol.version=" + version, *verb], cwd=temp, env=env, capture_output=True)
                if not said.exists():
                    continue
                seed("exec_line", f"{n}-{verb[0]}", said.read_bytes())
                quoted = said.read_bytes().split(b" ", 1)[-1].strip(b"'")
                seed("repo_path", f"{n}-{verb[0]}", quoted)
                sent = (temp / "said.env").read_bytes()
                if sent:
                    seed("protocol_env", sent.decode().replace("=", ""), sent)
                said.unlink()

    # What git says to a server that speaks protocol version 2, heard by a program between the two.
    ear = temp / "ear"
    ear.write_text('#!/bin/sh\nfor last; do :; done\ntee -a "$SAID" | eval "$last"\n')
    ear.chmod(0o755)
    env = dict(os.environ, GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL="/dev/null", GIT_SSH=str(ear), GIT_SSH_VARIANT="ssh")
    who = {f"GIT_{role}_{what}": "seed@localhost" for role in ["AUTHOR", "COMMITTER"] for what in ["NAME", "EMAIL"]}

    def git(*args, input=None, **more):
        return subprocess.run(["git", *args], cwd=temp, env={**env, **who, **more}, input=input, check=True, capture_output=True)

    git("init", "-q", "-b", "main", "served")
    git("-C", "served", "config", "uploadpack.allowFilter", "true")
    for n in range(3):
        (temp / "served/file").write_text(str(n))
        git("-C", "served", "add", ".")
        git("-C", "served", "commit", "-qm", str(n))
    git("-C", "served", "tag", "-m", "first", "v1", "HEAD~1")
    url = f"ssh://git@host{temp}/served"
    asks = {
        "clone": [["clone", "-q", "--bare", url, "clone"]],
        "shallow": [["clone", "-q", "--bare", "--depth", "1", url, "shallow"], ["-C", "shallow", "fetch", "-q", "--unshallow"]],
        "filter": [["clone", "-q", "--bare", "--filter=blob:none", url, "filter"]],
        "ls-remote": [["ls-remote", url]],
        "since": [["clone", "-q", "--bare", "--shallow-since=2001-01-01", url, "since"]],
    }
    for name, commands in asks.items():
        heard = temp / ("heard-" + name)
        for command in commands:
            git("-c", "protocol.version=2", *command, SAID=str(heard), GIT_PROTOCOL="version=2")
        data = heard.read_bytes()
        seed("v2_stream", name, b"\xff" + data)
        lines, rest, found = [], data, []
        while rest:
            length = int(rest[:4], 16)
            if length == 0:
                found, lines = found + [lines], []
            else:
                lines.append(rest[4:length].rstrip(b"\n") if length > 4 else b"")
            rest = rest[max(length, 4) :]
        for n, request in enumerate(found):
            if request:
                seed("v2_request", f"{name}-{n}", b"\n".join(request))
            if b"command=ls-refs" in request:
                seed("polls_ask", f"{name}-{n}", b"\n".join(request))
                framed = b"".join(b"%04x%s\n" % (len(line) + 5, line) if line else b"0001" for line in request)
                seed("polls_ask", f"{name}-{n}-bytes", framed + b"0000")

    if not targets or "v0_clone" in targets:
        v0.record(temp, git, lambda name, data: seed("v0_clone", name, data))

    # What git lists, and questions about it.
    def listed(*arguments):
        ask = ["command=ls-refs", "object-format=sha1", "", *arguments]
        said = "".join(f"{len(line) + 5:04x}{line}\n" if line else "0001" for line in ask) + "0000"
        out = subprocess.run(["git", "upload-pack", "--stateless-rpc", "served"], cwd=temp, input=said.encode(),
                             env={**env, "GIT_PROTOCOL": "version=2"}, check=True, capture_output=True).stdout
        lines = []
        while out[:4] != b"0000":
            length = int(out[:4], 16)
            lines, out = lines + [out[4:length].rstrip(b"\n")], out[length:]
        return b"\n".join(lines)

    git("-C", "served", "symbolic-ref", "refs/heads/alias", "refs/heads/main")
    every = ["peel", "symrefs", "unborn"]
    seed("polls_list", "all", listed(*every) + b"\n\npsu")
    seed("polls_list", "plain", listed(*every) + b"\n\n")
    seed("polls_list", "heads", listed(*every) + b"\n\nps\nrefs/heads/\nHEAD")
    seed("polls_list", "tags-twice", listed(*every) + b"\n\np\nrefs/tags/\nrefs/t\nrefs/heads/m")
    git("-C", "served", "symbolic-ref", "HEAD", "refs/heads/not-yet")
    seed("polls_list", "unborn", listed(*every) + b"\n\nsu\nHEAD")
    seed("polls_list", "unborn-not-asked", listed(*every) + b"\n\ns\nHEAD\nrefs")

    if not targets or "proxy_header" in targets:
        balancers.record(temp, lambda name, data: seed("proxy_header", name, data))
    seed("config", "example", (fuzz.parent / "config.example.toml").read_bytes())
