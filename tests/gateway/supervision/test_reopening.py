"""A further mailbox that is closed and opened again at once is the new one, whole."""

from __future__ import annotations

from typing import Any


def test_a_further_mailbox_that_is_opened_again_keeps_its_sockets(start: Any) -> None:
    program = start("""
    class Router(Process):
        def birth(self):
            self.add_filter(subject="^open$", callback=self.on_open)
        def on_open(self, message):
            sockets = 0
            for _ in range(100):
                box = self.open_mailbox("near")
                sockets += sum("near" in name for name in os.listdir(SOCKETS + "/bus"))
                self.close_mailbox(box)
            self.reply(message, sockets)
    class Main(Process):
        def life(self):
            say(self.wait_for_reply(self.send("router", "open"), timeout=15.0).body)
            self.die()
    class App(Application):
        def build(self):
            self.add_process("router", Router, mode="fork")
    sys.exit(App(main=Main, sockets=SOCKETS).run())
    """)
    assert program.end() == 0, program.complaints()
    assert program.said == ["200"]
