"""The second home of the index: collections of Milvus that follow the manifests.

Manifests and segments stay the truth. A follower keeps three collections equal to a manifest; the
search side asks them. `schema` says what an entity holds, `position` how far the follower is.
"""
