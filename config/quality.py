"""Settings of the quality checks: from where on a result is to be reviewed, or withheld."""

from typing import Annotated

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveFloat

from config.table import Table


def _range(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] >= value[1]:
        raise ValueError("a range is given as lowest and highest")
    return value


Share = Annotated[float, Field(ge=0, le=1)]
Ratio = Annotated[float, Field(ge=1)]
Range = Annotated[tuple[PositiveFloat, PositiveFloat], AfterValidator(_range)]


class StackQualitySettings(Table):
    """Thresholds of the checks that every short-axis stack passes.

    What cites ACDC was measured on the expert labels of its patients 001-100 at ED and ES.
    """

    # A third of the slice x phase grid: what is left no longer describes the ventricle.
    missing_images_withheld: Share = 0.33
    uncovered_review: Share = 0.3
    # With slices of the same patients taken away at one end, this and the next together withhold
    # 1 % of whole ventricles, 8 % where less than a third is gone, 66 % where 33 to 45 % are gone,
    # and 95 % or more beyond that.
    uncovered_withheld: Share = 0.33
    # A ventricle that ends near the end of the stack has tapered (apex: 99 of 100 patients).
    tapered: Share = 0.5
    # Long over short axis of the epicardium in the middle, median (ACDC: 99 % below 1.31, highest
    # 1.47); a long-axis plane cuts the LV at about 2.
    elongation_review: Ratio = 1.4
    elongation_withheld: Ratio = 1.7
    # Middle slices of experts' labels have no gap at all; a network's pixels may leave a small one.
    open_ring_review: Share = 0.1
    # What myocardium does not even half surround is no LV cavity.
    open_ring_withheld: Share = 0.5
    # Wide enough for children and for extreme hypertrophy (ACDC: 34 to 273 g).
    mass_range_g: Range = (15.0, 500.0)
    # LV length, base to apex, over its largest epicardial diameter at ED (ACDC: 0.72 to 1.50).
    length_per_diameter_withheld: PositiveFloat = 2.0
    # Cine slices are 5 to 10 mm thick and as far apart, or with gaps of up to their thickness.
    slice_spacing_review_mm: PositiveFloat = 25.0
    spacing_per_thickness_review: PositiveFloat = 2.5


class CineQualitySettings(StackQualitySettings):
    """`[pipelines.cine.quality]`: thresholds of the checks of a cine.

    Those without another source were chosen on the ACDC validation patients, whole and broken on
    purpose (`dicom-node study quality`), some once more on all 80 patients but those of the test.
    """

    # Wide enough for small children and the largest hearts (EDV of ACDC: LV 49 to 374, RV 47 to
    # 295).
    edv_range_ml: Range = (10.0, 700.0)
    # Every ventricle alive moves: the lowest EF among the ACDC patients is 10 %. Slices of another
    # phase flatten a weak beat without a jump that shows.
    volume_change_review: Share = 0.1
    # Less than this is no beat: the phases show one picture, or the cavity found is none.
    volume_change_withheld: Share = 0.01
    # The highest EF is 82 % of an LV and 86 % of an RV (ACDC).
    ef_review_percent: PositiveFloat = 90.0
    # Phases that ED or ES may lie apart from the extremes of the full curve.
    phases_apart_review: NonNegativeInt = 2
    # Nearer in volume than this, phases far apart lie on one plateau (diastasis) and agree.
    plateau: Share = 0.03
    # Both ventricles pump the same blood. Valve disease and shunts break this, so it asks for
    # review.
    stroke_difference_review: PositiveFloat = 0.35
    stroke_difference_review_ml: PositiveFloat = 45.0
    # The RV is the one that networks get wrong: only beyond this the LV is in doubt, too.
    stroke_difference_review_lv: PositiveFloat = 0.7
    # Two ways to measure one volume; that by regression errs by some 10 ml on average.
    methods_difference_review: PositiveFloat = 0.2
    methods_difference_review_ml: PositiveFloat = 20.0
    # Myocardium hardly changes its mass in a beat; of experts' labels none differs more (ACDC:
    # 0.47).
    mass_change_review: PositiveFloat = 0.5
    # Distance of a slice from the line through its neighbours.
    axis_offset_review_mm: PositiveFloat = 17.5
    # Jumps of the cavity's area from slice to slice, over the largest slice.
    lv_slice_area_review: PositiveFloat = 0.35
    rv_slice_area_review: PositiveFloat = 0.65
    # Difference between neighbouring slices in the share of their area left at ES.
    contraction_step_review: PositiveFloat = 0.35
    # Jumps of the cavity's area from phase to phase and back, over the largest slice.
    phase_area_review: PositiveFloat = 0.2
    # Islands taken away and holes filled, over the area of the ventricle.
    pieces_review: PositiveFloat = 0.05
    # Change of the ejection fraction from the first to the second look.
    lv_variation_review_points: PositiveFloat = 2.0
    rv_variation_review_points: PositiveFloat = 9.0
    # Blood less myocardium, over the spread of their values; noise over the former.
    contrast_review: float = 0.95
    noise_review: PositiveFloat = 0.3
    # Width of the endocardium in the images (ACDC: highest of 80 patients 7.1, next 6.5; blurred by
    # 4 mm, median 8.8).
    edge_review_mm: PositiveFloat = 8.0
    # Difference of ED and ES beside the heart, over blood less myocardium.
    ghosting_review: PositiveFloat = 0.4
    # Unlabelled at ES, bright as blood, and RV at ED: over the RV of ES (ACDC: 4 of 80 patients
    # above 1). Below it tells little: atrium that comes into a basal slice at ES looks the same.
    rv_blood_review: PositiveFloat = 1.0
    # From about here a bias alone can make a normal heart look abnormal, or the reverse.
    known_error_review_ml: PositiveFloat = 10.0
    known_error_review_g: PositiveFloat = 10.0
    known_error_review_points: PositiveFloat = 5.0


class LgeQualitySettings(StackQualitySettings):
    """`[pipelines.lge.quality]`: thresholds of the checks of late enhancement."""

    # Percent of LV mass by which methods that measure the same scar may differ; a choice of
    # judgement, they are known to differ much (Flett AS et al., JACC Cardiovasc Imaging
    # 2011;4:150).
    methods_difference_review_percent: PositiveFloat = 15.0
    # Mean error on test patients, in percent of the LV mass.
    known_error_review_percent: PositiveFloat = 5.0
