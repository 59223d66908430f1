"""Pictures of what the templates deploy: ``make infra-picture``.

Nothing here says what is deployed: that is what `infra.check` expands the templates to. What is
said here is where on the paper a type of resource belongs; a type that nobody has placed is drawn
in a group of its own, and no resource is left out.
"""
