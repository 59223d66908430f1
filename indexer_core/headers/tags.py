"""Which header values may leave a header: the allow-list, with the reason for each group.

Whatever is not named here is never stored, embedded, logged or sent. Free text is scrubbed of the
names and identifiers of the same header before it is kept (`indexer_core.privacy`). Not admitted,
although useful: dates and times other than the study's date, station names, comments.
"""

import enum
from typing import NamedTuple


class Kind(enum.Enum):
    """How a value is read."""

    TEXT = "one text"
    TERMS = "one or several terms of a vocabulary, kept as they are unless they identify somebody"
    DEFINED = "one term of a closed list: nobody's name, though it may equal one"
    PRODUCT = "one text that names a product: nobody's name, though it may equal one"
    NUMBERS = "one or several numbers"
    CODE = "items of a code sequence: value|scheme|meaning"
    LABELS = "one text from each item of a sequence"


class Attribute(NamedTuple):
    """One admitted attribute.

    ``inner`` is the path inside the items of the sequence `tag`, for values that lie there.
    """

    tag: int
    keyword: str
    kind: Kind
    vr: bytes = b""
    inner: tuple[int, ...] = ()


_T, _C, _N = Kind.TEXT, Kind.TERMS, Kind.NUMBERS

ATTRIBUTES: tuple[Attribute, ...] = (
    # What kind of object: modality rules, and telling derived and localizer images apart.
    Attribute(0x00080008, "ImageType", _C),
    Attribute(0x00080060, "Modality", Kind.DEFINED),
    Attribute(0x00080064, "ConversionType", Kind.DEFINED),
    # Which part of the body: direct votes, and free text in which it is named.
    Attribute(0x00180015, "BodyPartExamined", _C),
    Attribute(0x00082218, "AnatomicRegionSequence", Kind.CODE),
    Attribute(0x00082228, "PrimaryAnatomicStructureSequence", Kind.CODE),
    Attribute(0x00200060, "Laterality", Kind.DEFINED),
    Attribute(0x00200062, "ImageLaterality", Kind.DEFINED),
    Attribute(0x00081030, "StudyDescription", _T),
    Attribute(0x0008103E, "SeriesDescription", _T),
    Attribute(0x00181030, "ProtocolName", _T),
    Attribute(0x00400254, "PerformedProcedureStepDescription", _T),
    Attribute(0x00321060, "RequestedProcedureDescription", _T),
    Attribute(0x00081032, "ProcedureCodeSequence", Kind.CODE),
    Attribute(0x00321064, "RequestedProcedureCodeSequence", Kind.CODE),
    Attribute(0x00400260, "PerformedProtocolCodeSequence", Kind.CODE),
    Attribute(0x00189424, "AcquisitionProtocolDescription", _T),
    Attribute(0x00181250, "ReceiveCoilName", _T),
    # How the patient lay and the image was taken: plane and view.
    Attribute(0x00185100, "PatientPosition", Kind.DEFINED),
    Attribute(0x00185101, "ViewPosition", _C),
    Attribute(0x00540220, "ViewCodeSequence", Kind.CODE),
    # MR: which sequence it is.
    Attribute(0x00180020, "ScanningSequence", _C),
    Attribute(0x00180021, "SequenceVariant", _C),
    Attribute(0x00180022, "ScanOptions", _C),
    Attribute(0x00180023, "MRAcquisitionType", Kind.DEFINED),
    Attribute(0x00180024, "SequenceName", _C),
    Attribute(0x00189005, "PulseSequenceName", _C),
    Attribute(0x00189209, "AcquisitionContrast", _C),
    Attribute(0x00189014, "PhaseContrast", Kind.DEFINED),
    Attribute(0x00189015, "TimeOfFlightContrast", Kind.DEFINED),
    Attribute(0x00189075, "DiffusionDirectionality", Kind.DEFINED),
    Attribute(0x00180080, "RepetitionTime", _N),
    Attribute(0x00180081, "EchoTime", _N),
    Attribute(0x00180082, "InversionTime", _N),
    Attribute(0x00180087, "MagneticFieldStrength", _N),
    Attribute(0x00180091, "EchoTrainLength", _N),
    Attribute(0x00181314, "FlipAngle", _N),
    Attribute(0x00189087, "DiffusionBValue", _N, b"FD"),
    Attribute(0x00200100, "TemporalPositionIdentifier", _N),
    Attribute(0x00200105, "NumberOfTemporalPositions", _N),
    Attribute(0x00201002, "ImagesInAcquisition", _N),
    # Contrast medium.
    Attribute(0x00180010, "ContrastBolusAgent", _T),
    Attribute(0x00180012, "ContrastBolusAgentSequence", Kind.CODE),
    Attribute(0x00181040, "ContrastBolusRoute", _T),
    Attribute(0x00181041, "ContrastBolusVolume", _N),
    Attribute(0x00181044, "ContrastBolusTotalDose", _N),
    # CT, X-ray, nuclear medicine and PET acquisition.
    Attribute(0x00180060, "KVP", _N),
    Attribute(0x00181100, "ReconstructionDiameter", _N),
    Attribute(0x00181210, "ConvolutionKernel", _C),
    Attribute(0x00181400, "AcquisitionDeviceProcessingDescription", _T),
    Attribute(0x00187004, "DetectorType", _C),
    Attribute(0x00541001, "Units", Kind.DEFINED),
    Attribute(0x00540016, "Radiopharmaceutical", Kind.LABELS, b"LO", (0x00180031,)),
    Attribute(0x00540016, "RadionuclideCodeSequence", Kind.CODE, b"", (0x00540300,)),
    Attribute(0x00540016, "RadiopharmaceuticalCodeSequence", Kind.CODE, b"", (0x00540304,)),
    # What tells an object's modality where the header leaves it out.
    Attribute(0x00186031, "TransducerType", Kind.DEFINED),
    Attribute(0x00185010, "TransducerData", _C),
    Attribute(0x00181260, "PlateType", _C),
    Attribute(0x001811A2, "CompressionForce", _N),
    Attribute(0x001811A0, "BodyPartThickness", _N),
    Attribute(0x00181510, "PositionerPrimaryAngle", _N),
    Attribute(0x00281054, "RescaleType", Kind.DEFINED),
    Attribute(0x30040002, "DoseUnits", Kind.DEFINED),
    Attribute(0x00541102, "DecayCorrection", Kind.DEFINED),
    # Geometry and pixels: filters, and which recipe reads the pixels.
    Attribute(0x00180050, "SliceThickness", _N),
    Attribute(0x00180088, "SpacingBetweenSlices", _N),
    Attribute(0x00181164, "ImagerPixelSpacing", _N),
    Attribute(0x00280030, "PixelSpacing", _N),
    Attribute(0x00200013, "InstanceNumber", _N),
    Attribute(0x00280002, "SamplesPerPixel", _N, b"US"),
    Attribute(0x00280004, "PhotometricInterpretation", Kind.DEFINED),
    Attribute(0x00280008, "NumberOfFrames", _N),
    Attribute(0x00280010, "Rows", _N, b"US"),
    Attribute(0x00280011, "Columns", _N, b"US"),
    Attribute(0x00280100, "BitsAllocated", _N, b"US"),
    Attribute(0x00280301, "BurnedInAnnotation", Kind.DEFINED),
    Attribute(0x00282110, "LossyImageCompression", Kind.DEFINED),
    # Whose machine; age (derived), sex and date (normalised) of the cohort filters.
    Attribute(0x00080070, "Manufacturer", Kind.PRODUCT),
    Attribute(0x00081090, "ManufacturerModelName", Kind.PRODUCT),
    Attribute(0x00100040, "PatientSex", Kind.DEFINED),
    # Objects without pixels: what they are about.
    Attribute(0x0040A043, "ConceptNameCodeSequence", Kind.CODE),
    Attribute(0x30060002, "StructureSetLabel", _T),
    Attribute(0x30060020, "ROIName", Kind.LABELS, b"LO", (0x30060026,)),
    Attribute(0x300A0002, "RTPlanLabel", _T),
    Attribute(0x00420010, "DocumentTitle", _T),
    Attribute(0x00700080, "ContentLabel", _C),
    Attribute(0x00700081, "ContentDescription", _T),
    Attribute(0x00620002, "SegmentLabel", Kind.LABELS, b"LO", (0x00620005,)),
    Attribute(0x00620002, "SegmentedPropertyTypeCodeSequence", Kind.CODE, b"", (0x0062000F,)),
    # Slides name their organ in the specimen, not in the image.
    Attribute(0x00400560, "SpecimenAnatomicStructureSequence", Kind.CODE, b"", (0x00082228,)),
)

# Read by name elsewhere.
TRANSFER_SYNTAX_UID = 0x00020010
MEDIA_STORAGE_SOP_CLASS_UID = 0x00020002
MEDIA_STORAGE_SOP_INSTANCE_UID = 0x00020003
DIRECTORY_RECORD_SEQUENCE = 0x00041220
SOP_CLASS_UID = 0x00080016
SOP_INSTANCE_UID = 0x00080018
STUDY_DATE = 0x00080020
MODALITY = 0x00080060
STUDY_DESCRIPTION = 0x00081030
SERIES_DESCRIPTION = 0x0008103E
PROTOCOL_NAME = 0x00181030
PERFORMED_PROCEDURE_STEP_DESCRIPTION = 0x00400254
UNITS = 0x00541001
PATIENT_ID = 0x00100020
ISSUER_OF_PATIENT_ID = 0x00100021
PATIENT_BIRTH_DATE = 0x00100030
PATIENT_AGE = 0x00101010
STUDY_INSTANCE_UID = 0x0020000D
SERIES_INSTANCE_UID = 0x0020000E
IMAGE_POSITION_PATIENT = 0x00200032
IMAGE_ORIENTATION_PATIENT = 0x00200037
NUMBER_OF_FRAMES = 0x00280008
ROWS = 0x00280010
COLUMNS = 0x00280011
BURNED_IN_ANNOTATION = 0x00280301
CODE_VALUE = 0x00080100
CODING_SCHEME = 0x00080102
CODE_MEANING = 0x00080104
LONG_CODE_VALUE = 0x00080119
SEGMENT_SEQUENCE = 0x00620002
STRUCTURE_SET_ROI_SEQUENCE = 0x30060020
CONCEPT_NAME_CODE_SEQUENCE = 0x0040A043
SHARED_FUNCTIONAL_GROUPS = 0x52009229
PER_FRAME_FUNCTIONAL_GROUPS = 0x52009230
# Float, double float and integer pixel data (DICOM PS3.3 C.7.6.24, C.7.6.25, C.7.6.3).
PIXEL_TAGS = frozenset((0x7FE00008, 0x7FE00009, 0x7FE00010))
LAST_HEADER_TAG = 0x7FE00007


class Private(NamedTuple):
    """A private element: group, creator and element within the creator's block."""

    group: int
    creator: str
    element: int
    vr: bytes


# Diffusion b-values where the standard attribute is absent: numbers only, hence harmless.
PRIVATE_B_VALUES: tuple[Private, ...] = (
    Private(0x0019, "SIEMENS MR HEADER", 0x0C, b"IS"),
    Private(0x0043, "GEMS_PARM_01", 0x39, b"IS"),
    Private(0x2001, "Philips Imaging DD 001", 0x03, b"FL"),
)

# Functional group macros (DICOM PS3.3 C.7.6.16.2, C.8.13.5, C.8.15.3): macro sequence, element
# inside, and the keyword under which its value is kept.
FRAME_ATTRIBUTES: tuple[tuple[int, Attribute], ...] = (
    (0x00289110, Attribute(0x00180050, "SliceThickness", _N)),
    (0x00289110, Attribute(0x00180088, "SpacingBetweenSlices", _N)),
    (0x00289110, Attribute(0x00280030, "PixelSpacing", _N)),
    (0x00189114, Attribute(0x00189082, "EchoTime", _N, b"FD")),
    (0x00189112, Attribute(0x00180080, "RepetitionTime", _N)),
    (0x00189112, Attribute(0x00181314, "FlipAngle", _N)),
    (0x00189112, Attribute(0x00180091, "EchoTrainLength", _N)),
    (0x00189115, Attribute(0x00189079, "InversionTime", _N, b"FD")),
    (0x00189117, Attribute(0x00189087, "DiffusionBValue", _N, b"FD")),
    (0x00189226, Attribute(0x00089209, "AcquisitionContrast", _C)),
    (0x00189325, Attribute(0x00180060, "KVP", _N)),
    (0x00189314, Attribute(0x00181210, "ConvolutionKernel", _C)),
    (0x00209071, Attribute(0x00209072, "ImageLaterality", Kind.DEFINED)),
    (0x00209071, Attribute(0x00082218, "AnatomicRegionSequence", Kind.CODE)),
    (0x00209111, Attribute(0x00209128, "TemporalPositionIdentifier", _N, b"UL")),
)
PLANE_ORIENTATION = 0x00209116
PLANE_POSITION = 0x00209113
