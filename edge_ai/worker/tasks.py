"""What the queue calls. A task gets a schema's name and an id, and nothing else."""

from __future__ import annotations

import uuid

from config.database.identity import current, workspace_as_system
from config.middleware import set_request_id
from edge_ai.services.devices import sync_templates as sync
from edge_ai.webhooks.delivery import attempt
from edge_ai.worker.babysitter import run_job
from edge_ai.worker.turns import turn


def deliver(schema_name: str, job_id: str) -> None:
    """Run the job whose turn it is, which need not be the one that the message names."""
    try:
        with turn(schema_name, uuid.UUID(job_id)) as taken:
            if taken is not None:
                schema_name, next_id = taken
                with workspace_as_system(schema_name):
                    run_job(schema_name, next_id)
    finally:
        set_request_id("-")
        current().reset_to_public()


def sync_templates() -> None:
    """Carry an edit of the device templates into every workspace."""
    sync()


def deliver_webhook(schema_name: str, delivery_id: str) -> None:
    """Make the attempt at a webhook's delivery that is due, if one is."""
    try:
        with workspace_as_system(schema_name):
            attempt(uuid.UUID(delivery_id))
    finally:
        current().reset_to_public()
