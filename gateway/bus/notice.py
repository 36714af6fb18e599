"""The boss's notice that a letter is to be sent back which a process had handed on.

Whose mailbox took the letter in sends it back itself, since the ledger is its own. Where nobody
reads the notice any more, the writer of the letter is told by whoever finds it there.
"""

from __future__ import annotations

from msgspec.structs import replace

from gateway.bus.directory import BOSS
from gateway.errors import GatewayError, described, error_from
from gateway.mail.codec import decode, encode
from gateway.mail.message import Message

SENT_BACK = "$sent-back"


def notice_of(
    letter: Message, error: GatewayError, id: str, time: float, owner: str, incarnation: int
) -> Message:
    """Return what tells ``owner`` to send ``letter`` back because of ``error``."""
    bare = encode(replace(letter, body=None, body_type=""))
    body = {"letter": bare, "error": described(error, inside=True)}
    return Message(
        id,
        letter.thread_id,
        letter.thread_index,
        time,
        BOSS,
        owner,
        SENT_BACK,
        body,
        kind="reply",
        incarnation=incarnation,
    )


def is_notice(message: Message) -> bool:
    """Tell whether ``message`` is what `notice_of` made: from inside, in the boss's name."""
    return message.subject == SENT_BACK and message.sender == BOSS and not message.route


def sent_back_by(notice: Message) -> tuple[Message, GatewayError]:
    """Return the letter, without its body, that is to be sent back, and why."""
    return decode(notice.body["letter"]), error_from(notice.body["error"])
