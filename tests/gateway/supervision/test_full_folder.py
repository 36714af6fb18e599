"""The folder of the sockets is full, as /run may be: a start says so, a gateway that runs goes on.

A real one: a tiny tmpfs in a mount namespace of its own, which takes root, or a
kernel that gives users namespaces. Where neither is at hand these tests fail.
"""

from __future__ import annotations

from typing import Any

import pytest

TINY = """
    import ctypes, warnings
    warnings.simplefilter("always")
    libc = ctypes.CDLL(None, use_errno=True)

    def must(result, what):
        if result:
            error = os.strerror(ctypes.get_errno())
            sys.exit(f"{what}: {error}; run this test as root")

    def mount_tiny(inodes):
        uid, gid = os.getuid(), os.getgid()
        new_namespace, new_user = 0x00020000, 0x10000000
        must(libc.unshare(new_namespace | (new_user if uid else 0)), "no namespace")
        if uid:
            for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"),
                               ("gid_map", f"0 {gid} 1")):
                with open(f"/proc/self/{name}", "w") as file:
                    file.write(text)
        recursive_private = 0x4000 | 0x40000
        must(libc.mount(b"none", b"/", None, recursive_private, None), "no private mounts")
        os.makedirs(SOCKETS)
        options = b"size=64k,nr_inodes=%d" % inodes
        must(libc.mount(b"tmpfs", SOCKETS.encode(), b"tmpfs", 0, options), "no tmpfs")
"""

# The root of the file system, the lock, the folder, and the boss's three sockets, main's two.
ENOUGH = 8


@pytest.mark.parametrize("inodes", range(1, ENOUGH + 1))
def test_a_start_says_what_to_do_and_leaves_nothing(start: Any, inodes: int) -> None:
    program = start(f"""{TINY}
    mount_tiny({inodes})
    class Main(Process):
        def birth(self):
            say("born")
            self.die()
    try:
        say("status", Application(main=Main, sockets=SOCKETS).run())
    except ConfigError as error:
        say("refused", error)
    import gc
    gc.collect()
    say("left", [os.listdir(folder) for folder in [SOCKETS + "/bus"] if os.path.isdir(folder)])
    """)
    assert program.end() == 0, program.complaints()
    if inodes == ENOUGH:
        assert program.said == ["born", "status 0", "left [[]]"]
    else:
        assert "No space left on device; free room there (df -i shows" in program.said[0]
        assert "or set sockets to another one" in program.said[0]
        assert program.said[1] in ("left []", "left [[]]")
    assert "ResourceWarning" not in program.complaints()


@pytest.mark.parametrize("inodes", range(4, 8))
def test_a_start_of_who_forks_says_it_too(start: Any, inodes: int) -> None:
    program = start(f"""{TINY}
    mount_tiny({inodes})
    application = Application(main=Loud, sockets=SOCKETS)
    application.add_process("forked", Loud, mode="fork")
    try:
        say("status", application.run())
    except ConfigError as error:
        say("refused", error)
    import gc
    gc.collect()
    say("left", os.listdir(SOCKETS + "/bus"))
    """)
    assert program.end() == 0, program.complaints()
    assert "No space left on device; free room there (df -i shows" in program.said[0]
    assert program.said[1] == "left []"
    assert "ResourceWarning" not in program.complaints()


def test_a_gateway_that_runs_goes_on_and_who_ended_comes_back_with_the_room(start: Any) -> None:
    program = start(f"""{TINY}
    mount_tiny(40)
    class Echo(Process):
        def birth(self):
            self.add_filter(subject="^say$", callback=lambda m: self.reply(m, m.body))
    class Tidy(Echo):
        pass
    class Main(Process):
        def birth(self):
            self.causes = {{}}
            self.subscribe("processes/+/state", self.on_state)
        def on_state(self, message):
            name = message.subject.split("/")[1]
            self.causes.setdefault(name, []).append(message.body["cause"])
        def wait_for(self, name, words):
            while not any(words in cause for cause in self.causes.get(name, ())):
                self.mailman(0.05)
            self.causes.pop(name)
        def life(self):
            for name in ("worker", "other", "tidy"):
                self.wait_for_reply(self.send(name, "say", 1))
                self.wait_for(name, "its birth is over")
            for name in ("worker", "tidy"):
                self.stop_process(name)
            filler = 0
            try:
                while True:
                    open(f"{{SOCKETS}}/filler{{filler}}", "x").close()
                    filler += 1
            except OSError as error:
                say("full", error.strerror)
            for name in ("worker", "tidy"):
                try:
                    self.start_process(name)
                except RefusedError as error:
                    say("refused", error)
            body = b"x" * 3_000_000
            same = self.wait_for_reply(self.send("other", "say", body), 20).body == body
            say("the others go on", same)
            try:
                self.application.add_process("new", "gateway.process.process:Process")
                self.start_process("new")
            except GatewayError as error:
                say("new", error)
            left = {{name for name in os.listdir(SOCKETS + "/bus") if name[:4] in ("work", "tidy")}}
            say("left", left or "nothing")
            for number in range(filler):
                os.unlink(f"{{SOCKETS}}/filler{{number}}")
            for name in ("worker", "tidy"):
                self.wait_for(name, "its birth is over")
                say("back", name, self.wait_for_reply(self.send(name, "say", 2)).body)
            self.die()
    class App(Application):
        def build(self):
            slow = RestartPolicy(first=0.3, ceiling=0.3, most=1000)
            self.add_process("worker", Echo, mode="fork", restart=slow)
            self.add_process("tidy", Tidy, mode="fork", temporary_folder=True, restart=slow)
            self.add_process("other", Echo, mode="fork")
    sys.exit(App(main=Main, sockets=SOCKETS).run())
    """)
    assert program.end() == 0, program.complaints()
    said = program.said
    why = "does not live: its mailbox could not be opened: No space left on device"
    assert said[0] == "full No space left on device"
    assert said[1:3] == [f"refused 'worker' {why}", f"refused 'tidy' {why}"]
    assert said[3] == "the others go on True"
    assert said[4] == f"new 'new' {why}"
    assert said[5:] == ["left nothing", "back worker 2", "back tidy 2"]
    assert "ResourceWarning" not in program.complaints()
