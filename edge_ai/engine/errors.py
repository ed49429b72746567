"""What can go wrong, each with a stable code, a sentence, and what to do about it. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar


class EngineError(Exception):
    """Something went wrong that a person can be told about.

    Parameters
    ----------
    message
        What happened, in a sentence, without names of our own code.
    code
        A key of :data:`CODES`.
    fix
        What to do about it.
    details
        Facts for programs, ready for JSON.
    field
        Which field of the request is at fault.
    retryable
        Whether the same attempt may succeed when it is made again; ``None`` for the class's own answer.
    """

    default_retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        code: str,
        fix: str = "",
        details: Mapping[str, Any] | None = None,
        field: str | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.fix = fix
        self.details = dict(details) if details else None
        self.field = field
        self.retryable = self.default_retryable if retryable is None else retryable


class UserInputError(EngineError):
    """What was given cannot be used: a file, a data set, a value."""


class UnsupportedError(EngineError):
    """What was asked for can never work. ``details["nearest"]`` says what does."""


class ParityError(EngineError):
    """The variant does not compute what its source computes."""


class ResourceError(EngineError):
    """Memory, time or disk ran out."""


class InternalError(EngineError):
    """Our own fault, or the machine's; another attempt may succeed."""

    default_retryable: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class ErrorCode:
    """A stable code: what it is called, what it means, what helps."""

    title: str
    meaning: str
    fix: str


def _code(title: str, meaning: str, fix: str) -> ErrorCode:
    return ErrorCode(title=title, meaning=meaning, fix=fix)


CODES: dict[str, ErrorCode] = {
    "model_unreadable": _code(
        "Not a readable model",
        "The file is not a model of a known format, or it is damaged or cut short.",
        "Export the model again and upload the whole file.",
    ),
    "external_data_missing": _code(
        "Weights are missing",
        "The ONNX file keeps its weights in another file that was not uploaded with it.",
        "Put both files into one .zip and upload that, or save the model with its weights inside: "
        "onnx.save(model, path, save_as_external_data=False).",
    ),
    "model_unsafe": _code(
        "Refused for safety",
        "The file could run code, read foreign files or unpack to an absurd size when it is loaded.",
        "Export the plain network without custom code, pickles or paths outside its folder.",
    ),
    "unsupported_operator": _code(
        "Operator not supported",
        "The target cannot run one of the model's operators.",
        "Choose the target that the answer names, or replace the operator.",
    ),
    "unsupported_conversion": _code(
        "No way between these formats",
        "The studio cannot make the target format from this model.",
        "Choose the target format that the answer names as nearest.",
    ),
    "unsupported_precision": _code(
        "Precision not supported",
        "The target format or the device cannot use this precision.",
        "Choose the precision that the answer names as nearest.",
    ),
    "unsupported_size": _code(
        "Too large for this way",
        "The model has more weights than one ONNX file can hold (1.9 GB), and the tools of this way need all of it in one.",
        "Choose ONNX with fp16, int8_dynamic, fp8, or int8 with the option weight_only, without compression.",
    ),
    "batch_refused": _code(
        "No combination works",
        "Of the models, devices and precisions that were asked for together, none can be combined, or not all where the "
        "request was strict.",
        "Choose what the reasons name, which the answer lists for every combination.",
    ),
    "nothing_to_quantize": _code(
        "Nothing to quantize",
        "The model has no weights or operators that this precision would change.",
        "Keep the model as it is, or choose another precision.",
    ),
    "dataset_required": _code(
        "A data set is needed",
        "This precision is calibrated on samples, or the model takes inputs that cannot be made up.",
        "Give a data set of 50 to 300 representative samples; to make a variant without one, choose int8_dynamic or fp16.",
    ),
    "dataset_mismatch": _code(
        "Data set and model do not match",
        "The data set's arrays do not have the names, shapes or types of the model's inputs.",
        "Save one array for each input, under the input's name; the answer lists what is expected.",
    ),
    "not_comparable": _code(
        "The models do not take the same input",
        "Models are compared on one input that is fed to all of them, and these take different ones.",
        "Compare variants of one model, or models whose inputs have the same number, types and shapes.",
    ),
    "dataset_unreadable": _code(
        "Not a readable data set",
        "The file is neither an .npz archive of plain arrays nor a .zip of images or WAV files, or something in it is "
        "damaged; the answer names it.",
        "Save arrays with numpy.savez_compressed(path, input_name=array, labels=labels), or zip the files again.",
    ),
    "preprocess_invalid": _code(
        "preprocess.json does not make sense",
        "A field of the data set's preprocess.json is not known, or its value is out of bounds or contradicts another.",
        "Mend the field that the answer names; the page on data sets lists all of them.",
    ),
    "task_invalid": _code(
        "task.json does not make sense",
        "A field of the data set's task.json is not known, or its value does not fit the task.",
        "Mend the field that the answer names; the page on data sets lists all of them.",
    ),
    "parity_failed": _code(
        "The variant computes something else",
        "The outputs of the variant differ too much from those of the model it was made from.",
        "Try fp16 or int8_dynamic, or calibrate with more representative samples.",
    ),
    "resource_limit": _code(
        "Too much memory or time",
        "The job needed more memory or time than one job may use, or the model more memory than the device has.",
        "Try a smaller model, a smaller data set or a shorter budget; an operator can raise the limits.",
    ),
    "engine_crashed": _code(
        "The engine crashed",
        "The process that worked on the model ended without an answer.",
        "The model may be damaged; the job's log may say more.",
    ),
    "sandbox_unavailable": _code(
        "The sandbox is not there",
        "The job was not begun, since this host could not hold it as the operator wants jobs to be held.",
        "Tell the operator: the page “Sandbox” of the administration says what is missing.",
    ),
    "file_too_large": _code("Too large", "The upload is larger than is accepted.", "Send a smaller file."),
    "upload_offset_mismatch": _code(
        "Not where the upload stands",
        "The bytes do not begin where those that have arrived end.",
        "Ask with HEAD for Upload-Offset, and go on from there.",
    ),
    "upload_incomplete": _code(
        "The upload is not finished", "Bytes of the file are still missing.", "Send the rest, then ask again."
    ),
    "upload_expired": _code(
        "The upload has expired", "Nothing arrived for too long, so the upload was given up.", "Begin a new upload."
    ),
    "upload_locked": _code(
        "The upload is being written", "Another request is sending bytes of this upload.", "Wait a moment, then go on."
    ),
    "checksum_mismatch": _code(
        "The checksum does not match",
        "The bytes that arrived are not those that were sent; they were thrown away.",
        "Send the same bytes again.",
    ),
    "parts_unsupported": _code(
        "No uploads in parts here",
        "The studio keeps its files where clients cannot send them by themselves, so that every file comes through it.",
        "Send the file by tus 1.0, as docs/uploads.md describes.",
    ),
    "quota_exceeded": _code(
        "Quota used up",
        "The workspace has, or has used, what its plan allows: models, stored bytes, or the job minutes of this month. "
        "`details` says which limit it is, what is gone of it, and when it begins anew.",
        "Delete what is no longer needed, wait for the next month, or have the operator give the workspace more.",
    ),
    "too_many_jobs": _code(
        "Too many jobs at once",
        "As many jobs of the workspace wait or run as its plan allows.",
        "Wait until some have ended, as long as Retry-After says at least; or cancel some.",
    ),
    "worker_lost": _code(
        "The worker was lost",
        "The worker that ran the job stopped answering, each time it was tried.",
        "Run the job again; if it happens every time, the model may need more memory than the machine has.",
    ),
    "cancelled": _code("Cancelled", "Somebody cancelled the job.", "Run it again with Retry."),
    "dependency_failed": _code(
        "What it waited for failed",
        "The job waited for another one, such as the model's analysis, which did not succeed.",
        "Mend what the answer names, then submit the job again.",
    ),
    "device_not_here": _code(
        "The device is not here",
        "A benchmark measures, and this studio has no access to a machine of that kind; nor can it estimate it, for the reason "
        "that is named, such as a number that the device's profile lacks.",
        "Benchmark on “This machine”, or add what is missing to a device profile of your own.",
    ),
    "kinds_differ": _code(
        "Measured and estimated are not compared",
        "One of the two benchmarks was measured, the other one is estimated from published numbers.",
        "Compare measured benchmarks with measured ones; estimates stand for themselves.",
    ),
    "invalid_request": _code(
        "The request is not valid", "A field is missing or has a value that is not accepted.", "Mend the fields named."
    ),
    "parse_error": _code("Not readable", "The body could not be parsed.", "Send valid JSON or a well-formed form."),
    "not_authenticated": _code(
        "Sign in first", "No valid key or session came with the request.", "Send Authorization: Bearer <api key>."
    ),
    "permission_denied": _code(
        "Not allowed",
        "Your role or the key's scope does not allow this.",
        "Ask the owner, or use a key with more scope.",
    ),
    "feature_off": _code(
        "Switched off",
        "The operator has switched this part of the studio off, for all or for this workspace; `details.feature` names it.",
        "Ask the operator of the studio. What is there can be looked at, downloaded and deleted as before.",
    ),
    "not_found": _code(
        "Not found", "There is nothing at this address that you may see.", "Check the id and the workspace."
    ),
    "workspace_required": _code(
        "Which workspace?", "You belong to several workspaces and named none.", "Send X-Tenant-ID: <workspace>."
    ),
    "method_not_allowed": _code(
        "Method not allowed", "The address does not take this method.", "See the API reference."
    ),
    "not_acceptable": _code("Not acceptable", "No representation of the kind asked for.", "Accept application/json."),
    "conflict": _code(
        "Conflict", "The request does not fit the object's present state.", "Look at it again, then decide."
    ),
    "address_refused": _code(
        "Not an address that is called",
        "Webhooks are sent to, and models imported from, public addresses alone, over http or https, on the ports 80 and 443, "
        "without a user name or password. Each redirect of an import is checked the same way.",
        "Give an address that the internet reaches, or have the operator allow the network by WEBHOOK_ALLOW_NETWORKS or "
        "IMPORT_ALLOW_NETWORKS.",
    ),
    "fetch_failed": _code(
        "The file could not be fetched",
        "The server of an import did not answer with the file; `details` has its `http_status`, or the `reason` why no answer "
        "came: name_unknown, connection_failed, tls_failed, timed_out, bad_answer, too_many_redirects, empty.",
        "See whether the address works, and is not over, and import again.",
    ),
    "import_s3_off": _code(
        "No bucket to import from",
        "Models are imported by a key of an S3 bucket only where the operator has set one by IMPORT_S3_BUCKET.",
        "Import by a link, such as a presigned one, or upload the file.",
    ),
    "precondition_failed": _code("Changed meanwhile", "The object has changed since you read it.", "Read it again."),
    "unsupported_media_type": _code(
        "Unsupported media type", "The body's type is not accepted here.", "Send JSON, or a form where a file is sent."
    ),
    "rate_limited": _code("Too many requests", "The rate limit is reached.", "Wait as long as Retry-After says."),
    "storage_full": _code("Storage is full", "There is no room for the file.", "Tell the operator."),
    "storage_unavailable": _code(
        "Storage does not answer",
        "The service that keeps the files could not be reached, or refused. Jobs are tried again by themselves.",
        "Try again in a moment; tell the operator if it stays.",
    ),
    "file_lost": _code(
        "A stored file is lost",
        "The file is missing where the studio keeps its files, or is no longer what was stored there.",
        "Upload the same file again, which puts it back, or tell the operator, who finds it by `manage.py verify_blobs`.",
    ),
    "internal_error": _code(
        "Something unexpected happened",
        "The fault is ours; it was logged.",
        "Try again; report the request id if it stays.",
    ),
}
