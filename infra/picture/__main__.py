"""``python -m infra.picture``: draw the templates into docs/images."""

from collections.abc import Mapping
from pathlib import Path

from infra.check.scenarios import Scenario, read_files, scenarios
from infra.picture.drawing import drawn
from infra.picture.matrix import matrix
from infra.picture.placing import placed
from infra.picture.reading import picture_of

IMAGES = Path(__file__).parents[2] / "docs" / "images"
PRIVATE, DEV = "prod-private, everything", "dev, later"
"""The deployments that are drawn, as the check calls them."""

_TITLES = {
    PRIVATE: "prod-private: everything that its templates can deploy",
    DEV: "dev: what is deployed once there is an image of the worker",
}


def pictures(found: Mapping[str, Scenario]) -> dict[str, str]:
    """SVG by file name."""
    told = "Drawn by make infra-picture from the Bicep templates."
    return {
        "infra-prod-private.svg": _picture(
            found[PRIVATE],
            f"{told} Files raise events, events become messages, messages start functions and the "
            "worker; below are network, monitoring, identities and limits.",
        ),
        "infra-dev.svg": _picture(
            found[DEV],
            f"{told} The same without a network of its own, a GPU and MedImageInsight.",
        ),
        "infra-roles.svg": matrix(
            found[PRIVATE].deployment,
            "Who may do what",
            f"{told} A row for each thing that roles are given on, a column for each identity.",
        ),
    }


def _picture(scenario: Scenario, description: str) -> str:
    return drawn(placed(picture_of(scenario.deployment, _TITLES[scenario.name])), description)


def main() -> None:
    """Draw every picture anew."""
    for name, content in pictures({one.name: one for one in scenarios(read_files())}).items():
        (IMAGES / name).write_text(content, encoding="utf-8")
        print(f"docs/images/{name}: {len(content) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
