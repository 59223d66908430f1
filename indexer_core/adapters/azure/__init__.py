"""Blobs, queues, rows and events of Azure Storage. `clients` alone decides how to sign in."""
