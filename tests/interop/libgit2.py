"""One verb with libgit2 over libssh2. The key is named by $KEY, known hosts are those of $HOME."""

import os
import sys

from urllib.parse import unquote

import pygit2


class Careful(pygit2.RemoteCallbacks):
    def credentials(self, url, username, allowed):
        return pygit2.Keypair(username or "git", os.environ["KEY"] + ".pub", os.environ["KEY"], "")

    def certificate_check(self, certificate, valid, host):
        # libgit2 looked the host key up in known_hosts; nothing else counts.
        return bool(valid)


def main(verb, *args):
    if verb == "version":
        print(f"{pygit2.LIBGIT2_VERSION} (pygit2 {pygit2.__version__})")
    elif verb == "ls-remote":
        # As git does, and libgit2 itself does not.
        pygit2.init_repository("scratch.git", bare=True)
        remote = pygit2.Repository("scratch.git").remotes.create_anonymous(unquote(args[0]))
        for head in remote.list_heads(callbacks=Careful()):
            print(f"{head.oid}\t{head.name}")
    elif verb == "clone":
        pygit2.clone_repository(args[0], args[1], callbacks=Careful(), depth=int(args[2]))
    elif verb == "fetch":
        pygit2.Repository(args[0]).remotes["origin"].fetch(callbacks=Careful())
    elif verb == "push":
        pygit2.Repository(args[0]).remotes["origin"].push(["refs/heads/main"], callbacks=Careful())


try:
    main(*sys.argv[1:])
except Exception as error:  # whatever it is: it is what a user of the library sees
    sys.exit(f"{type(error).__name__}: {error}")
