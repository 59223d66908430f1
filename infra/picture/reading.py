"""Reads out of a deployment what is drawn: boxes with what lies in them, and rows for the rest."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from infra.check.expanding import Deployment
from infra.check.rules.order import ASSIGNMENT
from infra.check.rules.stores import ACCOUNT
from infra.check.values import Resource
from infra.picture.flows import ENVIRONMENT, PLAN, SUBSCRIPTION, Places, flows_of
from infra.picture.things import Band, Box, Chip, Picture, Row

_TELEMETRY = "APPLICATIONINSIGHTS_CONNECTION_STRING"
GROUP = "Microsoft.Resources/resourceGroups"
DIAGNOSTICS = "Microsoft.Insights/diagnosticSettings"
LOCK = "Microsoft.Authorization/locks"
FILES, INDEX, PROGRAMS, OTHERS = range(4)
"""Columns of boxes, from left to right: the way of a file."""

_COLUMNS: Mapping[str, int] = {
    "Microsoft.EventGrid/systemTopics": FILES,
    "Microsoft.Web/sites": PROGRAMS,
    PLAN: PROGRAMS,
    "Microsoft.App/containerApps": PROGRAMS,
    ENVIRONMENT: PROGRAMS,
    ACCOUNT: OTHERS,
    "Microsoft.KeyVault/vaults": OTHERS,
    "Microsoft.ContainerRegistry/registries": OTHERS,
    "Microsoft.EventGrid/topics": OTHERS,
    "Microsoft.MachineLearningServices/workspaces": OTHERS,
}
_BANDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "Network": ("net", ("Microsoft.Network/",)),
    "Monitoring": ("watch", ("Microsoft.OperationalInsights/", "Microsoft.Insights/")),
    "Identities and limits": (
        "box",
        ("Microsoft.ManagedIdentity/", "Microsoft.Authorization/", "Microsoft.Consumption/"),
    ),
    "Other": ("box", ("",)),
}
"""Title, style, and how the types of the rows begin; the first that fits."""

_HOSTS: Mapping[str, str] = {
    "Microsoft.Web/sites": "properties.serverFarmId",
    "Microsoft.App/containerApps": "properties.environmentId",
}
"""Where a program says what it runs on: that is drawn in its box."""

_STYLES = {"containers": "store", "tables": "store", "queues": "queue", "secrets": "user"}
_FACTS: Mapping[str, tuple[tuple[str, str], ...]] = {
    ACCOUNT: (("sku.name", "{}"),),
    "Microsoft.EventGrid/topics": (("properties.inputSchema", "{}"),),
    "Microsoft.Web/sites": (
        ("properties.functionAppConfig.runtime.version", "Python {}"),
        (
            "properties.functionAppConfig.scaleAndConcurrency.instanceMemoryMB",
            "{} MB in each instance",
        ),
        (
            "properties.functionAppConfig.scaleAndConcurrency.alwaysReady.0.instanceCount",
            "kept ready for searches: {}",
        ),
    ),
    "Microsoft.App/containerApps": (
        ("properties.template.scale.minReplicas", "replicas: at least {},"),
        ("properties.template.scale.maxReplicas", "at most {}"),
        ("properties.template.containers.0.resources.cpu", "cores: {}"),
    ),
    "Microsoft.ContainerRegistry/registries": (("sku.name", "{}"),),
}
"""Paths worth saying, and how."""

_NOTES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "Microsoft.Network/virtualNetworks": (("properties.addressSpace.addressPrefixes.0", " {}"),),
    "Microsoft.OperationalInsights/workspaces": (("properties.retentionInDays", ", {} days"),),
    "Microsoft.Consumption/budgets": (("properties.amount", ", {} a month"),),
    "Microsoft.Insights/workbooks": (("properties.displayName", " {}"),),
}
"""The same for what stands after a chip's name."""

_TOKEN = re.compile(r"[0-9a-f]{13}$")
_GUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


def picture_of(deployment: Deployment, title: str) -> Picture:
    """The picture of a deployment."""
    reading = _Reading(deployment)
    boxes = tuple(reading.boxes())
    bands = tuple(reading.bands())
    places = Places(
        {address: box.address for box in boxes for address in _drawn_by(box)},
        {box.address: box.column for box in boxes},
    )
    return Picture(
        title=title,
        covers=tuple(one.ref.address for one in deployment.of_type(GROUP)),
        boxes=boxes,
        bands=bands,
        flows=tuple(flows_of(deployment, places)),
    )


def short(name: str) -> str:
    """A name without the characters that make it unique."""
    return _TOKEN.sub("…", name)


def _plain(name: str) -> str:
    return short(name).removesuffix("-…")


def kind_of(type_name: str) -> str:
    """A type without what all types begin with."""
    return type_name.removeprefix("Microsoft.")


def _drawn_by(box: Box) -> Iterator[str]:
    yield from box.covers
    for row in box.rows:
        for chip in row.chips:
            yield from chip.covers


class _Reading:
    def __init__(self, deployment: Deployment) -> None:
        self._by_id = deployment.by_id()
        self._resources = [
            one
            for one in deployment.resources
            # Roles are drawn in a picture of their own.
            if one.type not in {GROUP, ASSIGNMENT}
        ]
        # The group that most lie in is the frame of the picture.
        scopes = Counter(one.ref.scope for one in self._resources)
        self._home = max(scopes, key=scopes.__getitem__, default="")
        self._parents = {one.ref.address: self._parent(one) for one in self._resources}
        self._sources = {str(one.at("properties.source")) for one in self._resources}
        self._targets = {
            str(one.at("properties.deliveryWithResourceIdentity.destination.properties.resourceId"))
            for one in self._resources
            if one.type == SUBSCRIPTION
        }

    def _parent(self, one: Resource) -> Resource | None:
        """The resource that this one lies in, or is said of."""
        for other in self._resources:
            if other is not one and one.id.startswith(f"{other.id}/") and other.type.count("/") < 2:
                return other
        if host := self._host_of(one):
            return host
        return None

    def _host_of(self, one: Resource) -> Resource | None:
        """For what a program runs on: that program."""
        for other in self._resources:
            if one.id == other.at(_HOSTS.get(other.type, "-")):
                return other
        return None

    def _root(self, one: Resource) -> Resource:
        parent = self._parents[one.ref.address]
        return self._root(parent) if parent else one

    def boxes(self) -> Iterator[Box]:
        """The boxes, in the order of the templates."""
        for one in self._resources:
            if one is self._root(one) and one.type in _COLUMNS:
                yield self._box(one)

    def _box(self, one: Resource) -> Box:
        inside = [
            other for other in self._resources if other is not one and self._root(other) is one
        ]
        folded = [
            other for other in inside if other.type in {DIAGNOSTICS, LOCK} or _is_service(other)
        ]
        rows: dict[str, list[Resource]] = {}
        for other in inside:
            if other not in folded:
                rows.setdefault(other.type, []).append(other)
        return Box(
            address=one.ref.address,
            name=_plain(one.ref.names[-1]),
            type=kind_of(one.type),
            column=self._column(one),
            style="store" if one.type == ACCOUNT else "box",
            facts=tuple(self._facts(one, inside)),
            marks=tuple(self._marks(one, inside)),
            rows=tuple(self._row(name, members) for name, members in rows.items()),
            covers=tuple(other.ref.address for other in (one, *folded)),
        )

    def _column(self, one: Resource) -> int:
        if one.id in self._sources:
            return FILES
        return INDEX if one.id in self._targets else _COLUMNS[one.type]

    def _row(self, type_name: str, members: list[Resource]) -> Row:
        kind = type_name.rpartition("/")[2]
        title = kind if type_name.count("/") > 1 else kind_of(type_name)
        style = _STYLES.get(kind, "part")
        return Row(title=title, chips=tuple(self._chip(one, style) for one in members))

    def _chip(self, one: Resource, style: str, covers: tuple[str, ...] = ()) -> Chip:
        label = self._label(one)
        return Chip(label=label, style=style, covers=(one.ref.address, *covers))

    def _label(self, one: Resource) -> str:
        name = one.ref.names[-1]
        label = "" if _GUID.match(name) else short(name)
        for path, text in _NOTES.get(one.type, ()):
            label += text.format(one.at(path))
        if one.type == "Microsoft.Storage/storageAccounts/managementPolicies":
            return ", ".join(rule["name"] for rule in one.at("properties.policy.rules"))
        if one.type.endswith("onlineEndpoints/deployments"):
            return f"{label}: {one.at('sku.capacity')} {one.at('properties.instanceType')}"
        if one.type.endswith("/privateEndpoints"):
            return self._of_endpoint(one)
        return (label or name).removesuffix("-…").strip()

    def _of_endpoint(self, one: Resource) -> str:
        link = one.at("properties.privateLinkServiceConnections.0.properties")
        target = self._by_id.get(link["privateLinkServiceId"])
        name = short(target.ref.names[-1]) if target else "?"
        return f"{name} {', '.join(link['groupIds'])}"

    def _facts(self, one: Resource, inside: list[Resource]) -> Iterator[str]:
        texts = [
            text.format(value)
            for path, text in _FACTS.get(one.type, ())
            if (value := one.at(path)) is not None
        ]
        yield from _joined(texts)
        for other in inside:
            if other.type == ENVIRONMENT:
                wanted = one.at("properties.workloadProfileName")
                for profile in other.at("properties.workloadProfiles") or []:
                    if profile["name"] == wanted:
                        yield str(profile["workloadProfileType"])
            if other.at("properties.globalValidation.requireAuthentication"):
                yield "callers sign in by Entra ID"
            if other.type == f"{ACCOUNT}/blobServices":
                kept = other.at("properties.deleteRetentionPolicy") or {}
                days = kept.get("days") if kept.get("enabled") else None
                yield f"deleted files kept {days} days" if days else "what is deleted is gone"
        if any(other.type == LOCK for other in inside):
            yield "locked against deletion"
        if one.ref.scope != self._home:
            yield f"in {one.ref.scope.rpartition('/')[2]}"
        for identity in one.at("identity.userAssignedIdentities") or {}:
            yield f"signs in as {_plain(str(identity).rpartition('/')[2])}"

    def _marks(self, one: Resource, inside: list[Resource]) -> Iterator[tuple[str, str]]:
        said = [other.at("properties.publicNetworkAccess") for other in (one, *inside)]
        for access in [access for access in said if access is not None][:1]:
            yield ("net", "private") if access == "Disabled" else ("open", "public")
        names = [other.ref.names[-1] for other in inside if other.type == DIAGNOSTICS]
        for name in dict.fromkeys(names):
            yield "watch", name
        if _TELEMETRY in str([other.body for other in (one, *inside)]):
            yield "watch", "telemetry"

    def bands(self) -> Iterator[Band]:
        """The bands that have something in them."""
        rest = [one for one in self._resources if self._root(one).type not in _COLUMNS]
        for title, (style, starts) in _BANDS.items():
            rows: dict[str, list[Chip]] = {}
            for one in [other for other in rest if other.type.startswith(starts)]:
                rest.remove(one)
                self._into(rows, one, style)
            if rows:
                content = tuple(Row(title=name, chips=tuple(c)) for name, c in rows.items() if c)
                yield Band(title=title, style=style, rows=content)

    def _into(self, rows: dict[str, list[Chip]], one: Resource, style: str) -> None:
        parent = self._parents[one.ref.address]
        chips = rows.setdefault(kind_of(one.type), [])
        if parent and one.type in _FOLDED:
            del rows[kind_of(one.type)]
            above = rows[kind_of(parent.type)]
            at = next(n for n, c in enumerate(above) if parent.ref.address in c.covers)
            old = above[at]
            above[at] = Chip(
                label=old.label, style=old.style, covers=(*old.covers, one.ref.address)
            )
            return
        chips.append(self._chip(one, style))
        for subnet in one.at("properties.subnets") or []:
            text = self._subnet(one, subnet)
            rows.setdefault("subnets", []).append(Chip(label=text, style=style, covers=()))

    def _subnet(self, network: Resource, subnet: Mapping[str, Any]) -> str:
        wanted = f"{network.id}/subnets/{subnet['name']}"
        inside = [
            short(one.ref.names[-1])
            for one in self._resources
            if wanted
            in {
                one.at("properties.virtualNetworkSubnetId"),
                one.at("properties.vnetConfiguration.infrastructureSubnetId"),
            }
        ]
        n_endpoints = sum(
            one.at("properties.subnet.id") == wanted
            for one in self._resources
            if one.type.endswith("/privateEndpoints")
        )
        if n_endpoints:
            inside.append(f"{n_endpoints} private endpoints")
        return f"{subnet['name']} {subnet['properties']['addressPrefix']}: {', '.join(inside)}"


_FOLDED = frozenset(
    {
        "Microsoft.Network/privateDnsZones/virtualNetworkLinks",
        "Microsoft.Network/privateEndpoints/privateDnsZoneGroups",
    }
)
"""What says nothing that the thing does not say in which it lies."""


def _is_service(one: Resource) -> bool:
    """Services of an account are there whatever is said of them; what lies in them is drawn."""
    return one.type.rpartition("/")[2].endswith("Services")


def _joined(texts: list[str]) -> Iterator[str]:
    """Texts as lines; one that ends in a comma is followed by the next."""
    line = ""
    for text in texts:
        line = f"{line} {text}".strip()
        if not text.endswith(","):
            yield line
            line = ""
