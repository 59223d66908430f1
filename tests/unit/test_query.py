"""Reading questions: what becomes a filter, what is left out, what stays text."""

from datetime import date

import pytest

from indexer_core.query.parser import understand

TODAY = date(2026, 3, 31)


def said(text: str) -> str:
    """Alternatives as one line."""
    understanding = understand(text, today=TODAY)
    return " | ".join("; ".join(map(str, branch)) for branch in understanding.alternatives)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NECT", "modality=CT; contrast=no"),
        ("CT abdomen/pelvis C+", "modality=CT; bodyRegion=abdomen,pelvis; contrast=yes"),
        ("CXR", "modality=CR,DX,RG; bodyRegion=chest"),
        ("CT w/o contrast", "modality=CT; contrast=no"),
        ("CT with and without contrast", "modality=CT"),
        ("T2w FLAIR 1.5T GE Discovery",
         "manufacturer=GE; model~discovery; fieldStrengthT=1.5; sequence=FLAIR"),
        ("sag T1 C-spine", "bodyRegion=spine; plane=sagittal; sequence=T1"),
        ("T1 MPRAGE", "sequence=T1; sequence=MPRAGE"),
        ("PET/CT", "modality=PT,CT"),
        ("spin echo", ""),
        ("radiotherapy plan", "modality=RTPLAN"),
        ("three-plane localizer", "sequence=localizer"),
        ("oblique radiograph", "modality=CR,DX,RG"),
        ("show us the CT", "modality=CT"),
        ("US of the liver", "modality=US; bodyRegion=abdomen"),
        ("low dose CT", "modality=CT"),
        ("pilot study of chest CT", "modality=CT; bodyRegion=chest"),
        ("axial T1", "plane=axial; sequence=T1"),
    ],
)  # fmt: skip
def test_words_become_filters(text, expected):
    assert said(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("women over 60", "sex=F; ageYears>60"),
        ("women under 40 or over 60", "sex=F; ageYears<40 | sex=F; ageYears>60"),
        ("men aged 40-50", "sex=M; ageYears>=40; ageYears<=50"),
        ("patients 60 and older", "ageYears>=60"),
        ("patients 60+", "ageYears>=60"),
        ("60-year-old man", "sex=M; ageYears=60"),
        ("women in their 60s", "sex=F; ageYears>=60; ageYears<70"),
        ("between 40 and 60 years old", "ageYears>=40; ageYears<=60"),
        ("6 months old", "ageYears=0.5"),
        ("pediatric", "ageYears<18"),
        ("neonates", "ageYears<0.08"),
        ("elderly men", "sex=M; ageYears>=65"),
        ("not older than 60 years", "ageYears<=60"),
        (">= 3 mm", "sliceThicknessMm>=3"),
        ("slice thickness between 1 and 3 mm", "sliceThicknessMm>=1; sliceThicknessMm<=3"),
        ("5 mm slices", "sliceThicknessMm=5"),
        ("thinner than 2 mm", "sliceThicknessMm<2"),
        ("2 mm or thinner", "sliceThicknessMm<=2"),
        ("thin slice", "sliceThicknessMm<=1.5"),
        ("chest CT with nodules > 5 mm", "modality=CT; bodyRegion=chest"),
        ("a 5 mm lesion", ""),
        ("3T", "fieldStrengthT=3"),
        ("at least 3 tesla", "fieldStrengthT>=3"),
        ("more than 100 slices", "frames>100"),
        ("50-100 images", "frames>=50; frames<=100"),
        ("64-slice CT", "modality=CT"),
        ("12-lead ECG", "modality=ECG"),
        ("over 60", ""),
    ],
)  # fmt: skip
def test_numbers_are_read_where_the_question_says_of_what(text, expected):
    assert said(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("since 2019", "studyDate>=2019"),
        ("after 2019", "studyDate>2019"),
        ("before 2015", "studyDate<2015"),
        ("until May 2019", "studyDate<=2019-05"),
        ("in 2019", "studyDate=2019"),
        ("CT 2019", "modality=CT; studyDate=2019"),
        ("on 2019-05-01", "studyDate=2019-05-01"),
        ("between 2018 and 2020", "studyDate>=2018; studyDate<=2020"),
        ("2018-2020", "studyDate>=2018; studyDate<=2020"),
        ("from 2018 to 2020", "studyDate>=2018; studyDate<=2020"),
        ("from 2018 to now", "studyDate>=2018"),
        ("2018 onwards", "studyDate>=2018"),
        ("2018 or later", "studyDate>=2018"),
        ("older than 2010", "studyDate<2010"),
        ("last 5 years", "studyDate>=2021-03-31"),
        ("past month", "studyDate>=2026-02-28"),
        ("last two weeks", "studyDate>=2026-03-17"),
        ("in the last year", "studyDate>=2025-03-31"),
        ("last year", "studyDate=2025"),
        ("this year", "studyDate=2026"),
        ("not in 2019", "studyDate!=2019"),
        ("1990s", "studyDate>=1990; studyDate<=1999"),
        ("room 1234", ""),
    ],
)  # fmt: skip
def test_dates_are_exact(text, expected):
    assert said(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CT or MR of the head", "modality=CT,MR; bodyRegion=head"),
        ("brain or neck", "bodyRegion=head,neck"),
        ("brain MRI or chest CT", "modality=MR; bodyRegion=head | modality=CT; bodyRegion=chest"),
        ("MRI of the brain or CT of the chest",
         "modality=MR; bodyRegion=head | modality=CT; bodyRegion=chest"),
        ("brain MRI or CT of the chest",
         "modality=MR; bodyRegion=head | modality=CT; bodyRegion=chest"),
        ("brain MRI, chest CT or knee x-ray",
         ("modality=MR; bodyRegion=head | modality=CT; bodyRegion=chest"
          " | modality=CR,DX,RG; bodyRegion=lower extremity")),
        ("men over 70 or women over 80", "sex=M; ageYears>70 | sex=F; ageYears>80"),
        ("brain MRI or chest CT since 2019",
         ("modality=MR; bodyRegion=head; studyDate>=2019"
          " | modality=CT; bodyRegion=chest; studyDate>=2019")),
        ("CT without contrast or MRI of the brain",
         "modality=CT; contrast=no | modality=MR; bodyRegion=head"),
        ("T1, T2 or FLAIR", "sequence=T1,T2,FLAIR"),
        ("T1 and T2 images", "sequence=T1,T2"),
        ("head and neck CT", "modality=CT; bodyRegion=head,neck"),
        ("axial/coronal CT", "modality=CT; plane=axial,coronal"),
        ("CT of nodules or masses", "modality=CT"),
    ],
)  # fmt: skip
def test_or_binds_as_people_mean_it(text, expected):
    assert said(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("not MR", "modality!=MR"),
        ("CT that is not of the head", "modality=CT; bodyRegion!=head"),
        ("head CT excluding localizers", "modality=CT; bodyRegion=head; sequence!=localizer"),
        ("MRI without diffusion or localizers",
         "modality=MR; sequence!=localizer; sequence!=DWI,ADC,DTI"),
        ("excluding localizers, phantoms and scouts", "sequence!=localizer; flags!=phantom"),
        ("neither CT nor MR", "modality!=CT; modality!=MR"),
        ("not brain MRI", "bodyRegion!=head | modality!=MR"),
        ("abdominal CT but not of the liver", "modality=CT; bodyRegion=abdomen; bodyPart!=liver"),
        ("other than chest", "bodyRegion!=chest"),
        ("non-axial CT", "modality=CT; plane!=axial"),
        ("no contrast", "contrast=no"),
        ("no contrast CT", "modality=CT; contrast=no"),
        ("CT, not contrast-enhanced", "modality=CT; contrast=no"),
        ("not without contrast", "contrast=yes"),
        ("women but MRI", "sex=F; modality=MR"),  # "but" alone is no negation
        ("everything but women", "sex!=F"),
        ("everything but localizers and phantoms", "sequence!=localizer; flags!=phantom"),
        ("head CT, don't show localizers", "modality=CT; bodyRegion=head; sequence!=localizer"),
        ("CT that isn\u2019t from Siemens", "modality=CT; manufacturer!=Siemens"),
        ("brain MRI instead of CT", "modality=MR; bodyRegion=head; modality!=CT"),
        ("CT without the use of contrast", "modality=CT; contrast=no"),
        ("head CT, contrast was not given", "modality=CT; bodyRegion=head; contrast=no"),
        ("pre gad T1", "sequence=T1; contrast=no"),
        ("head CT with & without gadolinium", "modality=CT; bodyRegion=head"),
        ("head CT before and after contrast", "modality=CT; bodyRegion=head"),
        ("not only CT", "modality=CT"),
        ("sagital T2", "plane=sagittal; sequence=T2"),
        ("not in women over 60", "sex!=F | ageYears<=60"),
        ("MRI, not T1 or T2", "modality=MR; sequence!=T1; sequence!=T2"),
        ("CT without metal artifacts of the hip", "modality=CT; bodyRegion=lower extremity"),
        ("no spin echo", "sequence!=SE,TSE"),
    ],
)  # fmt: skip
def test_a_negation_governs_what_it_says_and_no_more(text, expected):
    assert sorted(said(text).split("; ")) == sorted(expected.split("; "))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("between the ages of 40 and 50", "ageYears>=40; ageYears<=50"),
        ("women between ages 40 and 50", "sex=F; ageYears>=40; ageYears<=50"),
        ("slices less than or equal to 3 mm", "sliceThicknessMm<=3"),
        ("CT slices 1-3 mm", "modality=CT; sliceThicknessMm>=1; sliceThicknessMm<=3"),
        ("CT of patients with more than 3 lesions", "modality=CT"),
        ("patients over 60 kg", ""),
        ("patients above the age of 18", "ageYears>18"),
        ("CT on or after 2019", "modality=CT; studyDate>=2019"),
        ("CT on or before 2019", "modality=CT; studyDate<=2019"),
        ("CT since January 1, 2020", "modality=CT; studyDate>=2020-01-01"),
        ("CT after March 4th 2015", "modality=CT; studyDate>2015-03-04"),
        ("post-2015 CT", "modality=CT; studyDate>2015"),
    ],
)
def test_numbers_are_of_what_the_question_says(text, expected):
    assert sorted(said(text).split("; ")) == sorted(expected.split("; "))


def test_what_is_left_out_is_not_compared_with_texts():
    understanding = understand("brain MRI, but not diffusion weighted", today=TODAY)
    assert understanding.text == "brain MRI"
    assert [(term.words, term.negated) for term in understanding.terms] == [
        ("brain", False), ("MRI", False), ("diffusion weighted", True)
    ]  # fmt: skip


def test_terms_know_their_place_in_the_question():
    text = "Chest CT of women, slices ≤ 1.5 mm"
    for term in understand(text, today=TODAY).terms:
        assert text[term.start : term.end] == term.words


@pytest.mark.parametrize(
    ("written", "meant"),
    [("brian mri", "brain"), ("abdomne", "abdomen"), ("saggital", None), ("contarst", "contrast"),
     ("siemans", "siemens"), ("mamography", "mammography"), ("ultrasond", "ultrasound")],
)  # fmt: skip
def test_misspelt_words_are_read_as_the_word_beside_them(written, meant):
    terms = understand(written, today=TODAY).terms
    assert terms[0].corrected_from == (None if meant is None else written.split()[0])
    assert terms[0].words == (written if meant is None else meant)


@pytest.mark.parametrize("word", ["chess", "river", "train", "heard", "contest", "tumor", "ches"])
def test_ordinary_words_are_not_corrected(word):
    assert said(word) == ""
    assert understand(word, today=TODAY).rest == word


def test_rest_holds_the_words_that_made_no_filter():
    assert understand("chest CT with lung nodules", today=TODAY).rest == "nodules"


def test_series_without_sequences_are_no_localizers():
    assert understand("CT excluding scouts", today=TODAY).with_unknown == {"sequence"}
    assert understand("MRI excluding EPI", today=TODAY).with_unknown == frozenset()


def test_alternatives_are_bounded():
    text = " or ".join(f"not brain {side} MRI" for side in ("axial", "coronal") * 40)
    assert len(understand(text, today=TODAY).alternatives) <= 16
