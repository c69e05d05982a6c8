"""`ddrep edit`: what exists, and other words for it, in; the same thing, changed, out."""

from __future__ import annotations

from ddrep_core.errors import RequestError
from ddrep_core.jobs import edit_picture, edit_texture, edit_vector
from ddrep_core.jobs.blocks import EditRequest
from ddrep_core.jobs.edit_procedure import MODE_SEEKERS, STRENGTH
from ddrep_core.jobs.edit_source import kind_of
from ddrep_core.jobs.session import Session
from ddrep_core.jobs.task import Stage


def start(session: Session) -> Stage:
    """What is edited, as its kind has it.

    Raises:
        RequestError: no words for what there is, a file that is no such thing, a mesh without a picture.
    """
    settings = session.request.settings(EditRequest)
    if settings.method != "sdedit" and settings.method != "sds" and not settings.source_prompt.strip():
        raise RequestError(
            "An edit needs words for what there is before it.",
            'Say them with --source-prompt ("a wooden chair"), or choose the method sdedit.',
        )
    if settings.strength is not None and settings.method not in STRENGTH:
        raise RequestError(
            f"The method {settings.method} knows no strength.", f"It is for: {', '.join(STRENGTH)}. Change the steps."
        )
    if settings.keep and settings.method in MODE_SEEKERS:
        raise RequestError(
            f"The method {settings.method} changes everything: it knows no mask.",
            f"Keep a part with one of: {', '.join(STRENGTH)}.",
        )
    session.stage("Reading what is edited")
    path = session.folder.resolve(settings.source)
    begin = {
        "texture": edit_texture.start,
        "image": edit_picture.start_image,
        "panorama": edit_picture.start_panorama,
        "vector": edit_vector.start,
    }
    return begin[kind_of(path) if settings.kind == "auto" else settings.kind](session, settings, path)
