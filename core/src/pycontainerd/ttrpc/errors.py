"""Violations of the protocol, with the blame in the type."""

from __future__ import annotations


class ProtocolError(Exception):
    """One side broke the protocol. Raised only as one of its two subclasses.

    ``stream`` is the stream it happened on; ``code`` names the status (contracts.errors) that describes it.
    """

    def __init__(self, message: str, *, stream: int = 0, code: str = "INVALID_ARGUMENT") -> None:
        if type(self) is ProtocolError:
            raise TypeError("raise LocalProtocolError or RemoteProtocolError: somebody is to blame")
        super().__init__(message)
        self.stream = stream
        self.code = code


class LocalProtocolError(ProtocolError):
    """We tried to send what the protocol forbids; nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """The peer sent what the protocol forbids; nothing more can be read from it."""
