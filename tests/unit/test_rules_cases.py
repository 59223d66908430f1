"""Classification of invented but realistic headers, from many vendors, sites and languages."""

from typing import Any

import pytest

from indexer_core.facts import SeriesFacts
from indexer_core.rules import Rules, classify, load_rules
from tests.support.facts import series_facts as series

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"


@pytest.fixture(scope="module")
def rules() -> Rules:
    return load_rules()


def described(modality: str, description: str, study: str = "", **more: Any) -> SeriesFacts:
    texts = {"SeriesDescription": description, "StudyDescription": study}
    given = {keyword: text for keyword, text in texts.items() if text}
    return series(Modality=modality, **given, **more)


REGIONS = [
    ("MR", "t1_mprage_sag_p2_iso", "Schädel MRT", "head"),
    ("MR", "t2_tirm_tra_dark-fluid", "Kopf^Routine", "head"),
    ("CT", "STD BRAIN 5MM", "", "head"),
    ("CT", "ax bone", "CT SINUSES W/O", "head"),
    ("CT", "CCT nativ 5.0 H31s", "", "head"),
    ("CT", "Crâne sans IV", "", "head"),
    ("CT", "CRANEO SIMPLE", "", "head"),
    ("CT", "NNH koronar", "", "head"),
    ("CT", "Felsenbein rechts", "", "head"),
    ("MR", "AX T2 IAC FS", "", "head"),
    ("MR", "SAG T1 PITUITARY", "", "head"),
    ("MR", "Hersenen T2 TSE tra", "", "head"),
    ("MR", "Encefalo DWI", "RM encefalo senza mdc", "head"),
    ("MR", "AX FLAIR", "RMN CEREBRO C/C", "head"),
    ("CT", "CTHEAD 2.5", "", "head"),
    ("PX", "Panorama", "", "head"),
    ("OP", "right eye", "", "head"),
    ("CT", "Orbita axial", "", "head"),
    ("CT", "Massif facial 0.6", "", "head"),
    ("CT", "TMJ bone", "", "head"),
    ("CT", "Soft Tissue Neck 3.0", "", "neck"),
    ("US", "", "US Thyroid", "neck"),
    ("US", "", "Ecografia tiroidea", "neck"),
    ("US", "", "Schilddrüse Sono", "neck"),
    ("US", "", "Carotid Duplex Bilateral", "neck"),
    ("CT", "Hals KM 3.0 B30f", "", "neck"),
    ("MR", "Larynx t2 tra", "", "neck"),
    ("US", "", "Echographie cervicale thyroïde", "neck"),
    ("DX", "PA", "CXR 2 views", "chest"),
    ("DX", "LAT", "Rx tórax PA y LAT", "chest"),
    ("CR", "Thorax pa", "Röntgen-Thorax", "chest"),
    ("CR", "face", "Radio thoracique", "chest"),
    ("CT", "LUNG 1.25MM", "CT CHEST W/CONTRAST", "chest"),
    ("CT", "HRCT 1mm", "", "chest"),
    ("CT", "PE Study 1.0", "CTA CHEST", "chest"),
    ("CT", "TDM thoracique", "", "chest"),
    ("CR", "Costillas", "", "chest"),
    ("RF", "Barium swallow", "Esophagram", "chest"),
    ("CT", "C/A/P 5.0", "", "chest"),
    ("CT", "TAP portal 3mm", "", "chest"),
    ("CT", "Thorax-Abdomen mit KM", "", "chest"),
    ("CT", "Chest Abd Pelvis +C", "", "chest"),
    ("MG", "R CC", "", "breast"),
    ("MG", "L MLO", "Mammographie", "breast"),
    ("MG", "", "", "breast"),
    ("MR", "AX VIBRANT", "MRI BREAST BILATERAL", "breast"),
    ("MR", "t1 fl3d dyn", "Mamma MRT", "breast"),
    ("MR", "ax t2", "IRM des seins", "breast"),
    ("US", "", "Ultrasonido de mama", "breast"),
    ("US", "A4C", "TTE", "heart"),
    ("US", "", "Echocardiography", "heart"),
    ("MR", "cine sax trufi", "Herz MRT", "heart"),
    ("MR", "4CH FIESTA", "", "heart"),
    ("CT", "CaScoring 3.0", "", "heart"),
    ("CT", "SmartScore - Gated", "", "heart"),
    ("XA", "Left Coronary LAO cran", "", "heart"),
    ("CT", "Coronary CTA 75%", "", "heart"),
    ("NM", "Myocardial perfusion stress", "", "heart"),
    ("ECG", "", "", "heart"),
    ("CT", "Abdomen nativ 5.0", "", "abdomen"),
    ("MR", "LAVA ART", "MRI LIVER W WO", "abdomen"),
    ("MR", "Cor MRCP thick slab", "", "abdomen"),
    ("US", "", "RUQ US gallbladder", "abdomen"),
    ("US", "", "Oberbauch Sonographie", "abdomen"),
    ("CR", "KUB", "", "abdomen"),
    ("CT", "Renal stone protocol", "", "abdomen"),
    ("CT", "Higado trifasico", "", "abdomen"),
    ("CT", "ABD/PELVIS 5MM", "", "abdomen"),
    ("MR", "Enterographie cor", "", "abdomen"),
    ("US", "FAST", "", "abdomen"),
    ("US", "", "Ecografía renal bilateral", "abdomen"),
    ("CT", "TC addome completo", "", "abdomen"),
    ("MR", "ax t2 small fov", "MRI Prostate", "pelvis"),
    ("MR", "t2 tse sag", "IRM pelvienne", "pelvis"),
    ("US", "", "Transvaginal ultrasound", "pelvis"),
    ("US", "", "OB 2nd trimester", "pelvis"),
    ("CR", "Becken a.p.", "", "pelvis"),
    ("MR", "Rectum T2 HR", "", "pelvis"),
    ("US", "", "Scrotum", "pelvis"),
    ("RF", "", "VCUG", "pelvis"),
    ("MR", "ISG cor STIR", "", "pelvis"),
    ("MR", "t2 sag", "MRT LWS", "spine"),
    ("MR", "SAG T2 C SPINE", "", "spine"),
    ("MR", "SAG STIR", "MRI CSPINE W/O", "spine"),
    ("CR", "LWS seitlich", "", "spine"),
    ("CR", "Rachis lombaire face", "", "spine"),
    ("DX", "Columna cervical AP", "", "spine"),
    ("MR", "Colonna dorsale T1 sag", "", "spine"),
    ("CT", "Thoracic spine 2mm", "", "spine"),
    ("CT", "CTSPINE", "", "spine"),
    ("MR", "Coluna lombar T2", "", "spine"),
    ("MR", "WS gesamt t2 sag", "", "spine"),
    ("CR", "Sacrum lat", "", "spine"),
    ("MR", "T2_TSE_SAG", "Colonne lombaire", "spine"),
    ("CR", "WB KNEE AP", "", "lower extremity"),
    ("CR", "Bassin de face", "", "pelvis"),
    ("CT", "5.0 B30f", "TAC ABDOMINO PELVICA", "abdomen"),
    ("CT", "Rochers 0.6", "", "head"),
    ("CR", "Lendenwervelkolom", "", "spine"),
    ("DX", "L-SPINE OBL", "", "spine"),
    ("DX", "Shoulder AP Y view", "", "upper extremity"),
    ("MR", "Schulter re t2 cor", "", "upper extremity"),
    ("CR", "Épaule gauche", "", "upper extremity"),
    ("CR", "Muñeca derecha", "", "upper extremity"),
    ("CR", "Handgelenk li", "", "upper extremity"),
    ("CR", "Main droite face", "", "upper extremity"),
    ("DX", "Elbow LAT", "", "upper extremity"),
    ("DX", "Bone age hand", "", "upper extremity"),
    ("CR", "Gomito dx", "", "upper extremity"),
    ("DX", "Right clavicle", "", "upper extremity"),
    ("CR", "Humeral head axial", "", "upper extremity"),
    ("MR", "PD FS sag", "MRI KNEE RT W/O", "lower extremity"),
    ("MR", "Knie rechts pd_tse_fs_cor", "", "lower extremity"),
    ("MR", "genou droit", "", "lower extremity"),
    ("CR", "Rodilla AP", "", "lower extremity"),
    ("CR", "OSG 2 Ebenen", "", "lower extremity"),
    ("CR", "Fuß dp", "", "lower extremity"),
    ("CR", "Hüfte axial", "", "lower extremity"),
    ("DX", "femoral head frog leg", "", "lower extremity"),
    ("CT", "CTA runoff 1.0", "", "lower extremity"),
    ("US", "", "Venous Doppler lower extremity", "lower extremity"),
    ("CR", "Caviglia sin", "", "lower extremity"),
    ("CR", "Tornozelo", "", "lower extremity"),
    ("PT", "WB 3D MAC", "PET/CT EYES TO THIGHS", "whole body"),
    ("NM", "", "Whole Body Bone Scan", "whole body"),
    ("CT", "Polytrauma Spirale", "", "whole body"),
    ("MR", "Ganzkörper STIR cor", "", "whole body"),
    ("PT", "AC", "TEP corps entier", "whole body"),
    ("CT", "ACR phantom", "CT HEAD", "other"),
    ("MR", "daily QA", "", "other"),
    ("CT", "5/5mm Plain", "", "unknown"),
    ("MR", "t2 tse tra", "", "unknown"),
    ("CT", "Head First axial", "", "unknown"),
    ("CT", "头颅平扫", "", "head"),
    ("DX", "胸部正面", "", "chest"),
    ("CT", "腹部造影", "", "abdomen"),
    ("MR", "膝関節 PD sag", "", "lower extremity"),
    ("CT", "голова 5mm", "", "head"),
]


@pytest.mark.parametrize(("modality", "text", "study", "region"), REGIONS)
def test_descriptions_tell_the_body_region(
    rules: Rules, modality: str, text: str, study: str, region: str
) -> None:
    assert classify(described(modality, text, study), rules).body_region == region


PARTS = [
    ("MR", "SAG T2 CERVICAL", "MRI SPINE", "cervical spine"),
    ("CT", "BRAIN 5.0", "CT HEAD", "brain"),
    ("CT", "Thorax-Abdomen-Becken", "", "chest, abdomen and pelvis"),
    ("CT", "abdomen pelvis portal", "", "abdomen and pelvis"),
    ("MR", "LWS t2 sag", "", "lumbar spine"),
    ("CR", "Calcaneus axial", "", "foot"),
    ("US", "Gallenblase", "", "gallbladder"),
    ("US", "RENAL LT SAG", "", "kidney"),
    ("MR", "Prostate AX T2", "", "prostate"),
    ("MR", "Sella cor t1", "", "pituitary"),
    ("CR", "FEMORAL NECK", "", "hip"),
    ("XR", "sacroiliac joints", "", "sacroiliac joint"),
    ("CT", "Thoracic aorta CTA", "", "thoracic aorta"),
    ("US", "Aorta", "", "abdominal aorta"),
    ("CT", "seno maxilar", "", "paranasal sinuses"),
    ("MR", "Angio circle of Willis TOF", "", "intracranial arteries"),
    ("CR", "HWS BWS lat", "", "cervicothoracic spine"),
]


@pytest.mark.parametrize(("modality", "text", "study", "term"), PARTS)
def test_descriptions_tell_the_body_part(
    rules: Rules, modality: str, text: str, study: str, term: str
) -> None:
    part = classify(described(modality, text, study), rules).body_part
    assert part is not None
    assert part.term == term


SEQUENCES = [
    ("t1_mprage_sag_p2_iso", ("T1", "MPRAGE")),
    ("SAG MPRAGE 220 FOV", ("T1", "MPRAGE")),
    ("t2_tirm_tra_dark-fluid", ("T2", "FLAIR")),
    ("AX T2 FLAIR", ("T2", "FLAIR")),
    ("3D FLAIR sag", ("FLAIR",)),
    ("ep2d_diff_3scan_trace_p2", ("DWI",)),
    ("ep2d_diff_3scan_trace_p2_ADC", ("ADC",)),
    ("DWI b1000", ("DWI",)),
    ("dADC (10^-6 mm2/s)", ("ADC",)),
    ("DTI 64 dir", ("DTI",)),
    ("ep2d_bold_moco", ("BOLD", "EPI")),
    ("Axial EPI-FMRI (Interleaved)", ("BOLD", "EPI")),
    ("SWI_Images", ("SWI",)),
    ("Ax SWAN", ("SWI",)),
    ("TOF_3D_multi-slab", ("TOF", "angio")),
    ("t2_fl2d_tra_hemo", ("T2*", "GRE")),
    ("AX T2* GRE", ("T2*", "GRE")),
    ("sT2W_TSE", ("T2", "TSE")),
    ("T2W_TSE SENSE", ("T2", "TSE")),
    ("Ax T1 FSPGR", ("T1", "GRE")),
    ("SAG T1 BRAVO", ("T1",)),
    ("Sag CUBE T2", ("T2", "TSE")),
    ("Ax LAVA", ("T1",)),
    ("COR FIESTA", ("SSFP",)),
    ("t2_haste_cor", ("T2", "HASTE")),
    ("Cor SSFSE", ("T2", "HASTE")),
    ("t1_vibe_fs_tra_dyn", ("T1", "DCE", "fat suppressed")),
    ("STIR cor", ("STIR",)),
    ("pd_tse_fs_sag", ("PD", "TSE", "fat suppressed")),
    ("PDW_SPAIR", ("PD", "fat suppressed")),
    ("DP FS coronal", ("PD", "fat suppressed")),
    ("localizer", ("localizer",)),
    ("3-plane loc", ("localizer",)),
    ("AAHead_Scout", ("localizer",)),
    ("Survey", ("localizer",)),
    ("T/S/C RF FAST PILOT", ("localizer",)),
    ("MRCP 3D", ("T2", "MRCP")),
    ("mDIXON quant water", ("Dixon",)),
    ("cine sax trufi", ("cine", "SSFP")),
    ("PSIR sa", ("LGE",)),
    ("difusión axial", ("DWI",)),
    ("Difusão", ("DWI",)),
    ("pCASL", ("perfusion", "ASL")),
    ("svs_se_30", ("MRS",)),
    ("gre_field_mapping", ("GRE", "field map")),
    ("e1 sag", ()),
]


@pytest.mark.parametrize(("text", "labels"), SEQUENCES)
def test_descriptions_tell_the_sequence(rules: Rules, text: str, labels: tuple[str, ...]) -> None:
    assert classify(described("MR", text), rules).sequence == labels


PHYSICS = [
    ({"ScanningSequence": "SE", "EchoTime": 12.0, "RepetitionTime": 500.0}, "T1"),
    ({"ScanningSequence": "SE", "EchoTime": 100.0, "RepetitionTime": 4000.0}, "T2"),
    ({"ScanningSequence": "SE", "EchoTime": 20.0, "RepetitionTime": 3000.0}, "PD"),
    (
        {
            "ScanningSequence": ("SE", "IR"),
            "EchoTime": 110.0,
            "RepetitionTime": 9000.0,
            "InversionTime": 2500.0,
        },
        "FLAIR",
    ),
    (
        {
            "ScanningSequence": ("SE", "IR"),
            "EchoTime": 60.0,
            "RepetitionTime": 4500.0,
            "InversionTime": 160.0,
        },
        "STIR",
    ),
    ({"ScanningSequence": "EP", "DiffusionBValue": 1000.0}, "DWI"),
    ({"ImageType": ("DERIVED", "PRIMARY", "DIFFUSION", "ADC")}, "ADC"),
    ({"AcquisitionContrast": "FLUID_ATTENUATED"}, "FLAIR"),
    ({"ScanningSequence": "EP", "EchoTime": 30.0}, "EPI"),
]


@pytest.mark.parametrize(("attributes", "label"), PHYSICS)
def test_timing_tells_the_weighting_where_texts_do_not(
    rules: Rules, attributes: dict[str, Any], label: str
) -> None:
    assert label in classify(series(Modality="MR", **attributes), rules).sequence


CONTRAST = [
    ("CT", "Abdomen +C", "", "yes"),
    ("CT", "Head w/o", "", "no"),
    ("CT", "ABD C-", "", "no"),
    ("CT", "ABD C+", "", "yes"),
    ("CT", "Schädel nativ", "", "no"),
    ("CT", "Thorax mit KM", "", "yes"),
    ("CT", "Thorax ohne KM", "", "no"),
    ("CT", "Crâne sans injection", "", "no"),
    ("CT", "Abdomen avec injection", "", "yes"),
    ("CT", "sin contraste", "", "no"),
    ("CT", "con contraste EV", "", "yes"),
    ("CT", "senza mdc", "", "no"),
    ("CT", "dopo mdc", "", "yes"),
    ("CT", "sem contraste", "", "no"),
    ("CT", "zonder contrast", "", "no"),
    ("CT", "Hals blanco", "", "no"),
    ("MR", "AX T1 POST GD", "", "yes"),
    ("MR", "t1 fs +c", "", "yes"),
    ("MR", "AX T1 PRE", "", "no"),
    ("MR", "AX T1 POST", "", "yes"),
    ("MR", "T2 ax", "MRI BRAIN W/O CONTRAST", "no"),
    ("MR", "T2 ax", "MRI BRAIN WITHOUT AND WITH CONTRAST", "unknown"),
    ("MR", "T2 ax", "MRI BRAIN W/WO", "unknown"),
    ("CT", "Head non-contrast", "", "no"),
    ("CT", "noncon axial", "", "no"),
    ("CT", "venous phase 3mm", "", "yes"),
    ("CT", "Arteriell 1.0", "", "yes"),
    ("CT", "CTA Head", "", "yes"),
    ("CT", "5.0 B30f", "CT CHEST W CONTRAST", "yes"),
    ("CT", "LDCT lung screening", "", "no"),
    ("CT", "KUB stone protocol", "", "no"),
    ("CT", "头颅平扫", "", "no"),
    ("CT", "腹部増強", "", "yes"),
    ("CT", "Post op spine", "", "unknown"),
    ("CT", "Body 5.0 CE", "", "yes"),
    ("CT", "1.0 B25f", "CT Angio Abdomen", "yes"),
    ("CT", "Premonitoring 10.0", "CTA Carotis", "no"),
    ("MR", "T/S/C RF FAST PILOT", "", "unknown"),
    ("MR", "posterior fossa", "", "unknown"),
    ("DX", "PA chest", "", "unknown"),
    ("RF", "Barium swallow", "", "yes"),
]


@pytest.mark.parametrize(("modality", "text", "study", "answer"), CONTRAST)
def test_texts_tell_contrast_and_its_negation(
    rules: Rules, modality: str, text: str, study: str, answer: str
) -> None:
    assert classify(described(modality, text, study), rules).contrast == answer


@pytest.mark.parametrize(
    ("agent", "answer"),
    [("ISOVUE300/100", "yes"), ("Gadovist", "yes"), ("NONE", "no"), ("ohne", "no"), ("W/O", "no")],
)
def test_agent_field_tells_contrast_and_its_negation(rules: Rules, agent: str, answer: str) -> None:
    facts = series(Modality="CT", ContrastBolusAgent=agent)
    assert classify(facts, rules).contrast == answer


MODALITIES = [
    ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.6", "Modality": "XC"}, "SM"),
    ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.3.1", "Modality": "OT"}, "US"),
    ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.3", "Modality": "CT"}, "RTSTRUCT"),
    ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.33", "Modality": "MR"}, "SR"),
    ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"}, "SEG"),
    (
        {"SOPClassUID": SECONDARY_CAPTURE, "Modality": "CT", "SeriesDescription": "Exam Summary"},
        "OT",
    ),
    (
        {"SOPClassUID": SECONDARY_CAPTURE, "Modality": "CT", "SeriesDescription": "Dose Report"},
        "OT",
    ),
    ({"SOPClassUID": CT_IMAGE, "Modality": "CT", "SeriesDescription": "Patient Protocol"}, "OT"),
    (
        {
            "SOPClassUID": SECONDARY_CAPTURE,
            "Modality": "CT",
            "ImageType": ("DERIVED", "SECONDARY", "SCREEN SAVE"),
        },
        "OT",
    ),
    (
        {
            "SOPClassUID": SECONDARY_CAPTURE,
            "Modality": "MR",
            "PhotometricInterpretation": "RGB",
        },
        "OT",
    ),
    ({"SOPClassUID": SECONDARY_CAPTURE, "Modality": "NM"}, "NM"),
    (
        {"SOPClassUID": SECONDARY_CAPTURE, "Modality": "US", "PhotometricInterpretation": "RGB"},
        "US",
    ),
    (
        {"SOPClassUID": SECONDARY_CAPTURE, "Modality": "OT", "ManufacturerModelName": "Voluson E8"},
        "US",
    ),
    (
        {
            "SOPClassUID": SECONDARY_CAPTURE,
            "Modality": "OT",
            "StudyDescription": "Echocardiogram TTE",
        },
        "US",
    ),
    ({"SOPClassUID": SECONDARY_CAPTURE, "Modality": "OT"}, "OT"),
    ({"SOPClassUID": SECONDARY_CAPTURE}, "OT"),
    ({"EchoTime": 90.0, "RepetitionTime": 4000.0}, "MR"),
    ({"KVP": 120.0, "ConvolutionKernel": "STANDARD"}, "CT"),
    ({"SOPClassUID": CT_IMAGE, "Modality": "CT", "SeriesDescription": "Topogram"}, "CT"),
    ({"Modality": "MRI"}, "MR"),
    ({}, "unknown"),
]


@pytest.mark.parametrize(("attributes", "modality"), MODALITIES)
def test_modality_is_what_the_object_is(
    rules: Rules, attributes: dict[str, Any], modality: str
) -> None:
    assert classify(series(**attributes), rules).modality == modality


PLANES = [
    ({"axial": 30}, {"Modality": "CT"}, "axial"),
    ({"axial": 30, "sagittal": 1}, {"Modality": "CT"}, "axial"),
    ({"axial": 3, "sagittal": 3, "coronal": 3}, {"Modality": "MR"}, "mixed"),
    ({"oblique": 9}, {"Modality": "MR", "SeriesDescription": "sag"}, "oblique"),
    ({}, {"Modality": "DX"}, "projection"),
    ({}, {"Modality": "MG"}, "projection"),
    (
        {"sagittal": 1},
        {"Modality": "CT", "ImageType": ("ORIGINAL", "PRIMARY", "LOCALIZER")},
        "projection",
    ),
    ({"coronal": 1}, {"Modality": "CT", "SeriesDescription": "Topogram"}, "projection"),
    ({}, {"Modality": "MR", "SeriesDescription": "t2_tse_tra"}, "axial"),
    ({}, {"Modality": "MR", "SeriesDescription": "COR STIR"}, "coronal"),
    ({}, {"Modality": "MR", "SeriesDescription": "T1 sagital"}, "sagittal"),
    ({}, {"Modality": "MR", "SeriesDescription": "3 plane loc"}, "mixed"),
    ({}, {"Modality": "CT", "ImageType": ("ORIGINAL", "PRIMARY", "AXIAL")}, "axial"),
    ({}, {"Modality": "SR"}, "unknown"),
]


@pytest.mark.parametrize(("planes", "attributes", "plane"), PLANES)
def test_plane_follows_geometry_then_kind_then_words(
    rules: Rules, planes: dict[str, int], attributes: dict[str, Any], plane: str
) -> None:
    assert classify(series(planes=planes, **attributes), rules).plane == plane


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("SIEMENS", "Siemens"),
        ("Siemens Healthineers", "Siemens"),
        ("GE MEDICAL SYSTEMS", "GE"),
        ("G.E. Medical Systems", "GE"),
        ("GE Healthcare", "GE"),
        ("Philips Medical Systems, Inc.", "Philips"),
        ("TOSHIBA_MEC", "Canon"),
        ("Canon Medical Systems", "Canon"),
        ("Agfa-Gevaert AG", "Agfa"),
        ("Tiny Devices", "Tiny Devices"),
    ],
)
def test_makers_have_one_name_and_keep_the_written_one(rules: Rules, raw: str, name: str) -> None:
    said = classify(series(Manufacturer=raw), rules)
    assert said.manufacturer == name
    assert [vote.value for vote in said.evidence["manufacturer"].votes] == [raw]
