"""What is said when the sandbox is not there."""

from __future__ import annotations

from edge_ai.engine.errors import InternalError


class SandboxError(InternalError):
    """A child could not be held as it has to be, and so did nothing. Not the model's fault."""

    default_retryable = False

    def __init__(self, message: str) -> None:
        super().__init__(
            message,
            code="sandbox_unavailable",
            fix="Tell the operator: the page “Sandbox” of the administration says what is missing on this host.",
        )
