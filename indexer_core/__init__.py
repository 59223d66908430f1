"""The pure core of dicom-indexer: headers, assembly, rules, templates, index and search.

Importing this package needs the standard library, numpy, pydicom, pyarrow and PyYAML only.
"""

__version__ = "0.1.0"
