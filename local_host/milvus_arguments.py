"""Arguments of `milvus`."""

import argparse


def add_milvus(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """What can be done with the index on Milvus."""
    parser.epilog = (
        "DICOM_INDEXER_MILVUS_URI is the address of the Milvus, or, with milvus-lite, a folder "
        "that ends in .db; DICOM_INDEXER_MILVUS_TOKEN opens it; DICOM_INDEXER_MILVUS_PREFIX "
        "begins the names of the collections; DICOM_INDEXER_MILVUS_TIMEOUT_S is the time of a "
        "request"
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def add(name: str, help_text: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=help_text, description=help_text, parents=[common])

    follow = add("follow", "keep the collections equal to the newest manifest until interrupted")
    follow.add_argument("--once", action="store_true", help="end once they are")
    for name, help_text in (
        ("status", "how far the collections are behind the manifests"),
        ("verify", "compare the collections with the manifest that they are said to be equal to"),
    ):
        add(name, help_text).add_argument("--format", choices=("text", "json"), default="text")
    add("rebuild", "fill new collections from the segments, and let searches move to them")
