"""The HTTP API without a host: requests in, responses out (docs/adr/0030-the-http-api.md)."""
