"""What clients say to a server of protocol version 0 or 1, and what it told them before: heard by a program between the two.
git of each version that this machine has and dulwich (with a program in ssh's place), JGit and libgit2 (over git:// on the
loopback); one that is not installed is named, and its seeds stay as they are."""
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import threading

# Where `just interop-python` puts them.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "target/ci/python"))

EAR = """#!/bin/sh
for last; do :; done
heard=$(mktemp "$HEARD/$(date +%s%N)-XXXXXX")
tee "$heard.said" | eval "$last" | tee "$heard.told"
rm "$heard"
"""


def lines(data):
    """Each pkt-line without its end; `None` for a flush. What is no pkt-line any more (a pack) ends it."""
    found = []
    while len(data) >= 4:
        length = int(data[:4], 16)
        found.append(data[4:length].removesuffix(b"\n") if length > 4 else None)
        data = data[max(length, 4) :]
    return found


def written(found):
    """As the target reads them: one a line, a flush as an empty one."""
    return b"\n".join(line or b"" for line in found)


def heard_of(folder):
    """What was said and told on each connection, the oldest first."""
    for said in sorted(folder.glob("*.said")):
        yield said.read_bytes(), said.with_suffix(".told").read_bytes()


def record(temp, git, seed):
    ear = temp / "both"
    ear.write_text(EAR)
    ear.chmod(0o755)
    served, url = temp / "served", f"ssh://git@host{temp}/served"
    for name in ["allowTipSHA1InWant", "allowReachableSHA1InWant"]:
        git("-C", "served", "config", "uploadpack." + name, "true")

    def keep(name, said, told):
        """Each moment at which a server has heard something and has to judge: up to a flush, and all of it."""
        offered = lines(told)
        offered = written(offered[: offered.index(None)])
        words = lines(said)
        ends = [at for at, line in enumerate(words) if line is None and at + 1 < len(words)]
        for at in [*ends, len(words) - 1]:
            number = f"-{ends.index(at)}" if at in ends else ""
            seed(name + number, written(words[: at + 1]) + b"\n--\n" + offered)

    def heard(name, command, **environment):
        """Runs a command, and keeps what it said on each connection on which it asked for something."""
        folder = temp / ("heard-" + name)
        folder.mkdir()
        env = dict(os.environ, GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL="/dev/null", GIT_SSH=str(ear), GIT_SSH_VARIANT="ssh")
        env.update(environment, HEARD=str(folder))
        done = subprocess.run(command, cwd=temp, env=env, capture_output=True, timeout=120)
        assert done.returncode == 0, (name, done.stderr)
        asked = [(said, told) for said, told in heard_of(folder) if lines(said) and lines(told)]
        assert asked, name
        for said, told in asked:
            keep(name, said, told)
        return asked

    own = b"".join(b"commit refs/heads/own\ncommitter seed <seed@localhost> %d +0000\ndata 0\n" % n for n in range(40))
    tip = git("-C", "served", "rev-parse", "main~1").stdout.decode().strip()
    gits = {}
    for folder in ["/usr/bin", "/usr/local/bin", *os.environ["PATH"].split(":")]:
        program = os.path.join(folder, "git")
        if os.access(program, os.X_OK):
            gits.setdefault(subprocess.check_output([program, "--version"], text=True).split()[2], program)
    newest = max(gits, key=lambda version: [int(part) for part in version.split(".")[:2]])
    for version, program in gits.items():
        # Version 1 is version 0 with one line more in front of it: one git says it.
        for protocol in "01" if version == newest else "0":
            name = f"git-{version}-v{protocol}"
            fetch = [program, "-c", "protocol.version=" + protocol]
            heard(name + "-clone", [*fetch, "clone", "-q", "--bare", url, name])
            heard(name + "-ls-remote", [*fetch, "ls-remote", url])
            heard(name + "-depth", [*fetch, "clone", "-q", "--bare", "--depth", "1", url, name + "-depth"])
            heard(name + "-deepen", [*fetch, "-C", name + "-depth", "fetch", "-q", "--deepen", "1"])
            heard(name + "-unshallow", [*fetch, "-C", name + "-depth", "fetch", "-q", "--unshallow"])
            heard(name + "-since", [*fetch, "clone", "-q", "--bare", "--shallow-since=2001-01-01", url, name + "-since"])
            heard(name + "-not", [*fetch, "clone", "-q", "--bare", "--shallow-exclude=v1", url, name + "-not"])
            heard(name + "-filter", [*fetch, "clone", "-q", "--bare", "--filter=blob:none", url, name + "-filter"])
            # By its name, and with something to compare.
            git("init", "-q", "--bare", name + "-one")
            heard(name + "-tip", [*fetch, "-C", name + "-one", "fetch", "-q", url, tip + ":refs/heads/old"])
            # More of its own than it tells at once: there are several rounds.
            git("-C", name + "-one", "fast-import", "--quiet", input=own)
            heard(name + "-have", [*fetch, "-C", name + "-one", "fetch", "-q", url, "refs/*:refs/*"])

    # What version 2 answers, for what puts it into the words of version 0.
    for name, options in {"clone": [], "depth": ["--depth", "1"], "filter": ["--filter=blob:none"]}.items():
        folder = temp / ("answer-" + name)
        folder.mkdir()
        env = {"GIT_SSH": str(ear), "HEARD": str(folder)}
        git("-c", "protocol.version=2", "clone", "-q", "--bare", *options, url, "answered-" + name, **env)
        [(_, told)] = list(heard_of(folder))
        # Behind its capabilities and the refs.
        flushes = 0
        while flushes < 2:
            length = int(told[:4], 16)
            flushes += length == 0
            told = told[max(length, 4) :]
        seed("answer-" + name, told)

    try:
        import dulwich
    except ImportError:
        print("dulwich is not installed (just interop-python): its seeds stay as they are", file=sys.stderr)
    else:
        asks = "import sys; from dulwich.client import SSHGitClient, SubprocessSSHVendor; from dulwich.repo import Repo\n" \
            "client = SSHGitClient('host', username='git', vendor=SubprocessSSHVendor(), ssh_command=sys.argv[1])\n" \
            "client.clone(sys.argv[2], sys.argv[3], bare=True, depth=int(sys.argv[4]) or None, protocol_version=0)\n"
        has = ".".join(str(number) for number in dulwich.__version__)
        path = {"PYTHONPATH": os.pathsep.join(sys.path)}
        for name, depth in [("clone", "0"), ("depth", "1")]:
            name = f"dulwich-{has}-{name}"
            heard(name, [sys.executable, "-c", asks, str(ear), str(served), name, depth], **path)

    if shutil.which("jgit"):
        # The package leaves out what its own program needs.
        java = dict(os.environ, JGIT_CLASSPATH="/usr/share/java/*", HOME=str(temp), JAVA_TOOL_OPTIONS=f"-Duser.home={temp}")
        asks = {"clone": ["clone", "--bare", None, "jgit"], "have": ["--git-dir", "jgit", "fetch", None, "refs/heads/*:refs/heads/*"]}
        for name, words in asks.items():
            with Listener(served) as there:
                words = [word or there.url for word in words]
                subprocess.run(["jgit", *words], cwd=temp, env=java, check=True, capture_output=True, timeout=120)
            keep("jgit-" + name, *there.heard())
            git("-C", "served", "commit", "-q", "--allow-empty", "-m", "for JGit")
    else:
        print("JGit is not installed: its seeds stay as they are", file=sys.stderr)

    try:
        import pygit2
    except ImportError:
        print("pygit2 is not installed (just interop-python): libgit2's seeds stay as they are", file=sys.stderr)
    else:
        for name, depth in [("clone", 0), ("depth", 1)]:
            name = f"libgit2-{pygit2.LIBGIT2_VERSION}-{name}"
            with Listener(served) as there:
                pygit2.clone_repository(there.url, str(temp / name), bare=True, depth=depth)
            keep(name, *there.heard())


class Listener:
    """One connection of git:// on the loopback, with git's own program behind it."""

    def __init__(self, served):
        self.served, self.said, self.told = served, b"", b""
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"git://127.0.0.1:{self.socket.getsockname()[1]}/served"
        self.thread = threading.Thread(target=self.serve, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.thread.join(30)
        self.socket.close()

    def heard(self):
        return self.said, self.told

    def serve(self):
        peer, _ = self.socket.accept()
        with peer:
            # Which program, which repository, which host: as it stands before the words of the protocol.
            peer.recv(int(peer.recv(4, socket.MSG_WAITALL), 16) - 4, socket.MSG_WAITALL)
            git = subprocess.Popen(["git", "upload-pack", self.served], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

            def listen():
                while data := peer.recv(65536):
                    self.said += data
                    try:
                        git.stdin.write(data)
                        git.stdin.flush()
                    except BrokenPipeError:
                        # The last flush is a farewell, and git may be gone by then.
                        return

            threading.Thread(target=listen, daemon=True).start()
            while data := git.stdout.read1(65536):
                self.told += data
                peer.sendall(data)
            git.wait()
