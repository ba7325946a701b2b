"""One verb with dulwich over paramiko. The key is named by $KEY, known hosts are those of $HOME.

$PROTOCOL is the version of git's protocol, where the verb can be told; 2 if it is not set.
"""

import os
import sys
from urllib.parse import unquote, urlparse

import dulwich
import paramiko
from dulwich.client import SSHGitClient
from dulwich.contrib.paramiko_vendor import _ParamikoWrapper
from dulwich.refs import Ref
from dulwich.repo import Repo


class Careful:
    """As dulwich's own vendor, but a host that is not known is refused, and GIT_PROTOCOL is sent."""

    def run_command(self, host, command, username=None, port=None, protocol_version=None, **_):
        ssh = paramiko.SSHClient()
        ssh.load_host_keys(os.path.join(os.environ["HOME"], ".ssh/known_hosts"))
        ssh.set_missing_host_key_policy(paramiko.RejectPolicy())
        ssh.connect(
            host, port, username, key_filename=os.environ["KEY"], allow_agent=False, look_for_keys=False
        )
        channel = ssh.get_transport().open_session()
        if protocol_version != 0:
            channel.update_environment({"GIT_PROTOCOL": f"version={protocol_version or 2}"})
        channel.exec_command(command)
        return _ParamikoWrapper(ssh, channel)


def connect(url):
    parts = urlparse(url)
    client = SSHGitClient(parts.hostname, parts.port, parts.username, vendor=Careful())
    # As git does, and dulwich itself does not.
    return client, unquote(parts.path)


def remote_of(repo):
    return repo.get_config().get((b"remote", b"origin"), b"url").decode()


def main(verb, *args):
    if verb == "version":
        print(".".join(str(n) for n in dulwich.__version__), f"(paramiko {paramiko.__version__})")
    elif verb == "ls-remote":
        client, path = connect(args[0])
        refs = client.get_refs(path.encode(), protocol_version=int(os.environ.get("PROTOCOL", "2"))).refs
        for name, hash in sorted(refs.items()):
            print(f"{(hash or b'').decode()}\t{name.decode()}")
    elif verb == "clone":
        client, path = connect(args[0])
        client.clone(path, args[1], depth=int(args[2]) or None)
        config = Repo(args[1]).get_config()
        config.set((b"remote", b"origin"), b"url", args[0].encode())
        config.write_to_path()
    elif verb == "fetch":
        repo = Repo(args[0])
        client, path = connect(remote_of(repo))
        refs = client.fetch(path.encode(), repo).refs
        repo.refs[Ref(b"refs/remotes/origin/main")] = refs[b"refs/heads/main"]
    elif verb == "push":
        repo = Repo(args[0])
        client, path = connect(remote_of(repo))
        client.send_pack(path.encode(), lambda refs: {b"refs/heads/main": repo.head()}, repo.generate_pack_data)
    elif verb == "archive":
        client, path = connect(args[0])
        client.archive(path.encode(), b"HEAD", sys.stdout.buffer.write)


try:
    main(*sys.argv[1:])
except Exception as error:  # whatever it is: it is what a user of the library sees
    sys.exit(f"{type(error).__name__}: {error}")
