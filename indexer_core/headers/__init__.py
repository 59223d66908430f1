"""DICOM header bytes to values: walking elements, converting them, and what is read of them."""
