"""Tiny synthetic DICOM objects."""

import io

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CT = "1.2.840.10008.5.1.4.1.1.2"
SR = "1.2.840.10008.5.1.4.1.1.88.11"


def uid(*names: object) -> str:
    """The same UID for the same names."""
    return str(generate_uid(entropy_srcs=[repr(names)]))


def dicom_object(
    *,
    study: str = "study",
    series: str = "series",
    instance: int = 1,
    sop: str | None = None,
    pixels: bool = True,
    value: int = 0,
    **attributes: object,
) -> bytes:
    """A CT slice of 16 x 16 pixels, or a structured report when `pixels` is False."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CT if pixels else SR
    meta.MediaStorageSOPInstanceUID = uid(sop or (study, series, instance))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID = uid(study)
    dataset.SeriesInstanceUID = uid(study, series)
    dataset.Modality = "CT" if pixels else "SR"
    dataset.PatientID = "planted-patient-id-4711"
    dataset.PatientName = "Plantedname^Gundula"
    dataset.SeriesDescription = "Abdomen axial"
    dataset.InstanceNumber = instance
    if pixels:
        dataset.Rows = dataset.Columns = 16
        dataset.SamplesPerPixel = 1
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit = 15
        dataset.PixelRepresentation = 0
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.ImagePositionPatient = [0, 0, float(instance)]
        ramp = np.arange(256, dtype=np.uint16).reshape(16, 16) + value
        dataset.PixelData = ramp.tobytes()
    for name, changed in attributes.items():
        setattr(dataset, name, changed)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
