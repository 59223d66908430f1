"""Operations about the states of the index: the newest, and those that can be gone back to."""

from function_app.api.operations import Answer, Call, Operation
from function_app.api.schemas import MANIFEST, NEXT_LINK, Schema, nullable, opened, texts
from function_app.api.service import Service

_MANIFEST_ANSWER: Schema = opened({"manifest": MANIFEST}, ("manifest",))
_MANIFESTS_ANSWER: Schema = opened(
    {
        "value": {
            "type": "array",
            "items": opened(
                {
                    "manifest": MANIFEST,
                    "created": {"type": "string"},
                    "reason": {"type": "string", "description": "one word: index, merge, delete"},
                    "projectionVersion": nullable("string"),
                    "pins": texts(description="names that keep it"),
                    "counts": nullable(
                        "object",
                        description="of what was done, for callers who see all of the index",
                        additionalProperties={"type": "integer"},
                    ),
                },
                ("manifest", "created", "reason", "projectionVersion", "pins", "counts"),
            ),
        },
        "nextLink": NEXT_LINK,
    },
    ("value", "nextLink"),
)


def state_operations(service: Service) -> tuple[Operation, ...]:
    """All of them."""
    return (
        Operation(
            name="manifest",
            method="GET",
            path="/api/manifest",
            summary="The number of the newest state of the index, for whoever asks often",
            run=lambda _: _newest(service),
            answer=_MANIFEST_ANSWER,
            is_recorded=False,
        ),
        Operation(
            name="manifests",
            method="GET",
            path="/api/manifests",
            summary="The states of the index that are kept, the newest first",
            run=lambda call: _kept(call, service),
            answer=_MANIFESTS_ANSWER,
        ),
    )


def _newest(service: Service) -> Answer:
    number = service.searchable().index.state.number
    return Answer(value={"manifest": number}, manifest=number)


def _kept(call: Call, service: Service) -> Answer:
    newest = service.manifest()
    value = service.kept.listed(newest, sees_all=call.caller.scopes is None)
    return Answer(value={"value": value, "nextLink": None}, manifest=newest.number)
